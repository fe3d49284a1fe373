"""A student as FUTO Keyboard takes it: a GGUF file with keys of its own, and a SentencePiece tokenizer inside.

What the app reads was seen in its source (futo-org/android-keyboard, ModelMeta.h and the adapter of its vendored
llama.cpp, 2026-07) and in files that it takes: GGUF of version 2, f16, Q8_0 or Q4_0 matrices, an output matrix of its
own, and the ``keyboardlm`` keys below. Whatever is missing is refused before anything is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scaling.accounting import TokenizerLayout
from scaling.compress.student import quantize
from scaling.errors import ExportError
from scaling.export.bundle.files import Bundle
from scaling.export.bundle.provenance import UNSAID, about
from scaling.formats.gguf import write_gguf
from scaling.formats.sentencepiece import byte_model
from scaling.tables.finished import listed

GGUF_VERSION = 2
STORED = {"gguf": "q8_0", "gguf_q4_0": "q4_0", "gguf_f16": "f16"}
"""Schemes that its llama.cpp reads, by the export format of the bundle."""

BASE = "base_v1"
AUTOCORRECT, MIXING = "xbu_char_autocorrect_v1", "char_embed_mixing_v1"
FEATURES = (BASE, "inverted_space", AUTOCORRECT, MIXING, "lora_finetunable_v1")
MARKS = ("<XBU>", "<XBC>", "<XEC>")
LETTERS = tuple(f"<CHAR_{chr(code)}>" for code in range(ord("A"), ord("Z") + 1))


@dataclass(frozen=True, kw_only=True)
class Keyboard:
    """What a keyboard is told beside the weights.

    Attributes:
        languages: BCP-47 tags of what the student writes, as ``en-US``.
        author: Who made it.
        license: An SPDX name.
        url: Where it comes from.
        features: Of ``FEATURES``, what the student can do.
    """

    languages: tuple[str, ...]
    author: str
    license: str
    url: str = ""
    features: tuple[str, ...] = (BASE,)


def export_futo(bundle: Bundle, path: Path, keyboard: Keyboard) -> Path:
    """Write the file of a bundle's student for FUTO Keyboard, completely or not at all.

    Args:
        bundle: In a format of ``STORED``.
        path: File to write.
        keyboard: What the app is told.

    Raises:
        ExportError: naming everything that is missing.
    """
    file = bundle.read()
    if wrong := missing(bundle.manifest.format, file.tokenizer, keyboard):
        raise ExportError("FUTO Keyboard would not take this student:\n" + "\n".join(f"  {one}" for one in wrong))
    found = bundle.manifest.provenance
    said = None if found is None else about(bundle.manifest.run_id, found)
    keys: dict[str, str | int | bytes] = {
        "keyboardlm.languages": " ".join(keyboard.languages),
        "keyboardlm.finetuning_count": 0,
        "keyboardlm.history": f"run {bundle.manifest.run_id}: trained",
        "keyboardlm.features": " ".join(keyboard.features),
        "keyboardlm.ext_tokenizer_type": "sentencepiece",
        "keyboardlm.ext_tokenizer_data": byte_model(file.tokenizer),
    }
    tensors = dict(file.tensors)
    # Its loader looks for the output matrix, also where it is the token table.
    tensors.setdefault("output.weight", tensors["token_embd.weight"])
    write_gguf(
        path,
        quantize(tensors, STORED[bundle.manifest.format]).tensors,
        model=file.model.model_copy(update={"tied_embeddings": False}),
        tokenizer=file.tokenizer,
        about=_about(keyboard, bundle.manifest.run_id, "" if said is None else said.description),
        extra=keys,
        version=GGUF_VERSION,
    )
    return path


def missing(format: str, tokenizer: TokenizerLayout, keyboard: Keyboard) -> list[str]:
    """Everything that the app wants and does not get, one sentence each.

    Args:
        format: Of the bundle.
        tokenizer: Of the student.
        keyboard: What the app is to be told.
    """
    found = []
    if format not in STORED:
        found.append(f"format: {format} — its llama.cpp reads {', '.join(STORED)}; export one of these first")
    try:
        byte_model(tokenizer)
    except ExportError as error:
        found.append(f"keyboardlm.ext_tokenizer_data: {error}")
    return [*found, *_unsaid(keyboard), *_wrong_features(keyboard.features, tokenizer)]


def _unsaid(keyboard: Keyboard) -> list[str]:
    found = [] if keyboard.languages else ["keyboardlm.languages: missing — say which, as --language en-US"]
    for key, value in (("author", keyboard.author), ("license", keyboard.license)):
        if not value or value == UNSAID:
            found.append(f"general.{key}: missing — say it with --{key}")
    return found


def _wrong_features(features: tuple[str, ...], tokenizer: TokenizerLayout) -> list[str]:
    found = [
        f"keyboardlm.features: {one} is not known — allowed: {', '.join(FEATURES)}"
        for one in features
        if one not in FEATURES
    ]
    if BASE not in features:
        found.append(f"keyboardlm.features: {BASE} is missing")
    return found + (_wrong_autocorrect(features, tokenizer) if AUTOCORRECT in features else [])


def _wrong_autocorrect(features: tuple[str, ...], tokenizer: TokenizerLayout) -> list[str]:
    found = []
    if MIXING not in features:
        found.append(f"keyboardlm.features: {AUTOCORRECT} without {MIXING} ends the app at the first key")
    places = {token: i for i, token in enumerate(tokenizer.tokens)}
    lost = [token for token in (*MARKS, *LETTERS) if token not in places]
    if lost:
        found.append(f"tokens: missing {listed(lost, most=3)}, which {AUTOCORRECT} types in")
    elif [places[token] for token in LETTERS] != [*range(places[LETTERS[0]], places[LETTERS[0]] + len(LETTERS))]:
        found.append(f"tokens: {LETTERS[0]} … {LETTERS[-1]} must be 26 ids in a row")
    return found


def _about(keyboard: Keyboard, run_id: str, description: str) -> Mapping[str, str]:
    said = {
        "general.name": f"student {run_id} ({', '.join(keyboard.languages)})",
        "general.author": keyboard.author,
        "general.description": description,
        "general.license": keyboard.license,
        "general.url": keyboard.url,
    }
    return {key: value for key, value in said.items() if value}
