"""Critical batch against loss, and L(N, S_min): python analysis/critical_batch.py [RESULTS]

Every D of a trunk is a cooled-down run, so a trunk's branches are its learning curve free of the rate's own noise. At
each loss a batch size counts with the rate that reaches it in the fewest tokens.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from published import published_runs

from scaling.errors import FitError
from scaling.fit.fitter import fit
from scaling.fit.tuning.critical_batch import BatchTradeoff, fit_critical_batch, fit_tradeoff, tokens_to_loss
from scaling.laws.batch import CriticalBatch

LEVELS = 7


def main(results: str = "results") -> None:
    runs = published_runs("critical_batch", results)
    entropy = runs["entropy"].iloc[0]
    tradeoffs = [found for loss in _levels(runs, entropy) if (found := _tradeoff(runs, loss)) is not None]
    fitted = fit_critical_batch(tradeoffs, E=entropy)
    power, error = 1 / fitted.law.alpha_B, fitted.inverse_alpha_B_se
    print(f"\n{fitted.law!r}; scatter of log B_crit {fitted.rms:.2f}")
    print(f"log B_star ± {fitted.log_B_star_se:.2f}, 1/alpha_B = {power:.2f} ± {error:.2f}")
    print("(lower bounds, since the levels are read from the same trainings)")
    _learning_curve(published_runs("seeds", results), fitted.law)


def _levels(runs, entropy: float) -> np.ndarray:
    """Losses within the curves of the best rates of all batch sizes, evenly spaced in log(L − E)."""
    best = runs.groupby(["batch_size", "n_tokens"])["loss"].min().groupby("batch_size")
    high, low = best.max().min(), best.min().max()
    return entropy + np.geomspace(high - entropy, low - entropy, LEVELS + 2)[1:-1]


def _tradeoff(runs, loss: float) -> BatchTradeoff | None:
    """The hyperbola at one loss, printed with what it goes through."""
    reached = {
        (batch, lr): tokens_to_loss(rows["n_tokens"], rows["loss"], loss)
        for (batch, lr), rows in runs.sort_values("n_tokens").groupby(["batch_size", "lr"])
    }
    batches = sorted({batch for batch, _ in reached})
    tokens = [np.nanmin([d for (b, _), d in reached.items() if b == batch]) for batch in batches]
    rates = [next(lr for (b, lr), d in reached.items() if d == t) for t in tokens]
    print(f"\nloss {loss:.3f}   batch " + "".join(f"{batch:10d}" for batch in batches))
    print("      tokens E to it" + "".join(f"{t:10,.0f}" for t in tokens))
    print("       steps S to it" + "".join(f"{t / b / 40:10,.0f}" for b, t in zip(batches, tokens, strict=True)))
    print("           best rate" + "".join(f"{lr:10.2g}" for lr in rates))
    try:
        found = fit_tradeoff(np.array(batches) * runs["context"].iloc[0], tokens, loss)
    except FitError as error:
        print(f"  {error}")
        return None
    print(
        f"  S_min {found.s_min:,.0f} steps, E_min {found.e_min:,.0f} tokens, B_crit {found.b_crit:,.0f} tokens "
        f"× ÷ {math.exp(found.b_crit_log_se):.2f} (1 s.e.), scatter {found.rms:.3f}"
    )
    return found


def _learning_curve(runs, law: CriticalBatch) -> None:
    """L − E = (N_c/N)^alpha_N + (S_c/S_min)^alpha_S through runs of several sizes; the smallest D is a transient."""
    runs = runs[runs["n_tokens"] > runs["n_tokens"].min()].copy()
    batch_tokens = runs["batch_size"] * runs["context"]
    runs["s_min"] = law.s_min(runs["n_tokens"] / batch_tokens, batch_tokens=batch_tokens, loss=runs["loss"])
    runs["c_min"] = law.e_min(6 * runs["n_params"] * runs["n_tokens"], batch_tokens=batch_tokens, loss=runs["loss"])
    runs["excess"] = runs["loss"] - runs["entropy"]
    print("\nseeds.yaml, mean of the seeds, C = 6ND")
    means = runs.groupby(["n_params", "n_tokens"])[["loss", "s_min", "c_min"]].mean()
    print(means.to_string(float_format=lambda x: f"{x:.4g}"))
    found = fit(
        runs, law="kaplan-ns", columns={"n": "n_params", "s_min": "s_min"}, loss="excess", bootstrap=200, strict=False
    )
    print(f"L − E: {found.law!r}\nstatus: {found.status}")


if __name__ == "__main__":
    main(*sys.argv[1:])
