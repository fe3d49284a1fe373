"""One file from its parts: template, style, script, and what the page knows."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.accounting import TokenizerLayout
from scaling.chain.decision import load_recommendation
from scaling.chain.target import ask
from scaling.chain.workspace import Workspace
from scaling.config.expand import recommended_text
from scaling.dimensions import Dimensions
from scaling.errors import RecordError
from scaling.export.ledger.rows import latest, read_ledger
from scaling.fit.result import Fit
from scaling.fit.saved.files import load
from scaling.predict.explain.basis import published
from scaling.predict.phones.footprint import Footprint, footprint, tokenizer_layout
from scaling.predict.quantization import of_a_nat
from scaling.predict.question import Question
from scaling.predict.recommend.candidates import size_of
from scaling.predict.recommend.family import offered
from scaling.predict.recommend.of_published import fit_of_preset, vocabulary_of
from scaling.predict.usual import CONTEXT
from scaling.records import load_runs
from scaling.report.page.facts import (
    CONTEXTS,
    Facts,
    device_facts,
    format_facts,
    law_facts,
    ledger_facts,
    question_facts,
    run_facts,
    shape_facts,
    teacher_facts,
)
from scaling.spec import ModelSpec, WorldSource
from scaling.tables.observations import REAL
from scaling.tables.read import select_rows
from scaling.tables.units import BITS, NATS, PER_BYTE

if TYPE_CHECKING:
    import pandas as pd

LOSS = {
    NATS: "in nats/token. Lower is better: 0.1 less makes the right token a tenth likelier.",
    BITS: "in bits/byte, which compare over tokenizers. Lower is better: 0.1 less makes the right byte 7 % likelier.",
}
"""What a loss is, in each unit."""

UNLIMITED = 30.0
"""How far beyond the data, or a published law's usual range, the slider of tokens reaches."""


def page_of_sweep(workspace: Workspace) -> str:
    """The page of a sweep's fit: its runs, its sizes, its question, its ledger.

    Raises:
        RecordError: there is no fit yet, or its table is one of an earlier version.
        SpecError: a law of the fit cannot be written as a page.
    """
    if not workspace.fit_path.exists():
        raise RecordError(f"{workspace.fit_path}: no fit yet — make it: {workspace.command('scaling fit')}")
    fit = load(workspace.fit_path)
    question = ask(workspace, **({} if workspace.config.recommend else _ANY))
    # The text, the sizes and the context that the sweep's own recommendation is of.
    text = recommended_text(workspace.config, workspace.runs, teacher=question.teacher, targets=question.targets)
    trained = [run for run in workspace.runs if run.data.text_id == text.text_id]
    tokenizer = tokenizer_layout(trained[0].data, workspace.store)
    context = question.context or trained[0].model.context

    def measure(model: Dimensions) -> Footprint:
        return footprint(model, context=context, tokenizer=tokenizer)

    tokens = question.tokens or max(run.tokens for run in workspace.runs)
    models = [run.model for run in offered(workspace.config, trained, question.but(tokens=tokens), measure)]
    facts = _facts(
        fit,
        models,
        question.but(context=context, tokens=tokens),
        tokenizer=tokenizer,
        runs=run_facts(fit, _runs(workspace, fit)),
        ledger=_tries(workspace),
        text=fit.texts.get(text.text_id, text.label),
        saved=str(workspace.fit_path),
        in_world=isinstance(text.source, WorldSource),
        nat=of_a_nat(fit.unit, _losses(workspace, fit, text.text_id)),
    )
    facts["recommended"] = _recommended(workspace, fit)
    lead = (
        f"What the {fit.n_runs} runs of {fit.n_clusters} trunks of this sweep say of a student of any size: move the "
        "sliders. A trunk is one training; its runs end at different volumes of text."
    )
    return _page(f"{workspace.config.name}: which size is good enough?", lead, facts)


