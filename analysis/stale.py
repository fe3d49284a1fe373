"""Whether errors on rare keys are noise or missing coverage: python analysis/stale.py [RESULTS]

q7 adds a teacher's noise to every student's loss; what it lacks matters to those alone that would come to it. A stale
teacher errs a little on keys that its sample held a few times, and misses others; a student that teaches does so too.
Accounts of that, each by leaving a text out: an error is noise where it is less than half of what the key is worth; or
all of it is missing coverage (as the runs table has it of stale teachers); or noise is how wrong a teacher is on the
keys that are asked for most, and coverage the rest; or the loss comes from the error of each key by itself, keys being
learned in the order of their frequency, one by one or gradually.

What students that teach get wrong, by key, is measured where RESULTS holds them, else as published.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from published import REFERENCE, published_runs
from scipy.optimize import least_squares

from scaling.data.worlds import divergence, open_generator
from scaling.data.worlds.generator import Generator, kl_divergence, split_divergence
from scaling.data.worlds.w0_facts import N_CUES, N_KEYS, RECORD, Facts
from scaling.data.worlds.w0_teachers import POWERS, Counts, Ranges, knowledge
from scaling.laws.teacher import soft_maximum
from scaling.records import RunStore
from scaling.spec import CoverageTeacher, FactSource, NoiseTeacher, RealTeacher, StaleTeacher, Teacher

DELTAS = ["delta_coverage", "delta_noise"]
TEXTS: dict[str, Teacher] = {
    "real": RealTeacher(kind="real"),
    **{f"coverage {keys}": CoverageTeacher(kind="coverage", top_keys=keys) for keys in (30, 100, 300)},
    **{f"noise {rate}": NoiseTeacher(kind="noise", rate=rate) for rate in (0.1, 0.2, 0.4)},
    **{f"stale {records}": StaleTeacher(kind="stale", n_records=records) for records in (10_000, 100_000)},
}
NEW: dict[str, Teacher] = {
    **{f"stale {records}": StaleTeacher(kind="stale", n_records=records) for records in (3_000, 30_000)},
    "coverage 60": CoverageTeacher(kind="coverage", top_keys=60),
    "noise 0.3": NoiseTeacher(kind="noise", rate=0.3),
}
"""Of sweeps/registered_teachers.yaml: no account was chosen on their students."""
WRITTEN = REFERENCE / "student_errors.csv"
MOST_ASKED = 2 / 3
"""Share of all questions that the most frequent keys take, whose error counts as noise in one account."""
RANKS = np.unique([*np.geomspace(1, N_KEYS + 1, 100).astype(int), 11, 31, 101, 301, 1001, 10_001, 100_001])
"""Keys are taken together from one of these ranks to the next."""
HALF_KNOWN = np.geomspace(1e-1, 1e5, 120)
"""Ranks of the key that a student knows by half: the grid on which a form is interpolated."""
START = {"E": 1.37, "A": 11.8, "B": 57.0, "alpha": 0.47, "beta": 0.42, "kappa": 1.0, "c": 1.9, "sharpness": 4.0}
"""Where a fit begins: about q7's own answer on the study."""

Form = Callable[[dict[str, float], pd.DataFrame], np.ndarray]
"""Losses of runs at coefficients."""


@dataclass(frozen=True)
class Errors:
    """How wrong each text is about the keys of each range of RANKS.

    Attributes:
        mass: How often the range is asked for: float64[n].
        gain: What knowing a key is worth, nats an answer token.
        kl: KL of each text's answers from the world's: float64[n].
    """

    mass: np.ndarray
    gain: float
    kl: dict[str, np.ndarray]


def main(results: str = "results") -> None:
    every = published_runs("study", results, columns=("real_share", *DELTAS))
    students = of_students(every, results)
    runs, grown = (every[every["teacher"].isin(list(texts))] for texts in (TEXTS, students))
    errors = errors_by_key()
    errors.kl.update(students)
    forms: dict[str, tuple[Form, Callable[[pd.DataFrame], pd.DataFrame]]] = {
        "small errors noise": (q7, lambda table: small_errors_noise(table, errors)),
        "all coverage": (q7, lambda table: table),
        "most asked noise": (q7, lambda table: most_asked_noise(table, errors)),
        "keys one by one": (by_keys(errors, gradually=False), lambda table: table),
        "keys gradually": (by_keys(errors, gradually=True), lambda table: table),
    }
    print("Divergence of the keys of ranks below, per cent of a key's whole worth:")
    print(by_rank(errors).to_string(), "\n")
    print("Texts left out: mean error of the forecasts (their bias), per cent")
    print(pd.DataFrame({name: left_out(form, split(runs)) for name, (form, split) in forms.items()}).to_string(), "\n")
    print("Students of students and of new teachers, by the fit of all texts above: likewise")
    asked = pd.concat([grown, of_new_teachers()])
    said = {name: unseen(form, split(runs), split(asked)) for name, (form, split) in forms.items()}
    print(pd.DataFrame(said).to_string())


