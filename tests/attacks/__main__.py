"""Every attack in its full dose, one after the other; exits with 1 if one of them found a violation.

    python -m tests.attacks [NAME …]

An attack is a script of this folder that takes ``--seed``, exits with 0 where nothing gave way, and whose last line is
that of :func:`summary.print_summary`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from summary import Summary, read_summary  # noqa: E402

NO_ATTACKS = ("__main__", "conftest", "summary")


def attacks() -> dict[str, Path]:
    """Scripts by name."""
    paths = sorted(HERE.glob("*.py"))
    return {path.stem: path for path in paths if path.stem not in NO_ATTACKS and not path.stem.startswith("test_")}


def run(script: Path, seed: int) -> tuple[int, Summary | None]:
    """Exit code and last line of an attack; its own complaints go where ours do."""
    command = [sys.executable, str(script), "--seed", str(seed)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    lines = done.stdout.strip().splitlines()
    return done.returncode, read_summary(lines[-1]) if lines else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"by default all: {', '.join(attacks())}")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(attacks()):
        parser.error(f"no attack {', '.join(sorted(unknown))}; there are {', '.join(attacks())}")
    gave_way = []
    print(f"{'attack':20} {'tried':>8} {'violations':>10} {'peak MiB':>9} {'slowest s':>10} {'took s':>7}", flush=True)
    for name, script in attacks().items():
        if asked.names and name not in asked.names:
            continue
        began = time.monotonic()
        code, found = run(script, asked.seed)
        took = time.monotonic() - began
        if found is None:
            print(f"{name:20} ended with {code} and without a summary", flush=True)
        else:
            counts = f"{found.tried:8,} {found.violations:10} {found.peak_mib:9,} {found.slowest_s:10.3f}"
            print(f"{name:20} {counts} {took:7.0f}", flush=True)
        if code or found is None or found.violations:
            gave_way.append(name)
    print(f"gave way: {', '.join(gave_way)}" if gave_way else "nothing gave way")
    return int(bool(gave_way))


if __name__ == "__main__":
    sys.exit(main())
