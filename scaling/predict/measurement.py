"""What was measured of one configuration. Results that hold it start without what fits and reads runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scaling.fit.prediction import Prediction


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Losses of one configuration, in the unit of the fit.

    Attributes:
        loss: Of the run itself where it is there, else the geometric mean over its seeds.
        se: Standard error of the held-out estimate; 0 where it is not known.
        n_runs: Trainings of this configuration, with whatever seed.
        own: True if the very run is among them: its loss is known, not foreseen.
        scatter: Standard deviation of log loss between seeds, for a run with a seed that was not trained.
        savings: Share of keystrokes that the run itself saved; None where it did not type.
    """

    loss: float
    se: float
    n_runs: int
    own: bool
    scatter: float
    savings: float | None = None

    @property
    def spread(self) -> float:
        """Standard deviation of the log loss of the run that is asked about: of its estimate, or of another seed."""
        return self.se / self.loss if self.own else self.scatter * math.sqrt(1 + 1 / self.n_runs)

    def beside(self, law: Prediction) -> Prediction:
        """Its loss in place of the law's: the interval is that of the estimate, or of a run with another seed."""
        from statistics import NormalDist

        z, inside = NormalDist().inv_cdf((1 + law.level) / 2), dict.fromkeys(law.reach, 1.0)
        low, high = (self.loss * math.exp(side * z * self.spread) for side in (-1, 1))
        found = replace(law, value=self.loss, low=low, high=high, scale=self.spread)
        return replace(found, reach=inside, near=0, measured=self.n_runs)

    def probability(self, target: float, savings: float | None = None) -> float:
        """P(loss ≤ target), the loss being that on the held-out set: certain for the run itself.

        Where keystrokes are asked for, ``savings``, a run that has typed is judged by what it saved: the target is then
        a loss that students of the same savings have on average.
        """
        from statistics import NormalDist

        if savings is not None and self.savings is not None:
            return float(self.savings >= savings)
        if self.own or self.spread == 0:
            return float(self.loss <= target)
        return NormalDist(math.log(self.loss), self.spread).cdf(math.log(target))
