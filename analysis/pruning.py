"""What leaving parts of a student out costs, beside one born at that size: python analysis/pruning.py [RESULTS]

Prunes and heals the students that `scaling sweep sweeps/grid.yaml` and `scaling sweep sweeps/pruning.yaml` left
under RESULTS, writes the table and prints it; where they are not there, prints the published table.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from published import REFERENCE

from scaling.accounting import count_parameters, training_flops, weights_bytes
from scaling.compress.forward import forward
from scaling.compress.importance import block_influence, head_importance, neuron_importance
from scaling.compress.prune import keep_heads, keep_layers, keep_neurons
from scaling.compress.pruning import WEIGHTS, Pruning, healing_flops, tokens_for
from scaling.compress.sparse import Sparsity, is_thinned
from scaling.config.load import open_sweep
from scaling.fit.fitter import fit
from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.train.evaluate import evaluate
from scaling.train.measure import held_out
from scaling.train.step import params_of
from scaling.train.student.generator import as_trained
from scaling.train.student.model import Student

HERE = Path(__file__).parent
SWEEPS = HERE.parent / "sweeps"
TABLE = REFERENCE / "pruning.csv"
HEALING_TOKENS = 100_000
FROM_SCRATCH_TOKENS = 160_000
ENTROPY = 1.3704
"""Of W0, nats per scored token: the law's floor is known."""


class Trial:
    """One student, what is cut from it, and the rows that come of that.

    Args:
        name: Of the student, in the table.
        run: That trained it.
        store: Where it lies.
        law: Loss of a student born with N parameters on D tokens.
    """

    def __init__(self, name: str, run: RunSpec, store: RunStore, law):
        self.name, self.run, self.law = name, run, law
        self.pruning = Pruning(run, store)
        self.student, (self.inputs, self.targets) = self.pruning.student, self.pruning.seen
        self.real = held_out(run, store).real
        self.rows: list[dict] = []

    def healed(self, student: Student, tokens: int = HEALING_TOKENS, **how) -> Student:
        return self.pruning.healed(student, tokens, **how)

    def note(self, what: str, student: Student, *, tokens=0, run=as_trained, zeros=0.0, is_anew=False) -> None:
        """One row: the loss, and what the law says of a student born so small, with what was spent on this one.

        Args:
            what: Was left out.
            student: What is left.
            tokens: That it was healed, or taught, with.
            run: Its forward pass.
            zeros: Share of the blocks' weights that are zero.
            is_anew: Whether it began from nothing, and owes nothing to the student that taught it.
        """
        model, parent = student.model, self.run.model
        dense = count_parameters(model).n_params
        thinned = sum(leaf.size for path, leaf in _leaves(student) if is_thinned(path, leaf))
        n = dense - round(zeros * thinned)
        # FLOPs of a zero are spent all the same.
        healing = healing_flops(parent, model, tokens)
        spent = healing + (0 if is_anew else training_flops(parent, self.run.n_tokens))
        loss = evaluate(student, self.real, forward=run).loss
        self.rows.append(
            {
                "student": self.name,
                "pruned": what,
                "healing_tokens": tokens,
                "n_params": n,
                "q8_0_bytes": weights_bytes(model, "Q8_0"),
                "loss": loss,
                "born_equal_data": self.law(n, tokens if is_anew else self.run.n_tokens),
                "born_equal_compute": self.law(n, tokens_for(model, spent)),
                "born_healing_compute": self.law(n, tokens_for(model, healing)) if tokens and not is_anew else np.nan,
            }
        )
        print(f"{self.name:8} {what:40} {tokens:8,d} tokens: {loss:.4f}", flush=True)

    def cut(self, what: str, student: Student) -> None:
        """Before and after healing."""
        self.note(what, student)
        self.note(what, self.healed(student), tokens=HEALING_TOKENS)

    def thin(self, zeros: float, by: str) -> None:
        """Weights to zero at once, and on the way of a healing."""
        what = f"{zeros:.0%} of the blocks' weights by {by}"
        if by == "magnitude":
            self.note(what, self.pruning.cut({WEIGHTS: 1 - zeros}), zeros=zeros)
        begin = 0.1 if by == "movement" else 0.0
        thinned = self.healed(self.student, sparsity=Sparsity(zeros=zeros, by=by, begin=begin))
        self.note(what, thinned, tokens=HEALING_TOKENS, zeros=zeros)

    def without_layer(self, layer: int) -> None:
        """The same layer left out where a shortcut leads around it and where none ever did, both taught anew."""
        influence = np.ones(self.run.model.n_layers)
        influence[layer] = 0
        for said, cut in {"kept": (), "removed": (layer,)}.items():
            how = partial(forward, without_shortcut=frozenset(cut))
            fresh = Student(self.run.model, seed=self.run.seed)
            taught = self.healed(fresh, FROM_SCRATCH_TOKENS, forward=how)
            self.note(f"nothing, shortcut {said}", taught, tokens=FROM_SCRATCH_TOKENS, run=how, is_anew=True)
            left = keep_layers(taught, influence, self.run.model.n_layers - 1)
            self.note(f"layer {layer}, shortcut {said}", left, tokens=FROM_SCRATCH_TOKENS, is_anew=True)


