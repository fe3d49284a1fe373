"""The tokenizer of a student as ``tokenizer.json``, the file of the ``tokenizers`` library that other programs read."""

from __future__ import annotations

from typing import Any

from scaling.accounting import NEVER_APPLIED_MERGE, NORMAL_TOKEN, TokenizerLayout
from scaling.errors import ExportError

_GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}

CUTS: dict[str, dict[str, Any]] = {
    "gpt-2": _GPT2,
    "smollm": {"type": "Sequence", "pretokenizers": [_DIGITS, _GPT2]},
}
"""How text is cut before merging, by llama.cpp's names of the expressions."""

TOKENIZER_FILE = "tokenizer.json"
"""In the folder of the exported file."""


def tokenizer_json(layout: TokenizerLayout) -> dict[str, Any]:
    """A byte-level BPE as the values of a ``tokenizer.json``.

    Args:
        layout: Its tokens, merges and cut.

    Raises:
        ExportError: if text is cut in a way that has no name here.

    Source: github.com/huggingface/tokenizers, the serialization of ``Tokenizer``.
    """
    if layout.pre not in CUTS:
        raise ExportError(f"tokenizer.json cannot cut text by {layout.pre!r} — known: {', '.join(CUTS)}")
    special = [
        {"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False}
        | {"normalized": False, "special": True}
        for i, (token, kind) in enumerate(zip(layout.tokens, layout.token_types, strict=True))
        if kind != NORMAL_TOKEN
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": CUTS[layout.pre],
        "post_processor": None,
        "decoder": _GPT2,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(layout.tokens)},
            # A merge may hold a blank in neither of its tokens: GPT-2 spells a blank otherwise.
            "merges": [merge.split(" ") for merge in layout.merges if merge != NEVER_APPLIED_MERGE],
        },
    }