def of_new_teachers() -> pd.DataFrame:
    """Students of NEW, as measured after their forecasts were registered."""
    runs = pd.read_csv(REFERENCE / "registered.csv")
    runs = runs[runs["teacher"].isin(list(NEW))]
    known = {text: divergence(FactSource(kind="w0"), teacher) for text, teacher in NEW.items()}
    return runs.assign(**{name: [getattr(known[text], name[6:]) for text in runs["teacher"]] for name in DELTAS})


def of_students(runs: pd.DataFrame, results: str) -> dict[str, np.ndarray]:
    """How wrong each student that teaches is, by range of RANKS; those that a results folder holds are measured."""
    taught = runs[runs["teacher"].str.startswith("net ")].groupby("teacher")["run_id"].first()
    store = RunStore(results)
    if len(taught) and all(store.has(run_id) for run_id in taught):
        from scaling.train.student.generator import open_student

        found = {text: measured(open_student(store.load(run_id).spec, store)) for text, run_id in taught.items()}
        pd.DataFrame({"rank": RANKS[:-1]} | found).to_csv(WRITTEN, index=False, float_format="%.6g")
    return {text: column.to_numpy() for text, column in pd.read_csv(WRITTEN).set_index("rank").items()}


def measured(teacher: Generator) -> np.ndarray:
    """Mean KL of a teacher's answers by range of RANKS, on real sequences; between ranges where none was asked for."""
    world = open_generator(FactSource(kind="w0"))
    count, total = np.zeros(len(RANKS) - 1), np.zeros(len(RANKS) - 1)
    for sequences in np.array_split(world.evaluation_sequences(8192, seed=0), 64):
        true, said = (one.next_token_probs(sequences)[:, world.scored] for one in (world, teacher))
        keys = sequences.reshape(-1, RECORD)[:, :N_CUES] @ POWERS
        at = np.searchsorted(RANKS - 1, keys, side="right") - 1
        count += np.bincount(at, minlength=len(count))
        of_key = kl_divergence(true, said).reshape(len(keys), -1).mean(-1)
        total += np.bincount(at, of_key, minlength=len(count))
    asked = count > 0
    return np.interp(RANKS[:-1], RANKS[:-1][asked], total[asked] / count[asked])


def errors_by_key() -> Errors:
    """How wrong each text is, by rank of the key."""
    world = Facts()
    mass = np.add.reduceat(world.key_probs, RANKS[:-1] - 1)
    kl = {
        text: np.add.reduceat(world.key_probs * _kl(world, teacher), RANKS[:-1] - 1) / mass
        for text, teacher in (TEXTS | NEW).items()
    }
    return Errors(mass, world.answer_gain, kl)


def _kl(world: Facts, teacher: Teacher) -> np.ndarray:
    """KL of the teacher's answers of each key, averaged over its answers: float64[N_KEYS]."""
    told, kl = knowledge(world, teacher), np.full(N_KEYS, world.answer_gain)
    assert isinstance(told, Counts | Ranges)
    # Of a count's keys those that were never seen are not known at all; a range's are alike.
    known = told.keys if isinstance(told, Counts) else np.unique([0, *told.bounds])
    true = knowledge(world, TEXTS["real"]).answers(world, known).dense()
    found = kl_divergence(true, told.answers(world, known).dense()).mean(-1)
    if isinstance(told, Counts):
        kl[known] = found
        return kl
    return found[np.searchsorted(told.bounds, np.arange(N_KEYS), side="right")]


def by_rank(errors: Errors) -> pd.DataFrame:
    """Share of a key's worth that each text gets wrong, of the first ten keys, the next ninety, and so on."""
    decade = pd.Series(np.minimum(10.0 ** np.ceil(np.log10(RANKS[:-1] + 0.5)), N_KEYS)).map("{:,.0f}".format)
    table = {}
    for text, kl in errors.kl.items():
        sums = pd.DataFrame({"lost": errors.mass * kl, "mass": errors.mass}).groupby(decade, sort=False).sum()
        table[text] = (100 * sums["lost"] / sums["mass"] / errors.gain).round(1)
    return pd.DataFrame(table).T


def q7(p: dict[str, float], runs: pd.DataFrame) -> np.ndarray:
    """Noise adds and costs data, coverage is a bottleneck."""
    coverage, noise = (runs[name].to_numpy() for name in DELTAS)
    return p["E"] + p["kappa"] * noise + soft_maximum(excess(p, runs), coverage, p["sharpness"])


