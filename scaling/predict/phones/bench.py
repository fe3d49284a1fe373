"""Tables of llama-bench, as it prints them (Markdown) or writes them (CSV, JSON, JSON lines), as measured rates."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.errors import RecordError
from scaling.files import clear_errors
from scaling.numbers import number_in, parse_bytes
from scaling.predict.named.shapes import shape_of_size
from scaling.predict.phones.calibrate import MeasuredRate
from scaling.predict.usual import VOCABULARY

HOW = "llama-bench -m MODEL.gguf -t 1,2,4 -o md (or csv, json, jsonl)"
_TEST = re.compile(r"(?P<kind>pp|tg)(?P<count>\d+)$")


@dataclass(frozen=True, kw_only=True)
class BenchRow:
    """One row of llama-bench: how fast a model read or wrote.

    Attributes:
        model: Its type, as ``llama 1B Q8_0``.
        n_bytes: Of the file's tensors.
        n_params: Of the model.
        threads: With how many; None where the table has no such column.
        reads: True for a prompt (``pp512``), False for writing (``tg128``).
        tokens_per_s: Mean rate.
    """

    model: str
    n_bytes: float
    n_params: float
    threads: int | None
    reads: bool
    tokens_per_s: float


def read_bench(path: Path) -> list[BenchRow]:
    """Rows of a table that llama-bench printed or wrote, those of a mixed test (``pp512+tg128``) left out.

    Raises:
        RecordError: the file cannot be read, or is no such table.
    """
    if not path.is_file():
        raise RecordError(f"{path}: no such file — name a table that llama-bench printed or wrote")
    try:
        with clear_errors(path):
            text = path.read_text("utf-8")
        found = [row for row in map(_row, _records(text)) if row is not None]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        why = f"no column {error}" if isinstance(error, KeyError) else str(error)
        raise RecordError(f"{path}: not a table of llama-bench ({why}) — write one with {HOW}") from error
    if not any(not row.reads for row in found):
        raise RecordError(f"{path}: no row says how fast a model writes (tg128) — run llama-bench with -n 128")
    return found


def measured_rates(rows: Iterable[BenchRow], layers: Mapping[str, int]) -> tuple[list[MeasuredRate], dict[str, int]]:
    """Rates of writing, and the number of layers that was taken for each model.

    llama-bench does not say how many layers a model has: where ``layers`` does not either, those of a llama of its
    size are taken. Of a model whose head is no copy of its token table, the table counts as read, which it is not.

    Args:
        rows: Of one device.
        layers: L by model, as far as it is known.
    """
    rows = list(rows)
    taken = {row.model: layers.get(row.model) or _usual_layers(row.n_params) for row in rows}
    prompts = {(row.model, row.threads): row for row in rows if row.reads}
    writes = [row for row in rows if not row.reads]
    return [_rate(row, taken[row.model], prompts.get((row.model, row.threads))) for row in writes], taken


def _rate(row: BenchRow, n_layers: int, prompt: BenchRow | None) -> MeasuredRate:
    return MeasuredRate(
        model=row.model,
        n_layers=n_layers,
        n_bytes=row.n_bytes,
        tokens_per_s=row.tokens_per_s,
        threads=row.threads,
        prompt_flops_per_s=None if prompt is None else 2 * prompt.n_params * prompt.tokens_per_s,
    )


def _usual_layers(n_params: float) -> int:
    # A small model has a small vocabulary, as a tenth of the parameters allows at the least width.
    return shape_of_size(n_params, vocab_size=min(VOCABULARY, max(64, int(n_params / 320)))).n_layers


def _records(text: str) -> list[dict[str, Any]]:
    """Rows by column, whatever the file's format; lines around a Markdown table are passed over."""
    start = text.lstrip()[:1]
    if start == "[":
        return list(json.loads(text))
    if start == "{":
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("|")]
    if not lines:
        return list(csv.DictReader(io.StringIO(text)))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    header, body = cells[0], [row for row in cells[1:] if not set("".join(row)) <= set("-: ")]
    return [dict(zip(header, row, strict=True)) for row in body]


def _row(record: Mapping[str, Any]) -> BenchRow | None:
    return _printed(record) if "t/s" in record else _written(record)


def _printed(record: Mapping[str, str]) -> BenchRow | None:
    """A row of Markdown; its test may name a depth, as ``tg128 @ d512``."""
    test = _TEST.match(record["test"].split("@")[0].strip())
    if test is None:
        return None
    return BenchRow(
        model=record["model"],
        n_bytes=_quantity(parse_bytes(record["size"])),
        n_params=_quantity(record["params"].replace(" ", "")),
        threads=int(record["threads"]) if record.get("threads") else None,
        reads=test["kind"] == "pp",
        tokens_per_s=float(record["t/s"].split("±")[0]),
    )


def _written(record: Mapping[str, Any]) -> BenchRow | None:
    """A row of CSV or JSON."""
    prompt, generated = int(record["n_prompt"]), int(record["n_gen"])
    if bool(prompt) == bool(generated):
        return None
    return BenchRow(
        model=str(record["model_type"]),
        n_bytes=float(record["model_size"]),
        n_params=float(record["model_n_params"]),
        threads=int(record["n_threads"]) if record.get("n_threads") else None,
        reads=bool(prompt),
        tokens_per_s=float(record["avg_ts"]),
    )


def _quantity(said: str | float) -> float:
    """Bytes that were read, or a number, where B stands for billions."""
    value = number_in(said) if isinstance(said, str) else said
    if value is None or not 0 < value < math.inf:
        raise ValueError(f"{said!r} is no number of bytes or parameters")
    return float(value)
