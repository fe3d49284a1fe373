"""A SentencePiece model of bytes: for engines that cut text by SentencePiece alone.

Only a byte-level tokenizer can be said so. Byte-level BPE cuts text by an expression before it merges, which
SentencePiece has not: it would cut some texts otherwise than the student was trained on.

Source: github.com/google/sentencepiece, src/sentencepiece_model.proto.
"""

from __future__ import annotations

import struct

from scaling.accounting import NEVER_APPLIED_MERGE, TokenizerLayout
from scaling.errors import ExportError

N_BYTES = 256
UNKNOWN, CONTROL, BYTE = 2, 3, 6
CHARACTERS = 4
"""``model_type`` of the trainer: one piece a character, here none, so that every character falls back to its bytes."""


def byte_model(layout: TokenizerLayout) -> bytes:
    """The serialized model whose ids are those of a byte-level student.

    Ids 0 – 255 are the bytes; SentencePiece wants a piece for what is unknown, which never comes about where every byte
    has its own: the end of document stands there.

    Raises:
        ExportError: if the tokenizer merges bytes, or has none.
    """
    if layout.merges != (NEVER_APPLIED_MERGE,) or len(layout.tokens) != N_BYTES + 1 or layout.eos_id != N_BYTES:
        raise ExportError(
            "SentencePiece data: can be made of byte-level tokens only — this student has "
            f"{len(layout.tokens)} tokens and {len(layout.merges)} merges; train one with tokenizer kind bytes"
        )
    pieces = [_piece(f"<0x{byte:02X}>", BYTE) for byte in range(N_BYTES)]
    pieces.append(_piece(layout.tokens[layout.eos_id], UNKNOWN))
    trainer = _whole(3, CHARACTERS) + _whole(4, N_BYTES + 1) + _whole(35, 1)
    # −1 is "none", as ten bytes of a 64-bit number.
    ids = {40: layout.eos_id, 41: -1, 42: -1, 43: -1}
    trainer += b"".join(_whole(field, value) for field, value in ids.items())
    # Text goes in as it is: no blank before it, none taken away, none spelled otherwise.
    normalizer = _part(1, b"identity") + _whole(3, 0) + _whole(4, 0) + _whole(5, 0)
    return b"".join(_part(1, piece) for piece in pieces) + _part(2, trainer) + _part(3, normalizer)


def _piece(text: str, kind: int) -> bytes:
    return _part(1, text.encode()) + _varint(2 << 3 | 5) + struct.pack("<f", 0.0) + _whole(3, kind)


def _part(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _whole(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value % 2**64)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
