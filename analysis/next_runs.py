"""Decision error against FLOPs, for several ways of choosing what to train: python analysis/next_runs.py [TABLE …]

The decision is the smallest width that meets a target on the largest volume of a teacher's text. Each design buys one
trunk after another, starting from the smallest of that text, and is asked after each; the error is the distance, in
doublings of N, from what all runs of the table decide. Designs: ``decision`` (scaling.predict.next_runs, which stops
when settled), ``grid`` (the smallest trunks first, all texts), ``random``, ``d-optimal`` (most information about all
coefficients for its FLOPs). Tables: published runs, by default those of sweeps/grid.yaml and of seeds.yaml, replayed as
if they were trained now; and ladders simulated from the grid's law and scatter, whose true law is known.
"""

from __future__ import annotations

import argparse
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from published import published_runs

from scaling.accounting import count_parameters, training_flops
from scaling.fit.belief import NOISE, TRUNK_NOISE, Belief, believe, run_covariance
from scaling.laws.named import named_law
from scaling.predict.next_runs import Decision, Site, cost, next_runs, outlook
from scaling.report.figures import styled
from scaling.spec import ModelSpec
from scaling.tables.observe import observe

matplotlib.use("Agg")
import matplotlib.pyplot as plt

REFERENCE = Path(__file__).resolve().parents[1] / "results" / "reference"
TABLES = ("grid", "seeds")
SHARES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0)
QUARTILES = ("error_q25", "error_median", "error_q75")
MOST = 0.5
"""Of the whole table's FLOPs, that a design may spend here."""

TRUTH = named_law("q1q2").with_values(
    {"E": 1.417, "A": 3.523, "B": 744.8, "alpha": 0.3165, "beta": 0.6502, "kappa": 1.002, "c": 1.483}
)
"""The law of the grid (analysis/LOG.md, 2026-11-26)."""

Trunks = list[list[Site]]
Design = Callable[[Belief, Decision, Trunks, float], list[Site]]


def sites(runs: pd.DataFrame) -> list[Site]:
    """The rows of a table as runs that could be bought."""
    return [
        Site(
            key=str(row.Index),
            trunk=row.trunk_id,
            columns={"n": row.n_params, "d": row.n_tokens, **{name: getattr(row, name) for name in DELTAS}},
            flops=row.flops,
        )
        for row in runs.itertuples()
    ]


DELTAS = ("delta_coverage", "delta_noise")


def decisions(runs: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, float]]:
    """For every text of three widths, targets between the losses of neighbouring widths and above the largest."""
    for text in dict.fromkeys(runs["teacher"]):
        own = runs[runs["teacher"] == text]
        widths = own.groupby("n_tokens")["n_params"].nunique()
        if widths.max() < 3:
            continue
        # The largest volume that all its widths have read.
        largest = own[own["n_tokens"] == widths[widths == widths.max()].index.max()]
        losses = largest.groupby("n_params")["loss"].mean().sort_index()
        middles = (losses.to_numpy()[1:] + losses.to_numpy()[:-1]) / 2
        for target in (*middles, losses.iloc[-1] * 0.99):
            yield text, largest, float(target)


def asked(runs: pd.DataFrame, largest: pd.DataFrame, target: float, bought: set[str]) -> Decision:
    """The decision, knowing the candidates and the sizes of its text that were bought."""
    means = largest.groupby("n_params")["loss"].mean().sort_index()
    known = largest[[str(row) in bought for row in largest.index]].groupby("n_params")["loss"].mean()
    columns = {"d": float(largest["n_tokens"].iloc[0]), **{name: float(largest[name].iloc[0]) for name in DELTAS}}
    of_text = runs[runs["teacher"] == largest["teacher"].iloc[0]]
    seen = frozenset(float(n) for row, n in of_text["n_params"].items() if str(row) in bought)
    measured = {i: float(known[n]) for i, n in enumerate(means.index) if n in known.index}
    return Decision(sizes=means.index.to_numpy(float), columns=columns, target=target, measured=measured, seen=seen)


