"""What a column of a table can be named as: what laws read, and what is read of any table under our own names."""

from __future__ import annotations

from collections.abc import Iterable

from scaling.errors import RecordError
from scaling.registry import did_you_mean

LAW_COLUMNS = {"n", "d", "c", "x", "s_min", "run", "n_unique_tokens", "n_vocab_params", "tokens_per_parameter"}
LAW_COLUMNS |= {"bits", "bits_weights", "bits_activations", "bits_cache", "experts", "granularity", "teacher_loss"}
LAW_COLUMNS |= {"real_share", "delta_coverage", "delta_noise", "generator_delta_coverage", "generator_delta_noise"}
"""What laws are functions of; a law that someone else writes adds its own."""
LABELS = ("teacher", "text_id", "trunk_id", "run_id")
"""Columns that may hold words: no law reads them as numbers."""
OF_A_TABLE: tuple[str, ...] = (
    *LABELS,
    "status",
    "aims_at_loss",
    "recipe",
    "start_run",
    "start_tokens",
    "vocab_size",
    "bits_per_byte",
)
OF_A_TABLE += ("n_params", "n_params_linear", "n_params_total", "n_tokens")
"""Columns that are read under these names wherever a table has them."""
LOSSES = ("loss", "loss_se")


def is_role(name: str) -> bool:
    """Whether anything reads a column under a name."""
    return name in LAW_COLUMNS or name in OF_A_TABLE or name in LOSSES


def check_roles(names: Iterable[str]) -> None:
    """Refuse a name that nothing reads: the column mapped to it would go unused, and another be taken in its place.

    Raises:
        RecordError: with the nearest name that is read.
    """
    known = {*LOSSES, *LAW_COLUMNS, *OF_A_TABLE}
    for name in names:
        if is_role(name):
            continue
        # N is n to whoever types it; the nearest by spelling is another one.
        hint = f" — did you mean {name.lower()!r}?" if name.lower() in known else did_you_mean(name, known)
        raise RecordError(
            f"nothing reads a column as {name!r}: what is mapped to it would have no effect{hint} (write NAME=COLUMN, "
            "with what a law reads on the left)"
        )
