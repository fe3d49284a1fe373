"""What fit.json holds: every name, and what may stand there."""

from __future__ import annotations

from typing import Any

from scaling.fit.saved.plain_schema import (
    count,
    list_of,
    mapping_of,
    matrix,
    number,
    one_of,
    or_empty,
    or_null,
    record,
    scalar,
    square_of,
    text,
    truth,
)

SCHEMA_VERSION = 2
READABLE = (1, SCHEMA_VERSION)
"""Version 1 has no digest, and of its members neither prior nor window nor covariance."""


def _scalar_or_names(value: Any, at: str) -> None:
    """What a law is built from: a number, the name of its base, or the labels of its teachers."""
    list_of(text)(value, at) if isinstance(value, list) else scalar(value, at)


_NUMBER = number()
_SHARE = number(0, 1)
_MEMBER = record(
    {
        "law": text,
        "structure": mapping_of(_scalar_or_names),
        "formula": text,
        "coefficients": mapping_of(_NUMBER),
        "weight": _SHARE,
        "objective": or_null(_NUMBER),
        "tried": count(),
        "reached": count(),
        "at_bound": list_of(text),
        "samples": matrix,
    },
    prior=one_of("none", "level"),
    window=_SHARE,
    covariance=or_null(square_of(_NUMBER)),
)
_STATUS = record(
    {"success": truth, "converged": truth, "interior": truth, "identified": truth}
    | {"reasons": list_of(text), "notes": list_of(text)}
)
_CALIBRATION = record(
    {
        "levels": list_of(_SHARE, least=2),
        "quantiles": list_of(_NUMBER, least=2),
        "noise": number(0),
        "basis": one_of("held-out", "in-sample"),
        "n_scores": count(),
    },
    factors=or_empty(record(dict.fromkeys(("n", "d", "c"), number(1e-3, 1e3)))),
    trend=or_null(
        record({"slope": _NUMBER, "share": _SHARE} | dict.fromkeys(("centre", "least", "most"), number(1e-300)))
    ),
    inside=or_null(number(1, 1e3)),
    unseen=number(0),
)
_BACKTEST = record({"mare": number(0), "coverage": _SHARE, "level": _SHARE, "n_test": count(1)})
_COMPARED = record(
    {"law": text, "k": count(1), "at_bound": text}
    | dict.fromkeys(("aicc", "delta_aicc", "rms", "corner", "teacher_out"), or_null(_NUMBER))
)
_PROFILE = record({"low": or_null(_NUMBER), "high": or_null(_NUMBER), "level": _SHARE, "text": text})
_SCATTER = record(
    {"total": number(0), "n_repeats": count()} | dict.fromkeys(("evaluation", "training", "misfit"), or_null(number(0)))
)
_RUNS = record(
    {
        "columns": mapping_of(list_of(_NUMBER, least=1)),
        "loss": list_of(_NUMBER, least=1),
        "loss_se": or_null(list_of(or_null(number(0)), least=1)),
        "off": list_of(truth, least=1),
        "share": number(0, 0.99),
    }
)
FIT = record(
    {
        "schema_version": one_of(*READABLE),
        "members": list_of(_MEMBER, least=1),
        "objective": record(
            {"kind": one_of("huber", "squared", "absolute"), "delta": number(0), "log": truth},
        ),
        "columns": mapping_of(text),
        "teachers": mapping_of(mapping_of(_NUMBER)),
        "ranges": mapping_of(list_of(_NUMBER, least=2, most=2)),
        "n_runs": count(1),
        "n_clusters": count(1),
        "excluded": list_of(record({"row": scalar, "reason": text})),
        "residuals": mapping_of(_NUMBER),
        "status": _STATUS,
        "calibration": _CALIBRATION,
        "covariance": square_of(or_null(_NUMBER)),
        "selection": list_of(_COMPARED),
        "backtest": or_empty(_BACKTEST),
        "condition": or_null(number(0)),
        "profiles": mapping_of(_PROFILE),
    },
    digest=text,
    texts=mapping_of(text),
    made_of=record(
        {"n_rows": count(), "where": or_null(text), "n_filtered": count()},
        run_ids=list_of(text),
        vocab_size=count(2),
        bytes_per_token=number(0),
    ),
    suspects=list_of(record({"rows": list_of(scalar), "shift": _NUMBER, "text": text})),
    without=mapping_of(_NUMBER),
    scatter=or_null(_SCATTER),
    runs=or_null(_RUNS),
)