def known(runs: pd.DataFrame, bought: set[str], volume: float) -> Belief:
    """What the bought runs say of students of some volume."""
    data = observe(
        runs[[str(row) in bought for row in runs.index]],
        columns={"n": "n_params", "d": "n_tokens"},
        loss="loss",
        clusters="trunk_id",
    )
    columns = dict(data.columns) | {name: data.columns.get(name, np.zeros(len(data))) for name in DELTAS}
    return believe(type(data)(**{**vars(data), "columns": columns}), named_law("q1q2"), volume=volume)


def by_decision(belief: Belief, decision: Decision, trunks: Trunks, budget: float) -> list[Site]:
    offered = [site for trunk in trunks for site in trunk]
    keys = next_runs(belief, decision, offered, flops=budget, most_trunks=1).keys
    return [site for site in offered if site.key in keys]


def by_size(belief: Belief, decision: Decision, trunks: Trunks, budget: float) -> list[Site]:
    return min(trunks, key=lambda trunk: (max(site.flops for site in trunk), trunk[0].trunk), default=[])


def by_chance(rng: np.random.Generator) -> Design:
    def design(belief: Belief, decision: Decision, trunks: Trunks, budget: float) -> list[Site]:
        affordable = [trunk for trunk in trunks if cost(trunk) <= budget]
        return affordable[rng.integers(len(affordable))] if affordable else []

    return design


def by_information(belief: Belief, decision: Decision, trunks: Trunks, budget: float) -> list[Site]:
    best: tuple[float, list[Site]] = (0.0, [])
    for trunk in trunks:
        for count in range(1, len(trunk) + 1):
            option = trunk[:count]
            price = cost(option)
            if price > budget:
                continue
            logs = belief.logs({name: np.array([s.columns[name] for s in option]) for name in belief.law.columns})
            volumes = np.array([site.columns["d"] for site in option])
            noise = run_covariance(volumes, np.zeros(count), belief.volume)
            told = np.linalg.slogdet(np.eye(count) + np.linalg.solve(noise, np.cov(logs.T).reshape(count, count)))[1]
            best = max(best, (told / price, option), key=lambda one: one[0])
    return best[1]


def spend(runs: pd.DataFrame, text: str, largest: pd.DataFrame, target: float, design: Design, *, stops: bool):
    """(share of the table's FLOPs, outlook) after each purchase of a design."""
    every = sites(runs)
    whole = cost(every)
    own = runs.loc[runs["teacher"] == text, "trunk_id"].unique()
    first = min(([site for site in every if site.trunk == trunk] for trunk in own), key=cost)
    buying, bought, spent = first, set[str](), 0.0
    while buying:
        bought |= {site.key for site in buying}
        spent += cost(buying)
        decision = asked(runs, largest, target, bought)
        belief = known(runs, bought, decision.columns["d"])
        found = outlook(belief, decision)
        yield spent / whole, found
        if stops and found.settled:
            return
        trunks: dict[str, list[Site]] = {}
        for site in sorted(every, key=lambda site: site.flops):
            if site.key not in bought:
                trunks.setdefault(site.trunk, []).append(site)
        buying = design(belief, decision, list(trunks.values()), MOST * whole - spent)
        if spent + cost(buying) > MOST * whole:
            return


def simulated(seed: int) -> pd.DataFrame:
    """A ladder of six widths, five volumes and three texts, with the scatter of real runs."""
    rng, rows = np.random.default_rng(seed), []
    for text, delta in (("real", 0.0), ("noise 0.2", 0.1143), ("noise 0.4", 0.3164)):
        for width in (32, 64, 96, 128, 192, 256):
            model = ModelSpec(vocab_size=65, width=width, context=40)
            n, shared = count_parameters(model).n_params, TRUNK_NOISE * rng.standard_normal()
            for tokens in (125_000, 250_000, 500_000, 1_000_000, 2_000_000):
                law = TRUTH.loss(n=n, d=tokens, delta_coverage=0.0, delta_noise=delta)
                loss = float(law) * np.exp(shared + NOISE * rng.standard_normal())
                row = {"trunk_id": f"{text} {width}", "text_id": text, "teacher": text, "n_params": n, "loss": loss}
                row |= {"n_tokens": tokens, "flops": training_flops(model, tokens), "true_loss": float(law)}
                rows.append(row | {"delta_coverage": 0.0, "delta_noise": delta})
    return pd.DataFrame(rows)


