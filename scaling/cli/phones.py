"""Commands about phones: what a model takes and how fast it is there, which phones are known, one's own phone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaling.cli.options.shared import (
    Json,
    OnlyResults,
    count,
    emit,
    listed,
    one_of,
    pairs,
    refuse_without_effect,
    say,
    whole_count,
)
from scaling.files import RESULTS

if TYPE_CHECKING:
    from scaling.accounting import TokenizerLayout
    from scaling.predict.named.shapes import Shape
    from scaling.predict.phones.calibrate import MeasuredRate

PHONES = "budget-4gb,mid-8gb,flagship-12gb"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (footprint, devices, calibrate):
        app.command(rich_help_panel="Phones (no jax)")(command)


def footprint(
    params: Annotated[str | None, typer.Option("--params", metavar="N", help="Parameters in all, as 1B.")] = None,
    like: Annotated[str | None, typer.Option("--like", metavar="NAME", help="A known model, as bert-base.")] = None,
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="A run of the results folder.")] = None,
    width: Annotated[int | None, typer.Option("--width", help="M of a model that is named by its shape.")] = None,
    layers: Annotated[int | None, typer.Option("--layers", help="L; beside --width.")] = None,
    heads: Annotated[int | None, typer.Option("--heads", help="H; beside --width.")] = None,
    kv_heads: Annotated[int | None, typer.Option("--kv-heads", help="Key–value heads; beside --width.")] = None,
    hidden: Annotated[int | None, typer.Option("--hidden", help="F; beside --width.")] = None,
    vocab: Annotated[str | None, typer.Option("--vocab", help="V; beside --params or --width, by default 32k.")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="How weights are stored, one or several; by default all that run.")
    ] = None,
    context: Annotated[int | None, typer.Option("--context", min=1, metavar="T", help="Tokens of the cache.")] = None,
    cache: Annotated[str | None, typer.Option("--cache", help="Type of the cache: f32, f16 or q8_0.")] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="llama_cpp, llama_cpp_python, onnx_runtime, litert or litert_lm.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="Phones, or FILE.toml:NAME; one or several.")] = PHONES,
    energy: Annotated[bool, typer.Option("--energy", help="Also the energy of a token and of a training.")] = False,
    tokens: Annotated[str | None, typer.Option("--tokens", metavar="D", help="Of that training; or 20 N.")] = None,
    results: OnlyResults = None,
    json_: Json = False,
) -> None:
    """What a model takes on a phone, line by line, and how many tokens it writes in a second there."""
    from scaling.predict.phones.breakdown import formats_of
    from scaling.predict.phones.devices import device as device_named
    from scaling.predict.phones.on_device import on_phones
    from scaling.report.phones import show_footprint

    if not energy:
        refuse_without_effect("a footprint without --energy", {"--tokens": tokens})
    # A shape is named in one of four ways; a run brings its own tokenizer.
    written = {"layers": layers, "heads": heads, "kv_heads": kv_heads, "hidden": hidden}
    shape, tokenizer = _asked(params, like, run, width, written, vocab=vocab, context=context, results=results)
    found = on_phones(
        shape,
        tokenizer=tokenizer,
        formats=formats_of(engine) if format_ is None else listed(format_, "format"),
        devices=[device_named(name) for name in listed(device, "device")],
        context=context,
        cache=cache,
        engine=engine,
        energy=_energy(shape, tokens) if energy else None,
    )
    emit(found, as_json=json_, show=show_footprint)


def devices(
    file: Annotated[
        Path | None, typer.Argument(readable=False, metavar="FILE.toml", help="A list of one's own, in their place.")
    ] = None,
    sources: Annotated[bool, typer.Option("--sources", help="Also where each figure comes from.")] = False,
    json_: Json = False,
) -> None:
    """Phones by year of sale: memory, what one app may take of it, and how fast engines read weights there."""
    from scaling.predict.phones.devices import devices as known
    from scaling.predict.phones.devices import read_devices
    from scaling.report.phones import show_devices

    listed = read_devices(file) if file is not None else known()
    by_year = sorted(listed.values(), key=lambda one: (one.year, one.memory_bytes))
    emit(by_year, as_json=json_, show=lambda found: show_devices(found, sources=sources))


def calibrate(
    tables: Annotated[
        list[Path],
        typer.Argument(
            readable=False, metavar="TABLE", help="Of llama-bench (md, csv, json), a ledger.csv, or bundles to time."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", readable=False, metavar="FILE.toml", help="Where to write it.")],
    name: Annotated[str, typer.Option("--name", help="Of the device in that file.")] = "mine",
    device: Annotated[str, typer.Option("--device", help="What it is like: memory, year, constants.")] = "mid-8gb",
    engine: Annotated[str | None, typer.Option("--engine", help="Which engine was measured.")] = None,
    unit: Annotated[str | None, typer.Option("--unit", help="Where it ran: cpu, gpu or npu.")] = None,
    layers: Annotated[
        list[str] | None, typer.Option("--layers", metavar="MODEL=L", help="Layers of a model of the table.")
    ] = None,
    results: OnlyResults = None,
    json_: Json = False,
) -> None:
    """Fit the speed of a device to measured rates; other commands then take it as FILE.toml:NAME."""
    from scaling.files import write_bytes
    from scaling.predict.phones.calibrate import calibrate as fit_device
    from scaling.predict.phones.calibrate import device_toml
    from scaling.predict.phones.devices import device as device_named
    from scaling.report.phones import show_calibration

    # What is typed wrongly is said before anything is read.
    like, block, where = device_named(device), _device_name(name), _unit(unit)
    like = replace(like, label=f"{name}, with the memory of: {like.label}")
    measured, rates, taken = _measured(tables, results, layers or (), engine)
    found = fit_device(like, rates, engine=measured, unit=where)
    for model in taken:
        say(f"{model}: {taken[model]} layers — name them with --layers '{model}=L' where that is wrong")
    write_bytes(out, device_toml(found.device, block).encode())
    say(f"wrote {out} — ask for it as --device {out}:{name}")
    emit(found, as_json=json_, show=show_calibration)


def _asked(
    params: str | None,
    like: str | None,
    run: str | None,
    width: int | None,
    written: dict[str, int | None],
    *,
    vocab: str | None,
    context: int | None,
    results: Path | None,
) -> tuple[Shape, TokenizerLayout | None]:
    """The one model that is asked about, and its tokenizer where it is a run."""
    from scaling.predict.named.models import named_model
    from scaling.predict.named.shapes import Shape, shape_like, shape_of_size
    from scaling.predict.phones.footprint import tokenizer_layout
    from scaling.predict.usual import CONTEXT, VOCABULARY
    from scaling.records import RunStore

    # One way of naming it, and nothing that would have no effect beside it.
    asked = {"--params": params, "--like": like, "--run": run, "--width": width}
    given = one_of("footprint", asked, example="--params 1B")
    if width is None:
        refuse_without_effect(given, {f"--{name.replace('_', '-')}": value for name, value in written.items()})
    if run is None:
        refuse_without_effect(given, {"--results": results})
    if like is not None or run is not None:
        refuse_without_effect(given, {"--vocab": vocab})
    n_tokens = VOCABULARY if vocab is None else whole_count(vocab, "vocab")
    length = CONTEXT if context is None else context
    if params is not None:
        model = shape_of_size(_finite(params), vocab_size=n_tokens, context=length)
        return Shape(model=model, name=params, origin="a llama of that size, width 128 a layer"), None
    if like is not None:
        return shape_like(named_model(like), context=length), None
    if run is not None:
        store = RunStore(results or RESULTS)
        spec = store.load(run).spec
        return Shape(model=spec.model, name=run, origin=f"the run {run}"), tokenizer_layout(spec.data, store)
    model = _of_shape(width, written, vocab_size=n_tokens, context=length)
    return Shape(model=model, name=f"width {width}", origin="the shape that was given"), None


def _finite(params: str) -> float:
    from scaling.errors import SpecError

    n_params = count(params, "params")
    if n_params == float("inf"):
        raise SpecError(f"--params: got {params!r}, which no phone holds — give a finite size, as 1B")
    return n_params


def _of_shape(width: int | None, written: dict[str, int | None], *, vocab_size: int, context: int) -> Any:
    from pydantic import ValidationError

    from scaling.errors import SpecError
    from scaling.spec import ModelSpec

    names = {"layers": "n_layers", "heads": "n_heads", "kv_heads": "n_kv_heads", "hidden": "hidden"}
    fields = {names[name]: value for name, value in written.items() if value is not None}
    heads = fields.get("n_heads")
    if heads and width and width % heads == 0:
        fields["head_width"] = width // heads
    try:
        return ModelSpec.model_validate({"width": width, "vocab_size": vocab_size, "context": context, **fields})
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'shape'}: {one['msg']}" for one in error.errors())
        raise SpecError(f"--width {width}: not a model ({said}) — change the shape") from error


def _energy(shape: Shape, tokens: str | None) -> Any:
    import os

    from scaling.accounting import EnergySettings
    from scaling.predict.phones.on_device import energy_of

    d = None if tokens is None else count(tokens, "tokens")
    return energy_of(shape.model, EnergySettings.from_environment(os.environ), tokens=d)


def _measured(
    tables: list[Path], results: Path | None, layers: list[str] | tuple[str, ...], engine: str | None
) -> tuple[str | None, list[MeasuredRate], dict[str, int]]:
    """Whose rates they are, the rates of a table of llama-bench, of our own ledger or of bundles that are timed now,
    and the layers that were taken for granted."""
    from scaling.errors import SpecError

    known, (table, *others) = pairs(layers, "layers", whole_count, example="'llama 1B Q8_0=16'"), tables
    if not others and _is_ledger(table):
        from scaling.export.ledger.rates import ledger_rates

        refuse_without_effect("a ledger, whose runs are known", {"--layers": list(layers) or None})
        return *ledger_rates(table, results or RESULTS, engine=engine), {}
    refuse_without_effect("what is no ledger of runs", {"--results": results})
    if all(path.is_dir() for path in tables):
        refuse_without_effect("bundles, whose models are known", {"--layers": list(layers) or None})
        return *_timed(tables, engine), {}
    if others:
        raise SpecError(f"one table, or folders of bundles — got {', '.join(map(str, tables))}; name one of the tables")
    from scaling.predict.phones.bench import measured_rates, read_bench

    rates, taken = measured_rates(read_bench(table), known)
    return engine, rates, {model: taken[model] for model in taken if model not in known}


def _timed(folders: list[Path], engine: str | None) -> tuple[str, list[MeasuredRate]]:
    """The engine of some bundles, and their rates there, timed in rounds."""
    from scaling.export.bundle.files import open_bundle
    from scaling.export.engine import engine_for
    from scaling.export.timing import ROUNDS, time_in_rounds

    bundles = [open_bundle(folder) for folder in folders]
    running = engine_for(bundles[0].manifest.format, engine)
    say(f"timing {len(bundles)} bundle{'s' if len(bundles) > 1 else ''} in {running.name}, {ROUNDS} rounds")
    found = time_in_rounds(bundles, engine=running.name)
    for one in found:
        where, load = one.bundle.path, one.load_average
        say(f"{where}: {one.tokens_per_s:,.0f} tokens/s, ± {one.spread:.0%} between rounds, load {load:.1f}")
    return running.name, [one.measured() for one in found]


def _is_ledger(table: Path) -> bool:
    """True for a table of forecasts beside measurements, which only we write."""
    if table.suffix != ".csv" or not table.is_file():
        return False
    with table.open(encoding="utf-8", errors="replace") as file:
        return "tokens_per_s_measured" in file.readline(1 << 16)


def _unit(name: str | None) -> Any:
    from typing import get_args

    from scaling.errors import SpecError
    from scaling.predict.phones.devices import Unit

    if name is not None and name not in get_args(Unit):
        raise SpecError(f"--unit: got {name!r}, allowed are {', '.join(get_args(Unit))}")
    return name


def _device_name(name: str) -> str:
    from scaling.errors import SpecError

    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise SpecError(f"--name: got {name!r}, allowed are letters, digits, - and _ — for example my-phone")
    return name
