"""Which text each row of a runs table read, by the labels of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scaling.tables.observations import REAL
from scaling.tables.observe import text_names

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.result import Fit

Array = np.ndarray


def texts_read(fit: Fit, runs: pd.DataFrame) -> Array:
    """Label of what each run read, as the fit knows it: object[n_runs]; that of the table for a text it does not know.

    The id comes first: of texts that share a label in the table, as one teacher's over two sources, the fit's own
    labels are longer.
    """
    labels, ids = (text_names(runs, fit.columns.get(name, name)) for name in ("teacher", "text_id"))
    named = zip(ids, np.where(labels == "", REAL, labels), strict=True)
    return np.array([fit.texts.get(text_id, label) for text_id, label in named], object)
