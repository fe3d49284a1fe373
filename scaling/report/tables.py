"""Results as tables that a person can read, on stdout."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from scaling.fit.result import Fit
    from scaling.predict.candidates import Candidate
    from scaling.predict.forecast import Forecast
    from scaling.predict.measured import Measured
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


def show_forecast(forecast: Forecast) -> None:
    """A loss, and where it comes from."""
    interval = ""
    if forecast.low is not None:
        interval = f"  [{forecast.low:.4f}, {forecast.high:.4f}] at {forecast.level:.0%}"
    # What was measured comes first; the law is then no more than a comment on it.
    rows = {} if forecast.measured is None else {"measured": _measurement(forecast.measured)}
    rows |= {
        "loss" if forecast.measured is None else "the law says": f"{loss(forecast.loss)}{interval}",
        "= floor": loss(forecast.floor),
        "+ size term": loss(forecast.size_term),
        "+ data term": loss(forecast.data_term),
        **({"+ runs nearby": loss(forecast.runs_term)} if forecast.runs_term else {}),
        "tokens to within 0.05 of L(N, ∞)": number(forecast.tokens_to_asymptote),
        "cheapest training to this loss": (
            f"N = {number(forecast.optimal_n_params)}, D = {number(forecast.optimal_n_tokens)}"
            if math.isfinite(forecast.optimal_n_params)
            else "not identified"
        ),
        "law": forecast.formula,
        "source": forecast.source,
        "basis": forecast.basis,
    }
    if forecast.reach is not None and forecast.reach > 1:
        rows["beyond the data"] = f"{forecast.reach:.3g}×"
    for note in forecast.notes:
        rows["note"] = f"{rows['note']} {note}" if "note" in rows else note
    what = "forecast" if forecast.measured is None else "measured, beside the forecast,"
    of_text = f" on {forecast.text}" if forecast.text else ""
    title = f"{what} for N = {number(forecast.n_params)}, D = {number(forecast.n_tokens)}{of_text}, nats/token"
    show(key_values(title, rows))


def _measurement(found: Measured) -> str:
    """What was measured, and how sure it is."""
    if found.own:
        return f"{loss(found.loss)} ± {loss(found.se)} (one run; ± is the standard error of its held-out estimate)"
    return f"{loss(found.loss)} (mean of {found.n_runs} runs, which scatter by {found.scatter:.2%})"


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
        "measured" if candidate.measured is not None else candidate.prediction.basis,
    ]


def footprint_sum(candidate: Candidate) -> str:
    """The parts of a memory footprint."""
    parts = candidate.footprint
    return (
        f"weights {size(parts.weights_bytes)} + cache {size(parts.kv_cache_bytes)} + activations "
        f"{size(parts.compute_bytes)} + engine {size(parts.engine_bytes)}"
    )


def loss(value: float) -> str:
    """Nats/token to four digits; two would hide an int8 difference, six would claim what no run can resolve."""
    return "not identified" if math.isnan(value) else f"{value:.4f}"


def number(value: float) -> str:
    """12300000 as 12.3M."""
    if math.isnan(value):
        return "not identified"
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞"
    for factor, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor and abs(value) < factor * 1000:
            return f"{value / factor:.4g}{suffix}"
    return f"{value:.4g}"


def size(n_bytes: float) -> str:
    """Bytes in binary units."""
    for factor, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.4g} {unit}"
    return f"{n_bytes:.0f} B"


def seconds(value: float) -> str:
    """Seconds as a person reads them."""
    return f"{value:.1f} s" if value < 90 else f"{int(value) // 60} min {int(value) % 60} s"
