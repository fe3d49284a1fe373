"""Results as tables that a person can read, on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from scaling.report.numbers import loss, number, size

if TYPE_CHECKING:
    from scaling.fit.result import Fit
    from scaling.predict.candidates import Candidate
    from scaling.predict.recommend import Recommendation


def key_values(title: str, rows: dict[str, str]) -> Table:
    """A two-column table."""
    table = Table(title=title, show_header=False, title_justify="left", box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def show(table: Any) -> None:
    """Print to stdout at the terminal's width, or at 120 columns into a pipe."""
    console = Console(markup=False)  # labels such as [text] are text
    console = console if console.is_terminal else Console(markup=False, width=120)
    console.print(table)


def show_fit(fit: Fit) -> None:
    """Coefficients, intervals, evidence."""
    from scaling.fit.describe import summary

    print(summary(fit))


def show_backtest(result: Any) -> None:
    """The score of a backtest."""
    show(
        key_values(
            "backtest",
            {
                "mean absolute relative error": f"{result.mare:.2%}",
                "runs inside their interval": f"{result.coverage:.0%}",
                "runs forecast": str(result.n_test),
            },
        )
    )


def show_recommendation(found: Recommendation) -> None:
    """The chosen configuration and its runners-up."""
    model = found.run.model
    print(
        f"recommended: width {model.width}, {model.n_layers} layers, {model.n_heads} heads, trained on "
        f"{number(found.run.n_tokens)} tokens  (run {found.run.run_id})"
    )
    print(
        f"  asked for ≤ {found.question.target_loss:g} nats/token with P ≥ {found.question.probability:g} within "
        f"{size(found.question.budget_bytes)}; the floor of this teacher's text is "
        f"{'not identified' if found.floor is None else loss(found.floor)}"
    )
    table = Table(box=None, pad_edge=False)
    for name in ("", "width", "N", "loss", f"{found.prediction.level:.0%} interval", "P(≤ target)", "memory", "basis"):
        table.add_column(name, justify="left" if name in ("", "basis") else "right")
    table.add_row("choice", *_candidate(found.choice))
    for candidate in found.runners_up:
        table.add_row("next", *_candidate(candidate), style="dim")
    show(table)
    print(f"  memory: {footprint_sum(found.choice)}")
    print(f"  {_BINDING[found.binding]}")


_BINDING = {
    "target": "no smaller candidate meets the target that surely",
    "speed": "a smaller candidate meets the target, but is too slow",
    "smallest": "no smaller candidate was offered",
}


def _candidate(candidate: Candidate) -> list[str]:
    return [
        str(candidate.run.model.width),
        number(candidate.n_params),
        f"{candidate.expected.value:.4f}",
        f"{candidate.expected.low:.4f} – {candidate.expected.high:.4f}",
        f"{candidate.probability:.2f}",
        size(candidate.footprint.total_bytes),
        "forecast" if candidate.measured is None else "measured",
    ]


def footprint_sum(candidate: Candidate) -> str:
    """The parts of a memory footprint."""
    parts = candidate.footprint
    return (
        f"weights {size(parts.weights_bytes)} + cache {size(parts.kv_cache_bytes)} + activations "
        f"{size(parts.compute_bytes)} + engine {size(parts.engine_bytes)}"
    )
