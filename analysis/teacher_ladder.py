"""What a teacher's quality does to its student on real speeches: python analysis/teacher_ladder.py [RESULTS]

``teacher_loss`` is CE_p(q), what the loss of an endless student of endless text of the teacher would be; the student's
own ``loss`` is CE_p(f) = CE_p(q) + gap. On the teacher's text KL(q‖f) = ``loss_teacher`` − ``teacher_entropy``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import pandas as pd
from published import over_real

from scaling.data.evaluation import evaluation_sets
from scaling.data.text import open_text
from scaling.records import RunStore, load_runs
from scaling.report.figures import styled
from scaling.spec import RunSpec
from scaling.teach.ngram import train_ngram
from scaling.train.checkpoint import load_student
from scaling.train.evaluate import evaluate

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "results" / "reference" / "teacher_ladder.csv"
FIGURE = ROOT / "analysis" / "teacher_ladder.png"
MEASURED = ["loss", "loss_se", "loss_teacher", "loss_teacher_se"]
STANDING = ["kind", "size", "teacher_loss", "teacher_entropy"]


def main(results: str = "results") -> None:
    if (Path(results) / "teacher_ladder" / "runs.parquet").exists():
        ladder(RunStore(results)).to_csv(TABLE, index=False, float_format="%.6g")
    table = pd.read_csv(TABLE)
    print(table.to_string(index=False, float_format=lambda x: f"{x:.4f}"))
    draw(table)


def ladder(store: RunStore) -> pd.DataFrame:
    """One row a teacher and volume, from the worst teacher to the best, students of real text last; means over seeds.

    ``over_real`` is paired by seed: with the same initial weights, the student of real text is taken away.
    """
    runs = load_runs(store.root / "teacher_ladder")
    runs = runs[runs["status"] == "done"]
    runs["over_real"] = over_real(runs, ["seed", "n_tokens"])
    cells = runs.groupby(["teacher", "n_tokens"])
    table = cells[["teacher_loss", *MEASURED, "over_real"]].mean()
    table.insert(0, "seeds", cells.size())
    table["over_real_sd"] = cells["over_real"].std()
    found = {label: _teacher(store.load(rows["run_id"].iloc[0]).spec, store) for label, rows in runs.groupby("teacher")}
    teachers = pd.DataFrame.from_dict(found, orient="index").rename_axis("teacher")
    table = teachers.join(table.reset_index("n_tokens")).reset_index(drop=True)
    table["gap"] = table["loss"] - table["teacher_loss"]
    table["kl_student_own"] = table["loss_teacher"] - table["teacher_entropy"]
    order = [*STANDING, "n_tokens", "seeds", *MEASURED, "gap", "kl_student_own", "over_real", "over_real_sd"]
    return table.sort_values(["teacher_loss", "n_tokens"], ascending=[False, True])[order]


def _teacher(spec: RunSpec, store: RunStore) -> dict[str, object]:
    """Kind, size (order or width), and entropy rate of a run's teacher: its loss on held-out text of its own."""
    teacher = spec.data.teacher
    if teacher.kind == "real":
        return {"kind": "real", "size": None, "teacher_entropy": None}
    size = teacher.order if teacher.kind == "ngram" else teacher.run.model.width
    return {"kind": teacher.kind, "size": size, "teacher_entropy": _entropy(spec, store)}


def _entropy(spec: RunSpec, store: RunStore) -> float:
    own, teacher, source = evaluation_sets(spec, store).teacher, spec.data.teacher, spec.data.source
    if teacher.kind == "trained":
        return evaluate(load_student(store.student_dir(teacher.run.run_id), teacher.run.model), own).loss
    model = train_ngram(open_text(source, "train", store).maps, source.vocab_size, teacher.order)
    return -float(model.log_probs(own.sequences.reshape(-1, spec.model.context)).mean())


def draw(table: pd.DataFrame) -> None:
    """Student loss over teacher loss, one line a number of tokens; on the diagonal a student equals its teacher."""
    taught = table[table["kind"] != "real"]
    with styled():
        figure, axes = plt.subplots(figsize=(5.4, 3.8))
        for tokens, rows in taught.groupby("n_tokens"):
            color = axes.plot([], [], label=f"D = {tokens / 1e6:.2g}M")[0].get_color()
            for kind, marker in (("ngram", "o-"), ("trained", "s-")):
                part = rows[rows["kind"] == kind]
                axes.plot(part["teacher_loss"], part["loss"], marker, ms=4, lw=0.8, color=color)
            real = table[(table["kind"] == "real") & (table["n_tokens"] == tokens)]["loss"]
            axes.axhline(real.item(), color=color, lw=0.8, ls=":")
        low, high = taught["teacher_loss"].min(), taught["teacher_loss"].max()
        axes.plot([low, high], [low, high], color="0.4", lw=0.8, ls="--", label="the teacher's own loss (floor)")
        # Names of teachers nearly alike would lie on top of each other: the best of them has one.
        most = taught[taught["n_tokens"] == taught["n_tokens"].max()].sort_values(["kind", "teacher_loss"])
        near = most.groupby("kind")["teacher_loss"].diff().lt(0.06)
        for _, row in most[~near].iterrows():
            name, at = f"{row['kind']} {row['size']:.0f}", (row["teacher_loss"], row["loss"])
            axes.annotate(name, at, (0, -6), textcoords="offset points", fontsize=6, rotation=70, ha="center", va="top")
        axes.set_xlabel("teacher's loss on real speeches, nats/token")
        axes.set_ylabel("student's loss on real speeches, nats/token")
        axes.set_title("Students of width 64; dotted: the same student on real text")
        axes.legend()
        figure.savefig(FIGURE)
        plt.close(figure)


if __name__ == "__main__":
    main(*sys.argv[1:])