def replayed(name: str) -> pd.DataFrame:
    """A published table, with the columns that it leaves out, and without mixtures, which have a law of their own."""
    runs = published_runs(name, "results", columns=DELTAS if name == "study" else ())
    if "real_share" in runs:
        runs = runs[runs["real_share"].isin([0, 1])]
    if name == "study":
        # What is bought are sizes and volumes; a second seed of a run tells little of them.
        runs = runs[runs["seed"] == 0]
    runs = runs.reset_index(drop=True)
    for column, value in {"teacher": "real", "text_id": "real", "delta_coverage": 0.0, "delta_noise": 0.0}.items():
        if column not in runs:
            runs[column] = value
    if "flops" not in runs:
        models = {width: ModelSpec(vocab_size=65, width=width, context=40) for width in set(runs["width"])}
        runs["flops"] = [
            float(training_flops(models[width], int(d)))
            for width, d in zip(runs["width"], runs["n_tokens"], strict=True)
        ]
    return runs


def errors(table: str, runs: pd.DataFrame, text: str, largest: pd.DataFrame, target: float) -> Iterator[dict]:
    """The curve of every design for one decision."""
    every = {str(row) for row in runs.index}
    decision = asked(runs, largest, target, every)
    full = outlook(known(runs, every, decision.columns["d"]), decision).choice
    if "true_loss" in largest:
        true = largest.sort_values("n_params")["true_loss"].to_numpy()
        truth = int(np.argmax(true <= target)) if (true <= target).any() else len(true)
    else:
        truth = full
    steps = np.append(np.log2(decision.sizes), np.log2(decision.sizes[-1]) + 1)
    seed = zlib.crc32(f"{table} {text} {target}".encode())
    designs: dict[str, Design] = {"decision": by_decision, "grid": by_size, "d-optimal": by_information}
    for i in range(2):
        designs[f"random {i}"] = by_chance(np.random.default_rng((seed, i)))
    for name, design in designs.items():
        for share, found in spend(runs, text, largest, target, design, stops=name == "decision"):
            yield {
                "table": table,
                "text": text,
                "target": round(target, 4),
                "design": name.split()[0],
                "copy": name,
                "share": share,
                "off_full": abs(steps[found.choice] - steps[full]),
                "off_truth": abs(steps[found.choice] - steps[truth]),
                "settled": found.settled,
            }


def replays(tables: Sequence[str], ladders: int) -> pd.DataFrame:
    """The curves of all decisions of some published tables, and of one on each of some simulated tables."""
    curves = []
    for name in tables:
        runs = replayed(name)
        for text, largest, target in decisions(runs):
            curves += errors(name, runs, text, largest, target)
    return pd.DataFrame([*curves, *_of_ladders(ladders)])


def at_shares(curves: pd.DataFrame) -> pd.DataFrame:
    """Error (mean, quartiles) and share of decisions that are those of all runs, once so many FLOPs may be spent."""
    rows = []
    curves = curves.assign(kind=np.where(curves["table"].str.startswith("simulated"), "simulated", "real"))
    for share in SHARES:
        spent = curves[curves["share"] <= share]
        last = spent.groupby(["kind", "table", "text", "target", "design", "copy"], as_index=False).last()
        for (kind, design), found in last.groupby(["kind", "design"]):
            rows.append(
                {
                    "kind": kind,
                    "design": design,
                    "flops_allowed": share,
                    "flops_spent": found["share"].mean(),
                    "error_doublings": found["off_full"].mean(),
                    **dict(zip(QUARTILES, found["off_full"].quantile([0.25, 0.5, 0.75]), strict=True)),
                    "from_truth": found["off_truth"].mean(),
                    "same_decision": (found["off_full"] < 1e-6).mean(),
                    "right_decision": (found["off_truth"] < 1e-6).mean(),
                    "n": len(found),
                }
            )
    return pd.DataFrame(rows)