def prune(results: str) -> pd.DataFrame:
    """All rows."""
    store = RunStore(results)
    law = born()
    wide = Trial("128 x 2", _largest(SWEEPS / "grid.yaml"), store, law)
    deep = Trial("64 x 4", _largest(SWEEPS / "pruning.yaml"), store, law)
    wide.note("nothing", wide.student)
    heads = head_importance(wide.student, wide.inputs, wide.targets)
    neurons = neuron_importance(wide.student, wide.inputs)
    wide.cut("4 of 8 heads, by gradient", keep_heads(wide.student, heads, 4))
    wide.cut("the 4 of 8 heads that matter most", keep_heads(wide.student, -heads, 4))
    wide.cut("160 of 352 neurons, by activation", keep_neurons(wide.student, neurons, 192))
    for zeros in (0.5, 0.8):
        for by in ("magnitude", "movement"):
            wide.thin(zeros, by)
    deep.note("nothing", deep.student)
    influence = block_influence(deep.student, deep.inputs)
    for kept in (3, 2):
        deep.cut(f"{4 - kept} of 4 layers, by influence", keep_layers(deep.student, influence, kept))
    deep.without_layer(int(influence.argmin()))
    return pd.DataFrame(wide.rows + deep.rows)


def born():
    """The law of students of real text, from those of the published damage; its floor is the world's entropy."""
    table = pd.read_csv(REFERENCE / "damage.csv")
    real = table[(table["teacher"] == "real") & (table["bits"] == 8)]
    found = fit(real, law="chinchilla", held={"E": ENTROPY}, n="n_params", bootstrap=0)
    print(repr(found.law))
    return lambda n, d: float(found.law.loss(n=float(n), d=float(d)))


def _largest(sweep: Path) -> RunSpec:
    runs = [run for run in open_sweep(sweep, ()).runs if run.data.teacher.kind == "real"]
    return max(runs, key=lambda run: (run.model.width, run.tokens))


def _leaves(student: Student):
    import jax

    return jax.tree_util.tree_flatten_with_path(params_of(student))[0]


def main(results: str = "results") -> None:
    if (Path(results) / "pruning/runs.parquet").exists():
        prune(results).round(5).to_csv(TABLE, index=False)
    table = pd.read_csv(TABLE)
    print("loss, and of a student born so small: on as much text; for all the compute; for the healing's alone")
    for row in table.itertuples():
        print(
            f"{row.student:8} {row.pruned:40} {row.healing_tokens:7,d} {row.n_params:9,d}  {row.loss:7.4f}"
            f"  {row.born_equal_data:7.4f} {row.born_equal_compute:7.4f} {row.born_healing_compute:7.4f}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
