"""What a student gains from its teacher's distribution beside the tokens: python analysis/targets.py [RESULTS]

Loss on real text and on the teacher's, and the student's divergence from its teacher, averaged over seeds; ``se`` is
the standard error of the loss over seeds.
"""

from __future__ import annotations

import sys

from published import published_runs


def main(results: str = "results") -> None:
    runs = published_runs("targets", results)
    cells = runs.groupby(["n_tokens", "teacher"], sort=False)
    table = cells.agg(
        loss=("loss", "mean"),
        se=("loss", "sem"),
        loss_teacher=("loss_teacher", "mean"),
        kl_student=("kl_student", "mean"),
    )
    print(table.sort_index(level="n_tokens", sort_remaining=False).round(4).to_string())
    print(f"floor of the teacher's text: {runs['teacher_loss'].iloc[0]:.4f}; entropy {runs['entropy'].iloc[0]:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
