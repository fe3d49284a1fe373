"""Scaling laws for small students of large teachers: sweep, fit, forecast, recommend, export, verify.

The names below are the public interface of notebooks; each is imported when it is first used, so that
``import scaling`` loads neither jax nor pandas nor matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Fit": "scaling.fit.result",
    "ModelSpec": "scaling.spec",
    "RunSpec": "scaling.spec",
    "backtest": "scaling.fit.backtest",
    "compare": "scaling.fit.compare",
    "compare_laws": "scaling.fit.compare_laws",
    "compare_models": "scaling.predict.explain.comparison",
    "design": "scaling.fit.design",
    "explain": "scaling.predict.explain.answer",
    "fit_bounded": "scaling.fit.measures.bounded",
    "figures": "scaling.report.figures",
    "fit_curve": "scaling.curves.fitter",
    "fit_damage": "scaling.fit.measures.damage",
    "fit_savings": "scaling.fit.measures.savings",
    "fit_law": "scaling.fit.fitter",
    "fit_odds": "scaling.fit.measures.odds",
    "forecast": "scaling.predict.ask",
    "frontier": "scaling.fit.allocation.frontier",
    "footprint": "scaling.predict.phones.footprint",
    "invert": "scaling.predict.ask",
    "load": "scaling.predict.kept",
    "load_fit": "scaling.fit.saved.files",
    "load_runs": "scaling.records",
    "load_sweep": "scaling.config.load",
    "named_model": "scaling.predict.named.models",
    "optimal": "scaling.fit.allocation.optimal",
    "optimal_vocabulary": "scaling.predict.solve.vocabulary",
    "plot": "scaling.report.figures.plot",
    "preset": "scaling.laws.presets",
    "read_runs": "scaling.tables.read",
    "recommend": "scaling.predict.ask",
    "save": "scaling.predict.kept",
    "save_fit": "scaling.fit.saved.files",
    "score": "scaling.predict.registered",
    "solve": "scaling.predict.explain.answer",
    "summary": "scaling.fit.describe",
    "to_latex": "scaling.fit.describe",
    "transfer": "scaling.fit.measures.transfer",
    "trends": "scaling.predict.explain.trends",
}

# `scaling.fit` is the room itself, so its main verbs have longer names here.
_DEFINED_AS = {"fit_law": "fit", "load_fit": "load", "save_fit": "save"}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'scaling' has no attribute {name!r}; public are {', '.join(__all__)}")
    module = import_module(_PUBLIC[name])
    value = module if name == "figures" else getattr(module, _DEFINED_AS.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