def page_of_law(name: str) -> str:
    """The page of a published law: no runs, no interval, and the shapes that llama models usually have.

    Raises:
        SpecError: no law of N and D has that name.
    """
    fit = fit_of_preset(name)
    vocab_size = vocabulary_of(name)
    models = [_llama(width, vocab_size) for width in (*range(128, 1024, 64), *range(1024, 4097, 128))]
    asked = Question(target_loss=2.7, device="mid-8gb", context=CONTEXT, tokens=10**12, probability=0.5)
    facts = _facts(fit, models, asked, law=name)
    facts["law"]["texts"] += teacher_facts(name)
    facts["law"]["ranges"] = {axis: list(ends) for axis, ends in published(name).ranges.items()}
    # The question of this project: students of the text of a large model.
    names = [text["asked"] for text in facts["law"]["texts"]]
    facts["question"]["text"] = names.index(TEACHER) if TEACHER in names else 0
    lead = (
        f"What a published law says of a model of any size: {'; '.join(fit.status.notes).rstrip('.')}. It carries no "
        "interval, and describes other data than yours. Of a teacher's text it gives two bounds: all of the teacher's "
        "errors are learned, or only its gaps count, which a small student hardly notices. Memory is counted, speed on "
        "phones is looked up, both for llama shapes."
    )
    return _page(f"The law {name}: which size is good enough, and does it fit a phone?", lead, facts)


def _runs(workspace: Workspace, fit: Fit) -> pd.DataFrame:
    """The runs of the sweep, without those that the fit's filter left out."""
    runs = load_runs(workspace.table_path)
    if "text_id" not in runs:
        raise RecordError(
            f"{workspace.table_path}: has no column text_id, as tables of an earlier version — write it anew, with the "
            f"fit: {workspace.command('scaling fit')}"
        )
    return select_rows(runs, fit.made_of.where)


def _losses(workspace: Workspace, fit: Fit, text_id: str) -> list[tuple[float, float | None]]:
    """Losses of the runs of a text in both units."""
    runs = _runs(workspace, fit)
    own = runs[(runs["text_id"] == text_id) & (runs["status"] == "done")]
    return [(row["loss"], row.get(PER_BYTE)) for row in own.to_dict("records")]


def _recommended(workspace: Workspace, fit: Fit) -> Facts | None:
    """What the sweep itself recommends; None while nothing is, or where that was of another fit."""
    try:
        found = load_recommendation(workspace)
    except RecordError:
        return None
    choice = found.choice
    labels, data = list(fit.teachers), choice.run.data
    label = fit.texts.get(data.text_id, data.label)
    return {
        "n": choice.n_params,
        "d": choice.n_tokens,
        "width": choice.model.width,
        "layers": choice.model.n_layers,
        "loss": choice.expected.value,
        "target": found.question.target_loss,
        "text": labels.index(label) if label in labels else 0,
        "basis": f"{'measured' if choice.measured else 'forecast'}, P {choice.probability:.2f}",
    }


TEACHER = "palm"
"""Whose text the page of a published law opens with."""


def _tries(workspace: Workspace) -> list[dict[str, Any]]:
    """What was recommended before, in the words of the ledger."""
    path = workspace.store.root / "ledger.csv"
    rows = latest(read_ledger(path)) if path.exists() else []
    return [row for row in rows if row["sweep"] == workspace.config.name]


_ANY = {"target_loss": 1.0, "memory_bytes": 2**29}
"""What a sweep that asks nothing is opened with; the target is moved into the range of its losses."""


