"""Whether a target loss is in the unit of its law, or seems to be meant in another one."""

from __future__ import annotations

import math

from scaling.errors import SpecError
from scaling.tables.units import BITS, NATS

UNIFORM_GUESS = math.log(256_000)
"""nats/token of a guess among the largest vocabulary in use: what lies above it is no loss of a model."""
EXAMPLES = {NATS: "2.5", BITS: "1.1"}
BYTES_PER_TOKEN = (2.5, 5.0)
"""Mean length of a token of English text, from small to large vocabularies."""
BITS_OF_A_BYTE = 8.0
"""A blind guess among all bytes."""


def check_target(
    loss: float, floor: float, *, vocab_size: int | None = None, name: str = "--target-loss", unit: str = NATS
) -> None:
    """Refuse a target that no text of this law can have, and name the unit that was probably meant.

    Args:
        loss: Target.
        floor: E of real text under the law; 0 where it has none.
        vocab_size: Of the tokenizer, where it is known: a uniform guess has a loss of ln(vocab_size).
        name: Of the option, for the message.
        unit: Of the target and of the law.

    Raises:
        SpecError: zero or less, not finite, above a uniform guess (a perplexity?), or below E (bits?).
    """
    if not 0 < loss < math.inf:
        raise SpecError(f"{name}: got {loss:g}, allowed is a positive number of {unit} — for example {EXAMPLES[unit]}")
    if unit == BITS:
        _check_bits(loss, floor, name)
        return
    guess = UNIFORM_GUESS if vocab_size is None else math.log(vocab_size)
    if loss > guess:
        raise SpecError(f"{name}: {_too_high(loss, guess)}")
    if loss < floor:
        raise SpecError(f"{name}: {_too_low(loss, floor)}")


def _check_bits(loss: float, floor: float, name: str) -> None:
    """Every text has its bytes, so a guess is the same for all tokenizers; what is above it was meant otherwise."""
    if loss > BITS_OF_A_BYTE:
        raise SpecError(
            f"{name}: {loss:g} bits/byte is worse than a blind guess among all bytes ({BITS_OF_A_BYTE:g}) — ask in "
            f"bits/byte, for example {EXAMPLES[BITS]}"
        )
    if loss < floor:
        raise SpecError(
            f"{name}: {loss:g} bits/byte is below {floor:.4g}, which nothing passes under this law — ask for more than "
            f"{floor:.4g}"
        )


def _too_high(loss: float, guess: float) -> str:
    return (
        f"{loss:g} nats/token is worse than a blind guess among all tokens ({guess:.3g}) — if it is a perplexity, ask "
        f"for its logarithm, {math.log(loss):.4g}; if bits/token, for {loss * math.log(2):.4g}"
    )


def _too_low(loss: float, floor: float) -> str:
    short, long = BYTES_PER_TOKEN
    low, high = (loss * math.log(2) * length for length in BYTES_PER_TOKEN)
    return (
        f"{loss:g} nats/token is below {floor:.4g}, which nothing passes under this law — if it is bits/byte, ask for "
        f"{low:.3g} to {high:.3g} (times ln 2 and {short:g} to {long:g} bytes a token); else for more than {floor:.4g}"
    )
