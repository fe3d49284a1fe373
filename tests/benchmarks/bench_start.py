"""Cold starts: processor time of commands that only ask a law, as multiples of a cold `import numpy` in the same run.

Run with `python tests/benchmarks/bench_start.py`; asked is at most 2.5 for a forecast. A command's least time of some
tries counts, for other work on the machine only adds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIT = str(ROOT / "tests" / "predict" / "first_layout" / "fit.json")
TRIES = 9
SCALING = ("-m", "scaling")
BERT = ("--like", "bert-base,1B,10B,gpt-3", "--teacher", "palm", "--tokens", "inf", "--as-good-as", "gpt-3")
PROGRAMS = {
    "python alone": ("-c", "pass"),
    "import typer": ("-c", "import typer"),
    "import pydantic": ("-c", "import pydantic"),
    "predict --law": (*SCALING, "predict", "--law", "besiroglu", "--params", "100M"),
    "predict --law --explain": (*SCALING, "predict", "--law", "besiroglu", "--params", "100M", "--explain"),
    "predict --law --like": (*SCALING, "predict", "--law", "hoffmann", *BERT),
    "predict --fit": (*SCALING, "predict", "--fit", FIT, "--params", "1e5", "--tokens", "1e6"),
    "solve --law": (*SCALING, "solve", "--law", "hoffmann", "--target-loss", "2.2"),
    "recommend --law": (*SCALING, "recommend", "--law", "hoffmann", "--target-loss", "2.9", "--device", "mid-8gb"),
}


def least_seconds(words: tuple[str, ...]) -> float:
    """Processor time of a program, least of some tries."""
    times = []
    for _ in range(TRIES):
        before = os.times()
        subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(times)


if __name__ == "__main__":
    numpy = least_seconds(("-c", "import numpy"))
    print(f"{'import numpy':24} {1000 * numpy:4.0f} ms")
    for name, words in PROGRAMS.items():
        seconds = least_seconds(words)
        print(f"{name:24} {1000 * seconds:4.0f} ms  {seconds / numpy:.2f} x")
