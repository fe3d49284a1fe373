"""Which student can go on from another's weights."""

from __future__ import annotations

from scaling.spec.data import DataSpec
from scaling.spec.distill import DistillSpec
from scaling.spec.model import ModelSpec
from scaling.spec.sources import TextSource


def check_start(
    recipe: DistillSpec, model: ModelSpec, data: DataSpec, start_model: ModelSpec, start_data: DataSpec
) -> None:
    """Raise ValueError, with what to change, where a run cannot go on from the student of another.

    The vocabulary has to be the same by what its tokens stand for, not by its size alone. The symbols of a world stand
    for nothing, so what was learned of one goes on in any text of as many tokens.

    Args:
        recipe: How the run learns.
        model, data: Of the run.
        start_model, start_data: Of the run that it starts from.
    """
    if recipe.has_start:
        raise ValueError(
            f"start_from: {recipe.kind} starts from its teacher's layers; leave out start_from, or set another distill"
        )
    source, start = data.source, start_data.source
    ours, theirs = source.meaning, start.meaning
    if model.vocab_size != start_model.vocab_size or None not in (ours, theirs) and ours != theirs:
        raise ValueError(
            f"start_from: it has the vocabulary of {start_data.source.label} ({start_model.vocab_size} tokens), and "
            f"the student that of {data.source.label} ({model.vocab_size} tokens); let both have one, by a tokenizer "
            "of kind bytes, the gguf of one file (bpe learns its pieces from each text anew), or a world of as many "
            "symbols"
        )
    if isinstance(source, TextSource) and isinstance(start, TextSource) and start.reads_what_is_held_out(source):
        raise ValueError(
            f"start_from: it holds out {start.held_out:g} of {start.corpus}, the student {source.held_out:g}: it "
            "learns from documents that the student is measured on; give start_from.data.source a held_out of at least "
            f"{source.held_out:g}, best the same"
        )
    # Not the context: positions are rotations, which need no weights.
    names = [name for name in ModelSpec.model_fields if name not in ("vocab_size", "context")]
    differing = [name for name in names if getattr(model, name) != getattr(start_model, name)]
    if differing:
        told = "; ".join(f"{name} {getattr(start_model, name)}, not {getattr(model, name)}" for name in differing)
        raise ValueError(
            f"start_from: its weights are of another shape than the student's ({told}); leave model out of start_from, "
            "which is then the student's"
        )