def until_right(curves: pd.DataFrame) -> pd.DataFrame:
    """Share of the FLOPs from which on a design decides as all runs do; all that it may spend where it never does."""
    rows = []
    for (design, *_), curve in curves.groupby(["design", "table", "text", "target", "copy"]):
        right = curve["off_full"].to_numpy() < 1e-6
        first = len(right) - int(np.argmin(right[::-1])) if not right.all() else 0
        reached = first < len(right)
        rows.append({"design": design, "reached": reached, "flops": curve["share"].iloc[first] if reached else MOST})
    return (
        pd.DataFrame(rows)
        .groupby("design")
        .agg(
            reached=("reached", "mean"),
            mean=("flops", "mean"),
            q25=("flops", lambda flops: flops.quantile(0.25)),
            median=("flops", "median"),
            q75=("flops", lambda flops: flops.quantile(0.75)),
            n=("flops", "size"),
        )
    )


def draw(table: pd.DataFrame, path: Path) -> None:
    """Error against FLOPs, and the share of decisions that are those of all runs; one line a design, of real runs."""
    with styled():
        figure, (error, same) = plt.subplots(1, 2, figsize=(8.4, 3.4), layout="constrained")
        # Where not every decision has begun, those that have are the cheap ones.
        shown = table[(table["kind"] == "real") & (table["flops_allowed"] <= MOST)]
        shown = shown[shown["n"] == shown.groupby("design")["n"].transform("max")]
        for i, (design, rows) in enumerate(shown.groupby("design")):
            (line,) = error.plot(rows["flops_allowed"], rows["error_doublings"], "o-", ms=3)
            beside = rows["flops_allowed"] * 1.05 ** (i + 1)
            error.vlines(beside, rows["error_q25"], rows["error_q75"], color=line.get_color(), lw=1)
            error.plot(beside, rows["error_median"], "_", color=line.get_color(), ms=6)
            same.plot(rows["flops_allowed"], rows["same_decision"], "o-", ms=3, label=design)
        error.set(ylabel="distance from the decision of all runs,\ndoublings of N: mean; quartiles, median")
        same.set(ylabel="share of decisions as of all runs", ylim=(0, 1.03))
        for ax in (error, same):
            ax.axvline(0.25, color="0.4", lw=0.8, ls=":")
            ax.set(xscale="log", xlabel="FLOPs that may be spent, share of all runs")
            ax.set_xticks(ticks := sorted(set(shown["flops_allowed"])), map(str, ticks))
            ax.minorticks_off()
        same.legend()
        figure.savefig(path)
        plt.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", default=TABLES, metavar="TABLE", help="of results/reference, as study")
    parser.add_argument("--ladders", type=int, default=8, help="simulated tables as well, so many")
    parser.add_argument(
        "--write", action="store_true", help="next_runs.csv, for other tables next_runs_TABLE.csv and its figure"
    )
    asked_for = parser.parse_args(argv)
    found = replays(asked_for.tables, asked_for.ladders)
    table = at_shares(found)
    print(table.round(3).to_string(index=False), "\n")
    print("Share of the FLOPs of all runs until the decision is, and stays, that of all runs:")
    print(until_right(found).round(3).to_string())
    if asked_for.write:
        names = "" if tuple(asked_for.tables) == TABLES else "_" + "_".join(asked_for.tables)
        table.round(4).to_csv(REFERENCE / f"next_runs{names}.csv", index=False)
        if names:
            draw(table, Path(__file__).with_name(f"next_runs{names}.png"))


def _of_ladders(count: int) -> Iterator[dict]:
    """The curves of one decision on each of some simulated tables."""
    rng = np.random.default_rng(0)
    for seed in range(count):
        runs = simulated(seed)
        largest = runs[(runs["teacher"] == "noise 0.2") & (runs["n_tokens"] == runs["n_tokens"].max())]
        # The wanted size lies anywhere between the smallest and twice the largest, evenly in its logarithm.
        wanted = math.exp(rng.uniform(*np.log([runs["n_params"].min(), 2 * runs["n_params"].max()])))
        target = TRUTH.loss(n=wanted, d=2_000_000, delta_coverage=0.0, delta_noise=0.1143)
        yield from errors(f"simulated {seed}", runs, "noise 0.2", largest, float(target))


if __name__ == "__main__":
    main()