def _llama(width: int, vocab_size: int) -> ModelSpec:
    """The usual shape of a width: heads of 64, a layer for every 64 of it up to 40."""
    return ModelSpec(
        vocab_size=vocab_size, width=width, n_layers=min(max(2, width // 64), 40), head_width=64, context=CONTEXT
    )


def _facts(
    fit: Fit,
    models: Sequence[ModelSpec],
    question: Question,
    *,
    tokenizer: TokenizerLayout | None = None,
    runs: Sequence[Facts] = (),
    ledger: Sequence[dict[str, Any]] = (),
    text: str | None = None,
    saved: str | None = None,
    law: str | None = None,
    in_world: bool = False,
    nat: float = 1.0,
) -> Facts:
    contexts = sorted({*CONTEXTS, *([question.context] if question.context else [])})
    # Sizes far beyond what a law can be asked about would only make the slider coarse.
    largest = UNLIMITED * fit.ranges["n"][1] if "n" in fit.ranges else math.inf
    models = [model for model in models if size_of(model, fit.columns["n"]) <= largest]
    shapes = shape_facts(models, convention=fit.columns["n"], contexts=contexts, tokenizer=tokenizer)
    known = law_facts(fit)
    labels = [one["label"] for one in known["texts"]]
    tokens = float(question.tokens or 1e9)
    low, high = fit.ranges.get("d", (tokens / 3e2, tokens * 1e2 / UNLIMITED))
    ends = (low / 3, high * UNLIMITED)
    # The slider of targets spans what can be reached on it, and what was asked.
    n = np.array([shapes[0]["n"], shapes[-1]["n"]], float)
    said = [float(v) for v in fit.loss(n, np.array(ends), teacher=text)]
    asked = question_facts(question)
    asked["target"] = asked["target"] if min(said) < asked["target"] < max(said) else sum(said) / 2
    nearest = min(range(len(shapes)), key=lambda i: abs(np.log(shapes[i]["n"] / _wanted(fit, shapes))))
    phones = device_facts()
    budgets = [shapes[0]["weights"]["q4_0"], 2 * max(one["budget"] for one in phones)]
    return {
        "law": known,
        # Another text is told by what it adds to real text, where there is some.
        "real": next((i for i, one in enumerate(known["texts"]) if one["asked"] in (None, REAL)), None),
        "shapes": shapes,
        "contexts": contexts,
        "formats": format_facts(in_world=in_world, nat=nat),
        "devices": phones,
        "runs": list(runs),
        "ledger": ledger_facts(ledger),
        "tokens": list(ends),
        "losses": sorted([*said, asked["target"]])[:: len(said)],
        "budgets": budgets,
        "question": asked
        | {
            "shape": nearest,
            "text": labels.index(text) if text in labels else 0,
            "tokens": tokens,
            "device": asked["device"] or "mid-8gb",
            "context": asked["context"] or contexts[0],
        },
        "commands": _commands(saved, law),
    }


def _wanted(fit: Fit, shapes: Sequence[Facts]) -> float:
    """Where the slider of sizes stands at first: the largest size that was trained, or the middle."""
    return fit.ranges["n"][1] if "n" in fit.ranges else float(shapes[len(shapes) // 2]["n"])


def _commands(saved: str | None, law: str | None) -> dict[str, str]:
    source = f"--law {law}" if law else f"--fit {saved}"
    python = f'scaling.forecast("{law}", n={{n}}, d={{d}}{{text}})'
    if not law:
        python = f'scaling.load_fit("{saved}").predict(n={{n}}, d={{d}}{{text}})'
    return {"shell": f"scaling predict {source} --params {{n}} --tokens {{d}}", "python": python}


def _page(title: str, lead: str, facts: Facts) -> str:
    parts = {
        "title": html.escape(title),
        "lead": html.escape(lead),
        "loss": LOSS[facts["law"]["unit"]],
        "foot": "Nothing is loaded from elsewhere and nothing is sent: this file is all there is.",
        "style": _part("page.css"),
        # Within a script element only its end tag has to be kept from being read as one.
        "facts": json.dumps(facts, allow_nan=False, separators=(",", ":")).replace("</", "<\\/"),
        "arithmetic": _part("arithmetic.js"),
        "explorer": _part("explorer.js"),
    }
    page = _part("page.html")
    for name, text in parts.items():
        page = page.replace(f"{{{{{name}}}}}", text)
    return page


def _part(name: str) -> str:
    return resources.files("scaling.report.page").joinpath(name).read_text("utf-8")
