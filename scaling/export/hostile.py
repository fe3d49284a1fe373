"""Texts that tokenizers disagree on: what an engine must cut exactly as the student was trained on."""

from __future__ import annotations

import random

N_TEXTS = 200

_PIECES = (
    "", " ", "  ", " leading", "trailing ", "\t", "\t\ttabs", "\n", "\n\n\n", "\r\n", "line\r\nline", "\r",
    "\x0b\x0c", "\xa0", "\u2003wide\u2003", "\u3000", "\u200b", "zero\u200bwidth", "\u200d", "\ufeff", "\u00ad",
    "\u202eright\u202c", "\x00", "\x01\x02", "\x1b[31mred\x1b[0m", "\x7f", "\x85", "1", "12345678901234567890",
    "1,234.5e-6", "0x1F", "½²³", "٣٤٥", "Ⅷ", "don't", "they'll I've we'd I'm", "DON'T", "it’s", "naïve café",
    "e\u0301", "ﬁ", "ß İ ı", "Ωμέγα", "Привет, мир", "日本語のテキスト", "中文字符", "한국어 문장", "שלום",
    "مرحبا", "हिन्दी", "ไทย", "\U00020000", "𝔘𝔫𝔦", "😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇫🇷", "❤️", "\ufffd",
    "\ue000", "a ! b", "a!", "Ġ Ċ ċ", "<|endoftext|>", "<|written|>", "</s><s>", "[INST]", "<bos>", "a" * 300,
    "!" * 70, "-" * 40 + "=" * 40, "\\n\\t", "'''\"\"\"", "“quoted”", "…—–", "C:\\dir\\f",
    "https://x.org/?q=a%20b&c=d#e", "user@host.org", "#tag @name", "f(x)=x**2;", "{[<>]}", "%s %d",
    "snake_case camelCase", "a.b.c", "A.B.C.", "I.", "end.Next", "3rd 2nd", "50%", "€5 £6 ¥7", "x²+y²", "∀x∈ℝ",
    "→←↔", "\x1f\x1e", "word\u2028word",
)  # fmt: skip
"""Blanks, line ends, controls, digits, marks, scripts, emoji, spelled control tokens, long runs."""


def hostile_texts() -> tuple[str, ...]:
    """``N_TEXTS`` texts: each piece alone, then joins of two to four of them; the same at every call."""
    rng, found = random.Random(13), dict.fromkeys(_PIECES)
    while len(found) < N_TEXTS:
        found["".join(rng.choices(_PIECES, k=rng.randint(2, 4)))] = None
    return tuple(found)
