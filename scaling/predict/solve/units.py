"""Whether a target loss is in the unit of its law, or seems to be meant in another one."""

from __future__ import annotations

import math

from scaling.errors import SpecError
from scaling.tables.units import BITS, NATS

LARGEST_VOCABULARY = 256_000
"""In use: what lies above a guess among so many tokens is no loss of any model."""
EXAMPLES = {NATS: "2.5", BITS: "1.1"}
BYTES_PER_TOKEN = (2.5, 5.0)
"""Mean length of a token of English text, from small to large vocabularies."""
BITS_OF_A_BYTE = 8.0
"""A blind guess among all bytes: every text has them, so it is the same for all tokenizers."""


class BelowFloor(SpecError):
    """A target that no text of a law reaches, whatever its unit."""


def check_target(
    loss: float,
    floor: float,
    *,
    vocab_size: int | None = None,
    bytes_per_token: float | None = None,
    name: str = "--target-loss",
    unit: str = NATS,
) -> None:
    """Refuse a target that no text of this law can have, and name the unit that was probably meant.

    Args:
        loss: Target.
        floor: E of real text under the law; 0 where it has none.
        vocab_size: Of the tokenizer, where it is known: a uniform guess has a loss of ln(vocab_size).
        bytes_per_token: Of that tokenizer, where it is known.
        name: Of the option, for the message.
        unit: Of the target and of the law.

    Raises:
        SpecError: zero or less, not finite, or above a uniform guess (a perplexity?).
        BelowFloor: below E (bits?).
    """
    if not 0 < loss < math.inf:
        raise SpecError(f"{name}: got {loss:g}, allowed is a positive number of {unit} — for example {EXAMPLES[unit]}")
    # Too high is a perplexity, too low are bits: each is told with the number that was meant.
    check_guess(loss, vocab_size, name=name, unit=unit)
    if loss < floor:
        raise BelowFloor(f"{name}: {_too_low(loss, floor, unit, bytes_per_token)}")


def check_guess(loss: float, vocab_size: int | None, *, name: str = "target_loss", unit: str = NATS) -> None:
    """Refuse a target that a blind guess meets: it is a perplexity, or in another unit.

    Args:
        loss: Target.
        vocab_size: V; who guesses has a loss of ln V nats/token, and of 8 bits/byte. None for the largest in use.
        name: Of the option, for the message.
        unit: Of the target.

    Raises:
        SpecError: the target lies above it.
    """
    # All texts have the same bytes, and every tokenizer tokens of its own.
    if unit == BITS:
        guess, among = BITS_OF_A_BYTE, "all bytes"
    else:
        guess, among = math.log(vocab_size or LARGEST_VOCABULARY), f"{vocab_size or LARGEST_VOCABULARY:,} tokens"
        among += "" if vocab_size else " (the largest vocabulary in use: which one it is here is not known)"
    if loss <= guess:
        return
    raise SpecError(
        f"{name}: got {loss:g} {unit}, allowed is up to {guess:.3g}, which a blind guess among {among} reaches — "
        f"{_meant(loss, guess, unit)}"
    )


def _meant(loss: float, guess: float, unit: str) -> str:
    """What a target above a guess is, probably."""
    if unit == BITS:
        return f"ask in bits/byte, for example {EXAMPLES[BITS]}"
    nats = math.log(2) * loss
    bits = f"; if bits/token, for {nats:.4g}" if nats <= guess else ""
    return f"if it is a perplexity, ask for its logarithm, {math.log(loss):.4g}{bits}"


def _too_low(loss: float, floor: float, unit: str, bytes_per_token: float | None) -> str:
    below = f"{loss:g} {unit} is below {floor:.4g}, which nothing passes under this law — "
    if unit == BITS:
        return f"{below}ask for more than {floor:.4g}"
    lengths = BYTES_PER_TOKEN if bytes_per_token is None else (bytes_per_token,)
    nats, length = (" to ".join(f"{size * each:.3g}" for each in lengths) for size in (loss * math.log(2), 1.0))
    return (
        f"{below}if it is bits/byte, ask for {nats} (times ln 2 and {length} bytes a token); else for more than "
        f"{floor:.4g}"
    )
