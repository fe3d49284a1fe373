"""From a sweep to its runs: every point completed, checked, and named by its hash."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from scaling.config.document import Path_
from scaling.config.identify import Fingerprint, identified
from scaling.config.points import (
    Assignment,
    PlacementError,
    assignments,
    build,
    count_points,
    lost_axes,
    origin_of,
    points,
)
from scaling.config.problems import dotted, sentence, short, told_path, value_path
from scaling.config.rules import apply_rule, as_rule
from scaling.config.sweep import SweepConfig
from scaling.errors import ConfigError
from scaling.spec import DataSpec, ModelSpec, RunSpec, Source, Spec, text_labels

_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


def expand(config: SweepConfig, *, fingerprint: Fingerprint | None = None) -> list[RunSpec]:
    """All runs of a sweep in file order, each once.

    Args:
        config: The sweep.
        fingerprint: Hash of a text source's corpus; by default :func:`scaling.data.corpora.fingerprint`.

    Raises:
        ConfigError: every problem of every run, each once, with its place in the file.
        DataError: if a corpus is not installed.
    """
    expansion = Expansion(config)
    runs = expansion.runs()
    if expansion.problems:
        raise ConfigError(in_file_order(expansion.problems))
    return identified(runs, fingerprint)


def recommended_text(
    config: SweepConfig,
    runs: Sequence[RunSpec],
    *,
    teacher: Mapping[str, Any] | None = None,
    targets: Mapping[str, Any] | None = None,
) -> DataSpec:
    """The text that is asked about: the one of the sweep's that matches; by default its only unreal one.

    Args:
        config: The sweep.
        runs: What it expands to.
        teacher: Keys and values of the teacher.
        targets: Keys and values of the targets.

    Raises:
        ConfigError: if none matches or several do.
    """
    texts = {run.data.text_id: run.data for run in reversed(runs)}
    # Without a word about it, the question is about a student of a teacher, not of real text.
    if teacher is None and targets is None:
        # Real text stands in a sweep for comparison; the question is of what a teacher generated.
        texts = {text_id: text for text_id, text in texts.items() if text.real_share < 1} or texts
    asked = [text for text in texts.values() if _is_asked(text.teacher, teacher)]
    matching = [text for text in asked if _is_asked(text.targets, targets)]
    if len(matching) == 1:
        return matching[0]
    sizes = sorted({text.vocab_size for text in matching})
    if len(sizes) > 1:
        raise ConfigError([_several_vocabularies(config, sizes)])
    mark = config.document.mark(("recommend", "teacher"))
    found = "matches none" if not matching else f"matches {len(matching)}"
    names = ", ".join(sorted(label.teacher for label in text_labels(texts.values()).values()))
    raise ConfigError([f"{mark}: recommend.teacher: {found} of the sweep's teachers — name one of: {names}"])


def _several_vocabularies(config: SweepConfig, sizes: Sequence[int]) -> str:
    """Why no student is chosen from all runs of such a sweep at once, and how one is."""
    name, first = config.name, sizes[0]
    return (
        f"{config.document.mark(('recommend',))}: recommend: got a sweep of {len(sizes)} vocabularies "
        f"({', '.join(f'{size:,}' for size in sizes)}), allowed is one: a law of N and D cannot tell them apart — "
        f"leave recommend out of the file, fit each by itself (scaling fit {config.path or 'SWEEP.yaml'} --set "
        f"name={name}-{first} --set 'fit.where=vocab_size == {first}' --set fit.loss=bits_per_byte) and ask all of "
        f"them (scaling recommend --fit results/{name}-{first}/fit.json --fit … --target-loss BITS_PER_BYTE)"
    )


def _is_asked(part: Spec, wanted: Mapping[str, Any] | None) -> bool:
    return wanted is None or matches(part.model_dump(mode="json"), wanted)


def matches(value: Any, wanted: Any) -> bool:
    """True if a value is equal, one of a list, within ``{min, max}``, or a mapping that holds all that is wanted."""
    if isinstance(wanted, list):
        return any(matches(value, one) for one in wanted)
    if isinstance(wanted, Mapping) and wanted.keys() <= {"min", "max"} and wanted:
        bounds = (wanted.get("min", value), wanted.get("max", value))
        numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (value, *bounds))
        return numbers and bounds[0] <= value <= bounds[1]
    if isinstance(wanted, Mapping):
        return isinstance(value, dict) and all(matches(_at(value, path), one) for path, one in wanted.items())
    return type(value) is not bool and not isinstance(wanted, bool) and value == wanted or value is wanted


def in_file_order(problems: Sequence[str]) -> list[str]:
    """Problems sorted by file, line and column, each once."""

    def place(problem: str) -> tuple[Any, ...]:
        # Only of a file: --set tokens=a:b:3 has no lines.
        found = re.match(r"(?!--set )(.*):(\d+):(\d+)$", problem.split(": ", 1)[0], re.ASCII | re.DOTALL)
        return (found[1], int(found[2]), int(found[3])) if found else ("", 0, 0)

    return sorted(dict.fromkeys(problems), key=place)


def each_once(runs: Sequence[RunSpec]) -> list[RunSpec]:
    """Runs that are different trainings; of those that are one training the first.

    Tokens are seen in whole steps: 100,000 and 100,100 of them may be the very same training, which counted twice is
    paid twice and makes a fit too sure of itself. To reach one cell of a grid in two ways, by a number and by a rule,
    is no slip either, so that it is not refused.
    """
    first: dict[tuple[str, int], RunSpec] = {}
    for run in runs:
        first.setdefault((run.trunk_id, run.steps), run)
    return list(first.values())


class Expansion:
    """One expansion in progress; collects problems instead of stopping at the first."""

    def __init__(self, config: SweepConfig):
        self.config = config
        self.problems: list[str] = []
        self._derived = [
            Assignment(tuple(path.split(".")), rule, ("derive", path)) for path, rule in config.derive.items()
        ]
        self._overrides = assignments(config.overrides, ("set",))

    def runs(self) -> list[RunSpec]:
        """Runs of the points that can exist; look at ``problems`` before using them."""
        config, n_points = self.config, count_points(self.config)
        if n_points > config.max_runs:
            self._problem(
                ("max_runs",),
                f"max_runs: the sweep expands to {n_points:,} runs, more than the limit of {config.max_runs:,} — "
                f"if they are meant, write max_runs: {n_points} or pass --set max_runs={n_points}",
            )
            return []
        for lost in lost_axes(config):
            self._problem(
                lost.origin,
                f"{lost.path}: no run has the values of this axis, for {lost.later} is applied after it — "
                "change that one, or leave one of the two out",
            )
        runs = [run for given in points(config) if (run := self._run(given)) is not None]
        kept = [run for run in runs if not self._excluded(run)]
        if runs and not kept and not self.problems:
            self._problem(("exclude",), "exclude: every run is excluded — nothing is left to train")
        return each_once(kept)

    def _run(self, given: list[Assignment]) -> RunSpec | None:
        given = [*given, *self._conditional(given), *self._derived, *self._overrides]
        try:
            tree = build(given)
        except PlacementError as error:
            path = error.assignment.target
            self._problem(
                error.assignment.origin, f"{dotted(path)}: leads through {short(error.through)}, not a mapping"
            )
            return None
        return self._validated(tree, given)

    def _validated(self, tree: dict[str, Any], given: list[Assignment]) -> RunSpec | None:
        broken = self._complete(tree, given)
        try:
            run = RunSpec.model_validate(tree)
        except ValidationError as error:
            for one in error.errors():
                self._explain(one, tree, given)
            return None
        return None if broken else run

    def _conditional(self, given: list[Assignment]) -> list[Assignment]:
        """What ``when`` adds; conditions see the run with its defaults where it is valid without them."""
        added: list[Assignment] = []
        for index, when in enumerate(self.config.when):
            if matches(self._seen(given), when.match):
                added += assignments(when.set, ("when", index, "set"))
        return added

    def _seen(self, given: list[Assignment]) -> dict[str, Any]:
        try:
            tree = build([*given, *self._derived, *self._overrides])
            silent = Expansion(self.config)
            run = silent._validated(tree, given)
        except PlacementError:
            return {}
        return tree if run is None else run.model_dump(mode="json")

    def _excluded(self, run: RunSpec) -> bool:
        if not self.config.exclude:
            return False
        values = run.model_dump(mode="json")
        return any(matches(values, condition) for condition in self.config.exclude)

    def _complete(self, tree: dict[str, Any], given: list[Assignment], prefix: Path_ = ()) -> bool:
        """Fill in what follows from the rest: vocabulary, runs of its start and teacher, values by rule."""
        data, model = _mapping(tree.get("data")), tree.get("model")
        source = self._source(data)
        broken = self._complete_start(tree, given, prefix)
        # A wrong source is reported as such, not as a missing vocabulary.
        if source is None and isinstance(model, dict):
            model.setdefault("vocab_size", 2)
        if source is not None and isinstance(model, dict):
            marked = _mapping(data.get("teacher")).get("source_token") is True
            broken |= self._fit_to_source(model, source, source.vocab_size + marked, given, prefix)
        if source is not None:
            data["source"] = source
            broken |= self._complete_teacher(data, given, prefix)
        return self._apply_rules(tree, given, prefix) or broken

    def _complete_start(self, tree: dict[str, Any], given: list[Assignment], prefix: Path_) -> bool:
        """Let the run that a student starts from be like the student in all that it does not say itself."""
        start = tree.get("start_from")
        if not isinstance(start, dict):
            return False
        for key in ("model", "optim", "evaluation"):
            shared, own = tree.get(key), start.get(key, {})
            if isinstance(shared, dict) and isinstance(own, dict):
                start[key] = copy.deepcopy(shared) | own
        return self._complete(start, given, (*prefix, "start_from"))

    def _fit_to_source(
        self, model: dict[str, Any], source: Source, vocab_size: int, given: list[Assignment], prefix: Path_
    ) -> bool:
        """Give a model the vocabulary and, in a world, the context of its source; True if it has others."""
        broken = False
        for key, of_source in (("vocab_size", vocab_size), ("context", source.sequence_tokens)):
            if of_source is None:
                continue
            own = model.setdefault(key, of_source)
            if isinstance(own, int) and own != of_source:
                path = (*prefix, "model", key)
                what = f"{own} does not fit source {source.label}, which has {of_source} — leave it out"
                self._problem(origin_of(path, given), f"{dotted(path)}: {what}")
                broken = True
        return broken

    @staticmethod
    def _source(data: dict[str, Any]) -> Source | None:
        """The source of a run's data, None where it is wrong."""
        try:
            return _SOURCE.validate_python(data.get("source"))
        except ValidationError:
            return None

    def _complete_teacher(self, data: dict[str, Any], given: list[Assignment], prefix: Path_) -> bool:
        teacher = data.get("teacher")
        place = (*prefix, "data", "teacher")
        if isinstance(teacher, dict) and isinstance(teacher.get("teacher"), dict):
            teacher, place = teacher["teacher"], (*place, "teacher")  # the one inside a mixture
        run = teacher.get("run") if isinstance(teacher, dict) else None
        if not isinstance(run, dict):
            return False
        own = run.setdefault("data", {})
        if isinstance(own, dict):
            own.setdefault("source", data["source"])
        return self._complete(run, given, (*place, "run"))

    def _apply_rules(self, tree: dict[str, Any], given: list[Assignment], prefix: Path_) -> bool:
        """Replace rules by their values; True if one cannot be read."""
        # The places where a number may be given by a rule, each with the keys that it holds.
        evaluation, optim = _mapping(tree.get("evaluation")), _mapping(tree.get("optim"))
        places: list[tuple[Path_, dict[str, Any], list[str]]] = [
            ((), tree, ["tokens"]),
            (("evaluation",), evaluation, ["tokens"] if evaluation else []),
            (("optim",), optim, list(optim)),
        ]
        # A value that cannot be had is stood in for by 1, so that the rest of the run is still checked.
        broken = False
        for path, holder, keys in places:
            for key in keys:
                place = (*prefix, *path, key)
                try:
                    rule = as_rule(holder.get(key))
                    if rule is not None:
                        holder[key] = apply_rule(rule, ModelSpec.model_validate(tree.get("model")))
                except ValidationError as error:
                    broken = True
                    self._explain_rule(error, place, holder[key], given)
                    holder[key] = 1
                except OverflowError:
                    broken = True
                    self._problem(origin_of(place, given), f"{dotted(place)}: the rule's value is beyond all numbers")
                    holder[key] = 1
        return broken

    def _explain_rule(self, error: ValidationError, place: Path_, value: Any, given: list[Assignment]) -> None:
        if error.title == "ModelSpec":
            return  # the run's own validation says what is wrong with its model
        for one in error.errors():
            path = (*place, *value_path(one["loc"], value))
            self._problem(origin_of(path, given), _prefixed(place, sentence(one, type(value), value)))

    def _explain(self, error: ErrorDetails, tree: dict[str, Any], given: list[Assignment]) -> None:
        origin = origin_of(told_path(error, tree), given)
        if error["type"] == "extra_forbidden" and origin and isinstance(origin[-1], int):
            origin = origin[:-1]  # the key is wrong, not this one of its levels
        self._problem(origin, sentence(error, RunSpec, tree))

    def _problem(self, origin: Path_, what: str) -> None:
        self.problems.append(f"{self.config.document.mark(origin)}: {what}")


def _mapping(value: Any) -> dict[str, Any]:
    """A part of a run that may be absent, or something else than a mapping, which is said elsewhere."""
    return value if isinstance(value, dict) else {}


def _prefixed(place: Path_, text: str) -> str:
    return f"{dotted(place)}: {text}"


def _at(values: dict[str, Any], path: str) -> Any:
    here: Any = values
    for step in path.split("."):
        here = here.get(step) if isinstance(here, dict) else None
    return here
