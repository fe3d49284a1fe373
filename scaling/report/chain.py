"""The closing table of `scaling run`, and the tables of its last stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from scaling.fit.describe import summary
from scaling.numbers import duration, number, size
from scaling.report.columns import wrapped
from scaling.report.recommendations import show_recommendation
from scaling.report.tables import show

if TYPE_CHECKING:
    from scaling.chain.proof import Compressed
    from scaling.chain.run import ChainResult, Try
    from scaling.export.bundle.files import Bundle
    from scaling.export.verify import Verification
    from scaling.predict.next_of_sweep import Advice
    from scaling.sweep.run import SweepOutcome

_MARKS = {
    "target": {True: "met", False: "MISSED", None: "not measured"},
    "promise": {True: "ok", False: "BROKEN", None: "not measured"},
    "forecast": {True: "ok", False: "missed", None: "not measured"},
}


def show_chain(result: ChainResult) -> None:
    """The law, the recommendation, forecast beside measured, and the time each stage took."""
    answer = result.answer
    print(summary(answer.fit))
    # A world's entropy is exact: the fitted floor can be held against it.
    entropy = answer.record.outcome.entropy
    if entropy is not None and "E" in answer.fit.params:
        low, high = answer.fit.interval()["E"]
        error = answer.fit.params["E"] / entropy - 1
        print(
            f"  exact entropy of the world {entropy:.4f}: fitted E is {error:+.1%}, "
            f"its interval {'holds' if low <= entropy <= high else 'misses'} it"
        )
    print()
    for place, earlier in enumerate(result.tries[:-1], start=1):
        print(f"try {place} missed: {_try(earlier)}")
    show_recommendation(answer.recommendation)
    print()
    show_verification(answer.verification)
    if not answer.verification.target_met:
        print(f"TARGET NOT MET: {result.ended}")
    print()
    table = Table(title="stages", title_justify="left", box=None, pad_edge=False)
    for name in ("stage", "time", ""):
        table.add_column(name, justify="right" if name == "time" else "left")
    for stage in result.stages:
        table.add_row(stage.name, duration(stage.seconds), stage.said)
    show(table)


def _try(one: Try) -> str:
    """A student that did not do, in one line."""
    asked, said = one.recommendation.question.target_loss, one.recommendation
    measured = one.verification.checks[0].measured
    return (
        f"width {said.run.model.width}, forecast {said.prediction.value:.4f} (P {said.probability:.2f}), measured "
        f"{measured}, asked {asked:g}"
    )


def show_verification(found: Verification) -> None:
    """Forecast beside measured."""
    table = Table(title="asked and forecast beside measured", title_justify="left", box=None, pad_edge=False)
    for name in ("", "forecast", "measured", "", "note"):
        table.add_column(name)
    for check in found.checks:
        table.add_row(check.name, check.expected, check.measured, _MARKS[check.kind][check.passed], check.note)
    show(table)


def show_bundle(bundle: Bundle) -> None:
    """The exported file."""
    facts: dict[str, Any] = {
        "file": str(bundle.model_path),
        "bytes": f"{bundle.model_path.stat().st_size:,}",
        "run": bundle.manifest.run_id,
        "parameters": number(bundle.manifest.n_params_total),
        "loss before": f"{bundle.manifest.loss_before:.5f}",
        "loss after": f"{bundle.manifest.loss_after:.5f}",
    }
    if bundle.displaced is not None:
        facts["moved aside"] = str(bundle.displaced)
    for name, value in facts.items():
        print(f"{name:12} {value}")


def show_compressed(found: Compressed) -> None:
    """What quantization costs."""
    cost = found.cost
    print(
        f"{found.scheme}: {size(found.float_bytes)} → {size(found.n_bytes)}, loss {cost.before:.5f} → "
        f"{cost.after:.5f} ({cost.increase:+.5f} ± {cost.increase_se:.5f} nats/token on {cost.n_sequences} sequences)"
    )


def show_sweep(outcome: SweepOutcome) -> None:
    """How a sweep ended."""
    counts = ", ".join(f"{count} {state}" for state, count in outcome.counts.items() if count)
    print(f"{counts}; trained {len(outcome.trained)} now, in {duration(outcome.wall_s)}")
    for failure in outcome.failures:
        print(f"failed {failure.run_id}: {failure.error}\n  log: {failure.log_path}")
        for line in failure.log_tail:
            print(f"  | {line}")


def show_advice(advice: Advice) -> None:
    """What is known of a decision, and the runs that are worth training next."""
    from scaling.chain.rounds import said

    print(said(advice))
    if advice.law:
        print(wrapped(f"  believed: {advice.law}"))
    if not advice.runs:
        print("  the decision is settled" if advice.settled else "  no run within the budget says more")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("run", "trunk", "text", "width", "layers", "D"):
        table.add_column(name)
    for run in advice.runs:
        model = run.model
        row = (run.run_id, run.trunk_id, run.data.label, str(model.width), str(model.n_layers), number(run.n_tokens))
        table.add_row(*row)
    show(table)
