"""Figures: one function each, which takes results and axes, returns the axes, and never shows a window.

Nothing else loads matplotlib. Measured are markers with error bars, the fit is a line, what lies beyond the runs is
dashed on a grey ground, what was left out is a cross.
"""

from scaling.report.figures.budget import best_size_by_compute, extrapolation, frontier, isoloss, needed_for_a_loss
from scaling.report.figures.by_size import forecast, loss_by_ratio, loss_by_size, runs
from scaling.report.figures.check import exponents, laws, predicted_and_actual, residuals
from scaling.report.figures.ledger import hit_rate, ledger
from scaling.report.figures.measures import bits_by_vocabulary, keystrokes, transferred
from scaling.report.figures.phone import bytes_and_loss, bytes_by_part, damage
from scaling.report.figures.style import styled
from scaling.report.figures.sweep import sweep_figure
from scaling.report.figures.teachers import loss_by_teacher
from scaling.report.figures.training import (
    critical_batch,
    curve,
    isoflop,
    learning_rates,
    loss_by_compute,
    training_curves,
)

__all__ = [
    "best_size_by_compute",
    "bits_by_vocabulary",
    "bytes_and_loss",
    "bytes_by_part",
    "critical_batch",
    "curve",
    "damage",
    "exponents",
    "extrapolation",
    "forecast",
    "frontier",
    "hit_rate",
    "isoflop",
    "isoloss",
    "keystrokes",
    "laws",
    "learning_rates",
    "ledger",
    "loss_by_compute",
    "loss_by_ratio",
    "loss_by_size",
    "loss_by_teacher",
    "needed_for_a_loss",
    "predicted_and_actual",
    "residuals",
    "runs",
    "styled",
    "sweep_figure",
    "training_curves",
    "transferred",
]
