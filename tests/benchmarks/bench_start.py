"""Cold starts: time of commands that only ask a law or a fit, as multiples of a cold `import numpy` in the same run.

Run with `python tests/benchmarks/bench_start.py [results/SWEEP/fit.json]`; asked is at most 2.5. A cold start is a new
process whose modules are compiled already, as those of any installed program are: byte code is kept in a folder of this
run, whatever the environment says. Programs take turns, and the median counts, of wall and of processor time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
FIT = str(ROOT / "tests" / "predict" / "first_layout" / "fit.json")
TURNS = 15
SCALING = ("-m", "scaling")
BERT = ("--like", "bert-base,1B,10B,gpt-3", "--teacher", "palm", "--tokens", "inf", "--as-good-as", "gpt-3")
PROGRAMS = {
    "import numpy": ("-c", "import numpy"),
    "python alone": ("-c", "pass"),
    "import typer": ("-c", "import typer"),
    "import pydantic's BaseModel": ("-c", "from pydantic import BaseModel"),
    "import numpy, scaling.spec": ("-c", "import numpy, scaling.spec"),
    "predict --law": (*SCALING, "predict", "--law", "besiroglu", "--params", "100M"),
    "predict --law --explain": (*SCALING, "predict", "--law", "besiroglu", "--params", "100M", "--explain"),
    "predict --law --like": (*SCALING, "predict", "--law", "hoffmann", *BERT),
    "predict --fit": (*SCALING, "predict", "--fit", FIT, "--params", "1e5", "--tokens", "1e6"),
    "solve --law": (*SCALING, "solve", "--law", "hoffmann", "--target-loss", "2.2"),
    "recommend --law": (*SCALING, "recommend", "--law", "hoffmann", "--target-loss", "2.9", "--device", "mid-8gb"),
}


def of_fit(path: Path) -> tuple[str, ...]:
    """A recommendation from a sweep's own fit; it writes recommendation.json beside it anew."""
    asked = ("--fit", str(path), "--results", str(path.parents[1]), "--target-loss", "2.0", "--memory", "16MiB")
    return (*SCALING, "recommend", *asked)


def seconds(words: tuple[str, ...], env: dict[str, str]) -> tuple[float, float]:
    """Wall and processor time of a program."""
    before, began = getrusage(RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)
    took, after = time.perf_counter() - began, getrusage(RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(fit: str | None = None) -> None:
    """Print both times of every program, and what they are of NumPy's."""
    programs = PROGRAMS if fit is None else PROGRAMS | {"recommend --fit": of_fit(Path(fit).resolve())}
    with tempfile.TemporaryDirectory() as compiled:
        env = os.environ | {"PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        turns = [[seconds(words, env) for words in programs.values()] for _ in range(TURNS + 1)][1:]
    wall, busy = ([median(turn[i][k] for turn in turns) for i in range(len(programs))] for k in (0, 1))
    for i, name in enumerate(programs):
        shares = f"wall {wall[i] / wall[0]:.2f} x   processor {busy[i] / busy[0]:.2f} x"
        print(f"{name:28} {1000 * wall[i]:5.0f} ms  {1000 * busy[i]:5.0f} ms   {shares}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
