"""In how many bits students tell a text while they learn it, beside the law: python analysis/code_length.py [--write]

Of the published runs of the quickstart, of speeches and of the teacher ladder, where --write puts code_length.csv too.
In the quickstart's world only answers are scored, so its bits count as if every token were one.
"""

from __future__ import annotations

import sys
from dataclasses import asdict

import pandas as pd
from published import REFERENCE

from scaling.fit.measures.code_length import code_lengths
from scaling.records import load_runs
from scaling.report.measures import show_code_lengths

TABLES = {
    "quickstart": {},
    "speeches": {},
    # Means over seeds of one student, whose tokenizer has 1024 pieces: no sizes, so each arm has a law of its own.
    "teacher_ladder": {"by": ("kind", "size"), "vocab_size": 1024, "target_loss": 3.9},
}


def main(*options: str) -> None:
    rows = []
    for name, settings in TABLES.items():
        found = code_lengths(load_runs(REFERENCE / f"{name}.csv"), **settings)
        print(f"\n{name}")
        show_code_lengths(found)
        rows += [{"table": name} | asdict(arm) | {"target_loss": found.target_loss} for arm in found.arms]
    if "--write" in options:
        pd.DataFrame(rows).to_csv(REFERENCE / "code_length.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main(*sys.argv[1:])
