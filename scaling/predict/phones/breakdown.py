"""A memory footprint line by line: what each part of a file and of an engine takes, in several formats."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from scaling.accounting import (
    DEFAULT_FORMAT,
    ENGINE_MEMORY,
    LAYOUTS,
    PHONE,
    STORED_FORMATS,
    WEIGHT_FORMATS,
    Architecture,
    Storage,
    StoredFormat,
    TokenizerLayout,
    model_file_bytes,
    storages_named,
    tensor_shapes,
)
from scaling.errors import SpecError
from scaling.predict.phones.footprint import Footprint, footprint
from scaling.registry import did_you_mean
from scaling.spec import ModelSpec

CACHE_TYPES = {"f32": 4.0, "f16": 2.0, "q8_0": 34 / 32}
"""Bytes of one key or value of the cache."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One part of what a model takes.

    Attributes:
        name: What it is.
        n_bytes: How much.
        mapped: True for a part of the file, which the system may drop and read again.
    """

    name: str
    n_bytes: int
    mapped: bool


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """A footprint with its parts.

    Attributes:
        format: As it was asked for.
        storage: How matrices are stored.
        engine: Which is counted.
        architecture: Of the processor.
        lines: Parts, those of the file first.
        footprint: Their sums.
    """

    format: str
    storage: Storage
    engine: str
    architecture: Architecture
    lines: tuple[Line, ...]
    footprint: Footprint


def breakdown(
    model: ModelSpec,
    *,
    format: str = "q8_0",
    tokenizer: TokenizerLayout,
    context: int | None = None,
    cache: str | None = None,
    engine: str | None = None,
    architecture: Architecture = PHONE,
) -> Breakdown:
    """Every part of what a model takes on a device.

    Args:
        model: The model.
        format: ``f32``, ``f16``, ``q8_0``, ``int8`` (a scale for each channel) or ``q4_0``.
        tokenizer: Stored in the file.
        context: T, tokens that the cache holds; by default the model's training context.
        cache: ``f32``, ``f16`` or ``q8_0``; by default what the engine takes.
        engine: Name of the engine; by default the one that runs such files.
        architecture: Of the processor.

    Raises:
        SpecError: for a format, engine or type of cache that nobody knows.
    """
    if cache is not None and cache not in CACHE_TYPES:
        raise SpecError(f"unknown type of cache {cache!r}{did_you_mean(cache, CACHE_TYPES)}")
    # A format that nothing exports yet is counted all the same.
    stored = stored_for(format, engine)
    found = footprint(
        model,
        context=context,
        tokenizer=tokenizer,
        kv_value_bytes=None if cache is None else CACHE_TYPES[cache],
        format=stored,
        engine=engine,
        architecture=architecture,
    )
    engine = engine or stored.engine
    return Breakdown(
        format=format,
        storage=stored.storage,
        engine=engine,
        architecture=architecture,
        lines=(*_of_file(model, stored.storage, found), *_of_engine(engine, found)),
        footprint=found,
    )


def formats_of(engine: str | None) -> tuple[str, ...]:
    """What a person calls the formats that an engine runs; all where none is named.

    Raises:
        SpecError: there is no such engine.
    """
    if engine is None:
        return tuple(WEIGHT_FORMATS)
    taken = ENGINE_MEMORY[engine].storages
    return tuple(name for name in WEIGHT_FORMATS if any(one in taken for one in storages_named(name)))


def stored_for(format: str, engine: str | None) -> StoredFormat:
    """The export format that stores matrices so for an engine; where none does, a file of that kind in LiteRT's engine.

    Raises:
        SpecError: nobody knows the format, or the engine runs no file of it.
    """
    wanted = storages_named(format)
    if engine is not None and format.lower() not in formats_of(engine):
        raise SpecError(
            f"{engine} runs no file of {format} — allowed are {', '.join(formats_of(engine))}; "
            "ask for one of these, or another engine"
        )
    of = engine or STORED_FORMATS[DEFAULT_FORMAT].engine
    for one in STORED_FORMATS.values():
        if one.storage in wanted and one.engine == of:
            return one
    storage = wanted[0]
    return StoredFormat(name=storage, storage=storage, engine="litert_lm", bytes_of=model_file_bytes)


def _of_file(model: ModelSpec, storage: Storage, found: Footprint) -> list[Line]:
    """Tables, matrices, scales and gains; what is left of the file are its tokens and index."""
    layout, shapes = LAYOUTS[storage], tensor_shapes(model)
    tables = {"token_embd.weight": "token table", "output.weight": "output head"}
    matrices = [shape for name, shape in shapes.items() if len(shape) == 2 and name not in tables]
    parts = {label: layout.value_bytes(shapes[name]) for name, label in tables.items() if name in shapes}
    parts["matrices of the layers"] = sum(map(layout.value_bytes, matrices))
    parts["scales and zero points"] = sum(layout.scale_bytes(shape) for shape in shapes.values() if len(shape) == 2)
    parts["norms, always f32"] = sum(4 * prod(shape) for shape in shapes.values() if len(shape) == 1)
    parts["tokenizer and index"] = found.weights_bytes - sum(parts.values())
    return [Line(name=name, n_bytes=count, mapped=True) for name, count in parts.items()]


def _of_engine(engine: str, found: Footprint) -> list[Line]:
    """What is allocated beside the file."""
    code = ENGINE_MEMORY[engine].code
    parts = {
        "matrices repacked at load": found.repacked_bytes,
        "key–value cache": found.kv_cache_bytes,
        "activations of a prompt": found.compute_bytes,
        f"{engine}: code": code,
        f"{engine}: vocabulary, graph, state": found.engine_bytes - code,
    }
    return [Line(name=name, n_bytes=count, mapped=False) for name, count in parts.items()]
