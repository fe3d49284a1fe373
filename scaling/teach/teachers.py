"""Everything that streams need before training can start: teachers trained, their text generated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from scaling.data.corpora import check_apart
from scaling.data.mixing import generated_tokens, unmixed
from scaling.data.text import open_other_text, open_text
from scaling.records import RunStore
from scaling.spec import RunSpec, TextSource, needed_runs, teacher_run
from scaling.teach.generate import ensure_teacher_text
from scaling.train.loop import train_trunk
from scaling.train.runtime import prepare_process


def prepare(specs: Sequence[RunSpec], store: RunStore, progress: Callable[[Any], None] | None = None) -> None:
    """Make what the streams and evaluation sets of some runs read; what is there is left alone.

    Real text is encoded (its tokenizer trained before), a trained teacher is trained if it has no record, and a teacher
    generates as many tokens as the longest of its students reads of it. A world and its exact teachers need nothing.

    Args:
        specs: Runs that will be trained; those of one teacher are served by one text.
        store: Where runs and texts lie.
        progress: Called with training and generation progress.

    Raises:
        DataError: if a corpus is missing, a teacher cannot be used, or one has read what its students are measured on.
    """
    prepare_process()
    for members in _by_text(specs).values():
        longest = max(members, key=lambda spec: spec.n_tokens)
        source, teacher = longest.data.source, teacher_run(longest.data)
        if isinstance(source, TextSource):
            for split in ("train", "held_out"):
                open_text(source, split, store)
            if longest.evaluation.ood is not None:
                open_other_text(longest.evaluation.ood, source, store)
            for spec in members:
                _check_apart(spec, source)
        # A teacher may have a teacher itself, which is then prepared before it.
        if teacher is not None and not store.has(teacher.run_id):
            prepare([teacher], store, progress)
            train_trunk([teacher], store, progress=progress)
        # One text serves all students of a context; a mixture reads a part of it, and the longest reader decides.
        if longest.data.generator.is_stored:
            for context in {spec.model.context for spec in members}:
                readers = [spec for spec in members if spec.model.context == context]
                most = max(readers, key=lambda spec: spec.n_tokens)
                ensure_teacher_text(unmixed(most), store, n_tokens=generated_tokens(most), progress=progress)


def _check_apart(spec: RunSpec, measured: TextSource) -> None:
    """Raise DataError where a run that another learns from, however far back, has read what that is measured on."""
    for run in needed_runs(spec):
        if isinstance(run.data.source, TextSource):
            check_apart(run.data.source, measured)
        _check_apart(run, measured)


def _by_text(specs: Sequence[RunSpec]) -> dict[str, list[RunSpec]]:
    """Runs grouped by the text they read and are measured on."""
    groups = defaultdict(list)
    for spec in specs:
        groups[spec.data.model_dump_json() + spec.evaluation.model_dump_json()].append(spec)
    return groups
