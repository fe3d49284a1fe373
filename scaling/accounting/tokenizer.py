"""What an exported file stores about a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from scaling.errors import SpecError

NEVER_APPLIED_MERGE = "a !"
"""llama.cpp refuses an empty list of merges; GPT-2's expression never leaves a letter and a mark in one piece."""

NORMAL_TOKEN, CONTROL_TOKEN = 1, 3


@dataclass(frozen=True, kw_only=True)
class TokenizerLayout:
    """Tokens and merges of a byte-level BPE tokenizer, in the ``gpt2`` convention of GGUF.

    Attributes:
        tokens: Text of each token, in GPT-2's printable spelling of bytes; as many as the model's vocabulary.
        token_types: 1 for a normal token, 3 for a control token (never printed); one a token.
        merges: BPE merges ``"a b"``, most frequent first. llama.cpp refuses an empty list.
        bos_id: Token that a sequence begins with.
        eos_id: Token that ends a document.
        pre: Name of the pre-tokenizer's expression, one that llama.cpp knows.
    """

    tokens: tuple[str, ...]
    token_types: tuple[int, ...]
    merges: tuple[str, ...]
    bos_id: int
    eos_id: int
    pre: str = "gpt-2"

    def __post_init__(self) -> None:
        n = len(self.tokens)
        if len(self.token_types) != n or not self.merges:
            raise SpecError(
                f"a tokenizer layout needs one type for each of its {n} tokens and at least one merge — got "
                f"{len(self.token_types)} types and {len(self.merges)} merges"
            )
        if not (0 <= self.bos_id < n and 0 <= self.eos_id < n):
            raise SpecError(f"bos_id={self.bos_id} and eos_id={self.eos_id} must be ids of the {n} tokens")

    @cached_property
    def text_bytes(self) -> int:
        """Bytes of all tokens and merges in UTF-8. Counted once: a sweep's candidates share one tokenizer."""
        return len("".join((*self.tokens, *self.merges)).encode())


def symbol_layout(n_symbols: int, *, bos_id: int | None = None) -> TokenizerLayout:
    """Placeholder tokens for a world without text: one printable character a symbol, ``<94>``, ``<95>``, … after ``~``.

    Args:
        n_symbols: Size of the vocabulary.
        bos_id: Symbol that begins a sequence (and stands for the end of one); by default the last.
    """
    bos = n_symbols - 1 if bos_id is None else bos_id
    printable = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    tokens = [*printable, *(f"<{i}>" for i in range(len(printable), n_symbols))][:n_symbols]
    tokens[bos] = "<bos>"
    types = [CONTROL_TOKEN if i == bos else NORMAL_TOKEN for i in range(n_symbols)]
    return TokenizerLayout(
        tokens=tuple(tokens), token_types=tuple(types), merges=(NEVER_APPLIED_MERGE,), bos_id=bos, eos_id=bos
    )


def bpe_layout(n_tokens: int) -> TokenizerLayout:
    """Placeholder tokens and merges that take as many bytes as those of a BPE usually do.

    Tokens of 7.6 bytes each and as many merges: SmolLM2's 49,152 take 1.78 MB so.
    """
    tokens = tuple(f"{i:07d}" if i % 5 < 2 else f"{i:08d}" for i in range(n_tokens))
    merges = tuple(f"{token[:4]} {token[4:]}" for token in tokens[256:]) or (NEVER_APPLIED_MERGE,)
    return TokenizerLayout(
        tokens=tokens, token_types=(NORMAL_TOKEN,) * n_tokens, merges=merges, bos_id=n_tokens - 1, eos_id=n_tokens - 1
    )
