"""The model card of a bundle: what was asked for, what was forecast, what was measured, and how to run it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from scaling.export.bundle.manifest import Manifest
from scaling.export.bundle.provenance import Provenance
from scaling.export.findings import Check
from scaling.tables.units import NATS, PER_BYTE

CARD_FILE = "README.md"
_VERIFIED = "## Verified in an engine"

_NAMES = {PER_BYTE: "loss", "loss_teacher": "loss on text of the teacher"}
"""Of losses by their field, where the field is no word."""

_MARKS = {True: "yes", False: "**no**", None: "not measured"}


def card(manifest: Manifest, command: str, checks: Sequence[Check] | str = ()) -> str:
    """The card as Markdown, with the header that model hubs read.

    Args:
        manifest: Of the bundle.
        command: Runs it, typed in its folder.
        checks: What was measured of it, or the part of an older card that says so; empty before it was verified.
    """
    found = manifest.provenance
    name = f"Student {manifest.run_id}"
    license = "other" if found is None else found.license
    parts = [f"---\nlicense: {license}\ntags: [scaling, {manifest.format}]\n---", f"# {name}", _what(manifest)]
    if found is not None:
        parts += [_origin(found), _asked(found, manifest)]
    parts += [checks if isinstance(checks, str) else _measured(checks), _run(command)]
    return "\n\n".join(part for part in parts if part) + "\n"


def verified_part(text: str) -> str:
    """What a card says was measured in an engine; empty where it says nothing."""
    found = re.search(rf"^{_VERIFIED}$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found.group().strip() if found else ""


def _what(manifest: Manifest) -> str:
    m = manifest.model
    return (
        f"A decoder of the llama architecture: {manifest.n_params_total:,} parameters, width {m.width}, {m.n_layers} "
        f"layers, {m.n_heads} heads, {m.vocab_size:,} tokens, context {m.context}. Matrices are stored as "
        f"{manifest.scheme}."
    )


def _origin(found: Provenance) -> str:
    said = f", whose own loss on real text is {found.teacher_loss:.4f} nats/token" if found.teacher_loss else ""
    lines = [
        "## Where it comes from",
        "",
        f"- Text: {found.text}, {found.n_tokens:,} tokens. {' '.join(found.terms.split())}",
        f"- Written by: {found.teacher}{said}",
        f"- License of the student: {found.license}",
    ]
    if found.pruned:
        lines.append(f"- Pruned: {found.pruned}")
    if found.fit:
        lines.append("- Asked for by a fit: " + ", ".join(f"{name} {value}" for name, value in found.fit.items()))
    return "\n".join(lines)


def _asked(found: Provenance, manifest: Manifest) -> str:
    """Asked, forecast and measured of the loss, and what storing it so costs."""
    in_nats = _loss(found.loss, found.loss_se)
    name = found.forecast.get("loss_name", "loss")
    measured = _loss(found.measured["loss"], found.measured["loss_se"]) if found.measured else in_nats
    title = f"{_NAMES.get(name, name)}, {found.forecast.get('unit', NATS)}"
    rows = [(title, _loss_asked(found), _loss_forecast(found), measured)]
    # What storing costs is counted in the nats that the student was trained by, whatever was asked.
    rows += [] if name == "loss" else [(f"loss, {NATS}", "", "", in_nats)]
    rows.append((f"loss as stored, {NATS}", "", "", _loss(manifest.loss_after, None)))
    if found.forecast:
        size = f"{found.forecast['file_bytes']:,} bytes"
        measured = f"{max(facts.n_bytes for name, facts in manifest.files.items() if name.startswith('model')):,} bytes"
        rows.append(("file", "", size, measured))
    return _table("## Asked, forecast, measured", ("", "asked", "forecast", "measured"), rows)


def _loss_asked(found: Provenance) -> str:
    return f"≤ {found.asked['target_loss']:g}" if "target_loss" in found.asked else ""


def _loss_forecast(found: Provenance) -> str:
    said = found.forecast
    return f"{said['loss']:.4f} ({said['low']:.4f} – {said['high']:.4f}, {said['level']:.0%})" if said else ""


def _loss(value: float | None, error: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:.4f}" + ("" if error is None else f" ± {error:.4f}")


def _measured(checks: Sequence[Check]) -> str:
    rows = [(one.name, one.expected, one.measured, _MARKS[one.passed], one.note) for one in checks]
    if not rows:
        return ""
    return _table(_VERIFIED, ("", "forecast or promised", "measured", "holds", "note"), rows)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [title, "", f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(cell.replace('|', '∣') for cell in row)} |" for row in rows)])


def _run(command: str) -> str:
    return f"## Run it\n\nIn this folder; nothing is sent anywhere, and no network is needed:\n\n```\n{command}\n```"
