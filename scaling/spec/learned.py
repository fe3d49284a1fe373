"""Teachers that are runs themselves: each is trained once, recorded under its own ``run_id``, and found again by it."""

from __future__ import annotations

from typing import ClassVar, Literal

from scaling.spec.data import DataSpec
from scaling.spec.run import RunSpec
from scaling.spec.sources import Source, TextSource, WorldSource
from scaling.spec.teachers import ModelTeacher, Teacher


@Teacher.add_kind
class TrainedTeacher(ModelTeacher):
    """A language model trained by this framework; the student reads text sampled from it."""

    kind: Literal["trained"]
    run: RunSpec

    @property
    def label(self) -> str:
        return f"trained {self.run.run_id}{self.decoding_label}"

    def writes(self, source: Source) -> Source:
        return self.run.data.source

    def check(self, source: Source) -> None:
        if self.run.data.source_token:
            raise ValueError(
                f"the teacher {self.run.run_id} was trained with a source token itself, which its text would "
                "hold; leave source_token out of its data.teacher"
            )
        own = self.run.data.source
        if not (isinstance(own, TextSource) and isinstance(source, TextSource)):
            raise ValueError(f"the teacher {self.run.run_id} was trained on {own.label}, which is no text")
        # Pieces of the same kind and number are others where they were learned from another text.
        if own.meaning != source.meaning and not source.is_cut_finer_than(own):
            raise ValueError(
                f"teacher {self.run.run_id} writes tokens of {own.cut}, the student reads {source.cut}; give both "
                "the same source and tokenizer, or the student fewer tokens of kind bpe, or bytes, of the same corpus"
            )
        if own.reads_what_is_held_out(source):
            raise ValueError(
                f"teacher {self.run.run_id} holds out {own.held_out:g} of {own.corpus}, the student "
                f"{source.held_out:g}: it learns from documents that its student is measured on; give the "
                f"teacher's data.source a held_out of at least {source.held_out:g}, best the same"
            )


@Teacher.add_kind
class StudentTeacher(Teacher):
    """World teacher that is itself a student of that world: it knows what its own training taught it.

    It generates whole sequences, cues included, so it also tells how often it believes what to be asked.
    """

    is_stored: ClassVar[bool] = True
    can_be_mixed: ClassVar[bool] = False

    kind: Literal["net"]
    run: RunSpec

    @property
    def label(self) -> str:
        return f"net {self.run.run_id}"

    @classmethod
    def serves(cls, source: Source) -> bool:
        return isinstance(source, WorldSource)

    def check(self, source: Source) -> None:
        if self.run.data.source != source:
            raise ValueError(
                f"the net teacher {self.run.run_id} was trained in another world than its students read of; "
                "leave out its data.source, which is then theirs"
            )

    def tells_probs(self, source: Source) -> bool:
        return False


def teacher_run(data: DataSpec) -> RunSpec | None:
    """The run that trains the teacher of some text; None where it is not one of this project's runs."""
    generator = data.generator
    return generator.run if isinstance(generator, TrainedTeacher | StudentTeacher) else None


def needed_runs(spec: RunSpec) -> tuple[RunSpec, ...]:
    """The runs that have to be trained before one: that of its teacher, and the one that it starts from."""
    return tuple(run for run in (teacher_run(spec.data), spec.start_from) if run is not None)
