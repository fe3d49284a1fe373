"""FLOPs of a run: what its student computes, and what its teacher does for it where that is a run itself."""

from __future__ import annotations

from scaling.accounting import forward_flops, training_flops
from scaling.spec import RunSpec, teacher_run


def student_flops(spec: RunSpec, n_tokens: int) -> float:
    """Training on so many tokens, and what the recipe has the student write itself."""
    return float(training_flops(spec.model, n_tokens) + spec.recipe.own_passes() * forward_flops(spec.model) * n_tokens)


def asked_flops(spec: RunSpec, n_tokens: int) -> float:
    """What the recipe asks of the teacher's network during a training on so many tokens; 0 where it asks nothing."""
    teacher = teacher_run(spec.data)
    if teacher is None:
        return 0.0
    return float(spec.recipe.teacher_passes(n_tokens) * forward_flops(teacher.model) * n_tokens)


def writing_flops(spec: RunSpec) -> float:
    """What a teacher that is a run computes to write a run's text: a forward pass a token; 0 of any other teacher."""
    teacher = teacher_run(spec.data)
    return 0.0 if teacher is None else float((1 - spec.data.real_share) * forward_flops(teacher.model) * spec.n_tokens)


def teacher_flops(spec: RunSpec) -> float | None:
    """All that the teacher computes for a run: writing, and what the recipe asks; None where it is no run."""
    return None if teacher_run(spec.data) is None else writing_flops(spec) + asked_flops(spec, spec.n_tokens)


def paid_flops(spec: RunSpec) -> float:
    """All that somebody pays for a run: its student's training, and its teacher's work where that is a run itself."""
    return student_flops(spec, spec.n_tokens) + (teacher_flops(spec) or 0.0)