def by_keys(errors: Errors, *, gradually: bool) -> Form:
    """E + x + kappa sum_k P(k) s_k KL_k, where s_k is what is known of key k by a student whose excess is x.

    x = sum_k P(k) (1 - s_k) gain, and s_k = 1/(1 + (k/K)^sharpness), or 1 below K and 0 above.
    """
    middle = np.sqrt(RANKS[:-1] * (RANKS[1:] - 1.0))

    def loss(p: dict[str, float], runs: pd.DataFrame) -> np.ndarray:
        farther = np.log(middle / HALF_KNOWN[:, None]) * (p["sharpness"] if gradually else 50)
        known = 1 / (1 + np.exp(np.clip(farther, -50, 50)))
        unknown = (1 - known) @ errors.mass * errors.gain
        x, said = excess(p, runs), np.empty(len(runs))
        for text in runs["teacher"].unique():
            wrong, here = known @ (errors.mass * errors.kl[text]), (runs["teacher"] == text).to_numpy()
            said[here] = np.interp(x[here], unknown[::-1], wrong[::-1])
        return p["E"] + x + p["kappa"] * said

    return loss


def excess(p: dict[str, float], runs: pd.DataFrame) -> np.ndarray:
    """A/N^alpha + B/D'^beta, D' = D e^(-c noise)."""
    fewer = runs["n_tokens"] * np.exp(-p["c"] * runs["delta_noise"])
    return (p["A"] * runs["n_params"] ** -p["alpha"] + p["B"] * fewer ** -p["beta"]).to_numpy()


def left_out(form: Form, runs: pd.DataFrame) -> pd.Series:
    """Error of each text's students under the fit of all others, and the mean over texts."""
    errors = {}
    for text in [text for text in TEXTS if text != "real"]:
        asked = runs["teacher"] == text
        errors[text] = 100 * misses(fitted(form, runs[~asked]), form, runs[asked])
    rows = {text: f"{np.abs(found).mean():.2f} ({found.mean():+.2f})" for text, found in errors.items()}
    mean = np.mean([np.abs(found).mean() for found in errors.values()])
    return pd.Series(rows | {"mean of texts": f"{mean:.2f}"})


def unseen(form: Form, known: pd.DataFrame, asked: pd.DataFrame) -> pd.Series:
    """Error of students of texts that the fit has not seen."""
    law = fitted(form, known)
    errors = {text: 100 * misses(law, form, rows) for text, rows in asked.groupby("teacher")}
    return pd.Series({text: f"{np.abs(found).mean():.2f} ({found.mean():+.2f})" for text, found in errors.items()})


def fitted(form: Form, runs: pd.DataFrame) -> dict[str, float]:
    """The coefficients of least squared log errors."""
    logs = np.log(list(START.values()))

    def residuals(at: np.ndarray) -> np.ndarray:
        return misses(_coefficients(at), form, runs)

    # Coefficients within a factor of e^3 of where they begin, which none comes near.
    return _coefficients(least_squares(residuals, logs, bounds=(logs - 3, logs + 3), max_nfev=100).x)


def misses(p: dict[str, float], form: Form, runs: pd.DataFrame) -> np.ndarray:
    """Log of forecast over measured loss."""
    return np.log(form(p, runs) / runs["loss"].to_numpy())


def _coefficients(logs: np.ndarray) -> dict[str, float]:
    return dict(zip(START, np.exp(logs), strict=True))


def small_errors_noise(runs: pd.DataFrame, errors: Errors) -> pd.DataFrame:
    """Of a stale text's divergence what lies in keys that it knows by more than half, as noise."""
    runs = runs.copy()
    for text in [text for text in TEXTS | NEW if text.startswith("stale")]:
        parts = split_divergence(errors.mass, errors.kl[text], errors.gain)
        runs.loc[runs["teacher"] == text, DELTAS] = parts.coverage, parts.noise
    return runs


def most_asked_noise(runs: pd.DataFrame, errors: Errors) -> pd.DataFrame:
    """Every text as wrong everywhere as it is on the keys that are asked for most, and what is left as coverage."""
    runs = runs.copy()
    most = np.cumsum(errors.mass) - errors.mass / 2 < MOST_ASKED
    for text in runs["teacher"].unique():
        lost = errors.mass * errors.kl[text]
        noise = min(lost[most].sum() / errors.mass[most].sum(), lost.sum())
        runs.loc[runs["teacher"] == text, DELTAS] = lost.sum() - noise, noise
    return runs


if __name__ == "__main__":
    main(*sys.argv[1:])
