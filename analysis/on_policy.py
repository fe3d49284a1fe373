"""What students write themselves, by recipe: python analysis/on_policy.py [RESULTS]

Losses are measured on text that others wrote. Here every student of `sweeps/distill.yaml` writes 1,024 sequences: how
far its teacher disagrees with it there, KL(f‖q) an answer, which `on_policy` minimises in half of its steps, stands
beside KL(q‖f) on the teacher's text, which belongs to the loss; and the share of its answers that are one of the four
that their key favours in W0 (the world itself: .956). Means over seeds, ± their standard error; differences to `soft`
are paired. Where the sweep was run under RESULTS its students are measured anew, else the published table is printed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from distill import COLUMNS
from published import REFERENCE, published_runs

from scaling.data.worlds.w0_facts import BASE, N_CUES, RECORD, Facts
from scaling.records import RunStore
from scaling.train.checkpoint import load_student
from scaling.train.student.generator import StudentGenerator, open_student

TABLE = REFERENCE / "on_policy.csv"
SHOWN = ["kl_own", "kl_student", "favoured", "loss"]
CHUNKS = 16
WIDTH = 32
"""Of the students that are told apart here; wider ones start from their teacher."""


def main(results: str = "results") -> None:
    runs = published_runs("distill", results, columns=COLUMNS)
    runs = runs[runs["recipe"].notna() & (runs["teacher"] != "real") & (runs["width"] == WIDTH)]
    if (Path(results) / "distill" / "runs.parquet").exists():
        store = RunStore(results)
        found = pd.DataFrame([written(store, run_id) for run_id in runs["run_id"]])
        found.to_csv(TABLE, index=False, float_format="%.6g")
    runs = runs.merge(pd.read_csv(TABLE), on="run_id", validate="one_to_one")
    cells = runs.groupby(["n_tokens", "recipe"])[SHOWN]
    print(cells.mean().join(cells.sem().add_suffix(" ±")).round(4).to_string())
    wide = runs.pivot(index=["n_tokens", "seed"], columns="recipe", values=SHOWN)
    for name in SHOWN:
        apart = (wide[name]["on_policy"] - wide[name]["soft"]).groupby("n_tokens")
        said = (f"{mean:+.4f} ± {sem:.4f}" for mean, sem in zip(apart.mean(), apart.sem(), strict=True))
        print(f"on_policy − soft, {name}: {', '.join(said)}")


def written(store: RunStore, run_id: str) -> dict[str, object]:
    """What a student writes: how far its teacher disagrees with each answer, and how many of them W0 favours."""
    spec = store.load(run_id).spec
    teacher = open_student(spec, store)
    student = StudentGenerator(teacher.source, load_student(store.student_dir(run_id), spec.model))
    tokens = student.block(seed=0, purpose=0, number=0)
    apart = []
    for some in np.array_split(tokens, CHUNKS):
        f, q = (one.next_token_probs(some)[:, teacher.scored] for one in (student, teacher))
        apart.append((f * (np.log(f) - np.log(q))).sum(-1).mean())
    return {"run_id": run_id, "kl_own": np.mean(apart), "favoured": favoured(tokens)}


def favoured(tokens: np.ndarray) -> float:
    """Share of answers that are one of the four which W0 favours behind their cues; cues that are none favour none."""
    records = tokens.reshape(-1, RECORD).astype(int)
    cues, answers = records[:, :N_CUES], records[:, N_CUES:] - BASE
    keys = np.where(is_key := (cues < BASE).all(1), cues @ BASE ** np.arange(N_CUES)[::-1], 0)
    among = (answers[..., None] == Facts().support(keys)).any(-1)
    return float((among & is_key[:, None]).mean())


if __name__ == "__main__":
    main(*sys.argv[1:])
