"""Reading a sweep file: included files, overrides from the command line, and every problem at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from scaling.config.document import Document, Path_, parse_document, read_document, read_text
from scaling.config.expand import Expansion, in_file_order, recommended_text
from scaling.config.identify import Fingerprint, identified
from scaling.config.paths import run_paths
from scaling.config.problems import MISSING, UNKNOWN, dotted, field_names, sentence, short, value_path
from scaling.config.sweep import SweepConfig
from scaling.errors import ConfigError
from scaling.registry import did_you_mean
from scaling.spec import RunSpec

_MERGED = ("base", "grid", "derive", "set", "fit", "recommend")
_STAND_IN = {"rule": "tokens_per_param", "ratio": 1}
"""Takes the place of a rule that cannot be read, so that the rest of the file can still be checked."""
_RUNS_STAND_ALONE = {"name", "fit", "recommend", "max_runs"}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep file and what it expands to."""

    config: SweepConfig
    runs: tuple[RunSpec, ...]


def load_sweep(path: str | Path, overrides: Sequence[str] = ()) -> SweepConfig:
    """Read and check a sweep file; no corpus needs to be installed.

    >>> load_sweep("sweeps/grid.yaml").name
    'grid'

    Args:
        path: The YAML file.
        overrides: ``key=value`` each, the value in YAML. A key is a path into a run (``model.width``), or into the file
            (``recommend.memory``, ``max_runs``). A list makes an axis.

    Raises:
        ConfigError: every problem of the file, of every run in it, and of the overrides.
    """
    return _checked(path, overrides).config


def open_sweep(path: str | Path, overrides: Sequence[str] = (), *, fingerprint: Fingerprint | None = None) -> Sweep:
    """Read and check a sweep file, and name its runs: expanded once.

    Args:
        path: The YAML file.
        overrides: As of `load_sweep`.
        fingerprint: Hash of a text source's corpus; by default :func:`scaling.data.corpora.fingerprint`.

    Raises:
        ConfigError: every problem of the file, of every run in it, and of the overrides.
        DataError: if a corpus is not installed.
    """
    found = _checked(path, overrides)
    return Sweep(config=found.config, runs=tuple(identified(found.runs, fingerprint)))


def _checked(path: str | Path, overrides: Sequence[str]) -> Sweep:
    """The sweep with its runs, whose texts do not have their fingerprints yet."""
    document = _included(read_document(path), Path(path))
    document = _overridden(document, overrides)
    config, problems = _validated(document)
    runs: list[RunSpec] = []
    if config is not None:
        config = config.located(document, Path(path))
        runs, wrong = _runs_and_problems(config)
        problems += wrong
    if problems or config is None:
        raise ConfigError(in_file_order(_causes(problems)))
    return Sweep(config=config, runs=tuple(runs))


def _causes(problems: list[str]) -> list[str]:
    """Without the values that are missing because the section that holds them is misspelt."""
    rest = [problem for problem in problems if not problem.endswith(MISSING)]
    return rest if any(UNKNOWN in problem for problem in rest) else problems


def _validated(document: Document) -> tuple[SweepConfig | None, list[str]]:
    """The sweep, or as much of it as its runs need, and what is wrong with its sections."""
    values = document.values
    try:
        return SweepConfig.model_validate(values), []
    except ValidationError as error:
        problems, bad, bad_rules = [], set(), set()
        for one in error.errors():
            path = value_path(one["loc"], values)
            if path[:1] == ("derive",) and len(path) > 1:
                bad_rules.add(path[1])
            else:
                bad.add(path[0] if path else "")
            problems.append(f"{document.mark(path)}: {sentence(one, SweepConfig, values) + _belongs(path, values)}")
    # Sections that the runs do not depend on, and single rules, may be wrong: the runs are checked all the same.
    known = set(field_names(SweepConfig, (), values))
    # Runs are checked too, so that all problems are said at once, unless what they are made of is itself wrong.
    if (bad & known) - _RUNS_STAND_ALONE:
        return None, problems
    rest = {key: value for key, value in values.items() if key not in bad and key in known}
    rest.pop("recommend", None)
    if isinstance(rest.get("derive"), dict):
        rest["derive"] = {path: _STAND_IN if path in bad_rules else rule for path, rule in rest["derive"].items()}
    try:
        return SweepConfig.model_validate({**rest, "name": rest.get("name", "sweep")}), problems
    except ValidationError:
        return None, problems


def _belongs(path: Path_, values: dict[str, Any]) -> str:
    """A hint where a run's field was written at the top of the file."""
    misplaced = len(path) == 1 and path[0] in RunSpec.model_fields and path[0] not in SweepConfig.model_fields
    return f"; it belongs under base: {path[0]}" if misplaced and path[0] in values else ""


def _runs_and_problems(config: SweepConfig) -> tuple[list[RunSpec], list[str]]:
    expansion = Expansion(config)
    runs = expansion.runs()
    problems = [*expansion.problems, *_derived_paths(config), *_condition_paths(config)]
    if config.recommend and not problems:
        try:
            recommended_text(config, runs, teacher=config.recommend.teacher, targets=config.recommend.targets)
        except ConfigError as error:
            problems += error.problems
    return runs, problems


def _derived_paths(config: SweepConfig) -> list[str]:
    """A rule may give a learning rate or a number of tokens, not a shape, which the rules themselves read."""
    problems = []
    for path in config.derive:
        if not re.match(r"(tokens|optim\.\w+|evaluation\.tokens)$", path):
            mark = config.document.mark(("derive", path))
            allowed = did_you_mean(path, ["tokens", "optim.lr", "optim.warmup_tokens", "evaluation.tokens"])
            problems.append(f"{mark}: derive.{path}: cannot be derived{allowed}")
    return problems


def _condition_paths(config: SweepConfig) -> list[str]:
    """A condition on a key that no run has never matches: it is a slip of the pen, not a choice."""
    conditions: list[tuple[Path_, dict[str, Any]]] = [(("exclude", i), c) for i, c in enumerate(config.exclude)]
    conditions += [(("when", i, "match"), when.match) for i, when in enumerate(config.when)]
    # Most files have no condition, and are spared the search for what a run may be.
    known = run_paths() if conditions else []
    return [
        f"{config.document.mark((*origin, path))}: {dotted((*origin, path))}: no run has this key"
        + did_you_mean(path, known)
        for origin, condition in conditions
        for path in condition
        if path not in known and not path.startswith("data.teacher.run.")
    ]


def _included(document: Document, path: Path) -> Document:
    """The file laid over the one that it includes."""
    name = document.values.pop("include", None)
    if name is None:
        return document
    mark = document.mark(("include",))
    if not isinstance(name, str) or not name.isprintable() or Path(name).suffix not in (".yaml", ".yml"):
        raise ConfigError([f"{mark}: include: got {short(name)} — the name of one other sweep file (.yaml) is needed"])
    other = path.parent / name
    try:
        text = read_text(other)
    except ConfigError as error:
        raise ConfigError([f"{mark}: include: {name} cannot be used", *error.problems]) from error
    # What stands in a file that is no sweep is nobody's business: no message repeats it.
    try:
        below = parse_document(text, str(other))
    except ConfigError as error:
        places = [f"{problem.split(': ', 1)[0]}: cannot be read as a sweep file" for problem in error.problems]
        raise ConfigError([f"{mark}: include: {name} cannot be used — see: scaling plan {other}", *places]) from None
    sections = {field.alias or key for key, field in SweepConfig.model_fields.items()}
    if not below.values.keys() & (sections | {"include"}):
        raise ConfigError([f"{mark}: include: {name} is not a sweep file — it has none of a sweep's keys"])
    if "include" in below.values:
        raise ConfigError([f"{below.mark(('include',))}: include: an included file cannot include another — name both"])
    values = {key: value for key, value in below.values.items() if key != "name"}
    marks = {path_: mark for path_, mark in below.marks.items() if path_}
    for key, value in document.values.items():
        joins = key in _MERGED and isinstance(value, dict) and isinstance(values.get(key), dict)
        values[key] = _merged(values[key], value) if joins else value
    return Document(values=values, marks={**marks, **document.marks})


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(below.get(key), dict)
        whole = not both or (value.keys() | below[key].keys()) & {"kind", "rule"}
        merged[key] = value if whole else _merged(below[key], value)
    return merged


def _overridden(document: Document, overrides: Sequence[str]) -> Document:
    """The file with ``--set key=value`` applied to it."""
    values, marks = document.values, dict(document.marks)
    problems: list[str] = []
    for text in overrides:
        place = f"--set {text}"
        key, equals, written = text.partition("=")
        if not key or not equals:
            problems.append(f"{place}: got no key=value — write for example --set model.width=64")
            continue
        try:
            value = parse_document(f"value: {written}", place).values["value"]
        except (ConfigError, yaml.YAMLError):
            problems.append(f"{place}: {key}: the value is not YAML — quote it")
            continue
        path = _override_path(key, value, values)
        if not _put(values, path, value):
            problems.append(f"{place}: {key}: leads through a value that is not a mapping")
        marks[path] = place
    if problems:
        raise ConfigError(problems)
    return Document(values=values, marks=marks)


def _override_path(key: str, value: Any, values: dict[str, Any]) -> tuple[str, ...]:
    head, _, rest = key.partition(".")
    if head in RunSpec.model_fields:
        return ("grid", key) if isinstance(value, list) else ("set", key)
    sections = {field.alias or name for name, field in SweepConfig.model_fields.items()}
    if head in ("grid", "set", "derive") and rest:
        # Keys of these sections hold dots themselves: the longest that is written there wins.
        section = values.get(head)
        keys = [key for key in section if isinstance(key, str)] if isinstance(section, dict) else []
        written = [key for key in keys if rest.startswith(f"{key}.")]
        longest = max(written, key=len, default=rest)
        return (head, longest, *rest[len(longest) + 1 :].split(".")) if written else (head, rest)
    return tuple(key.split(".")) if head in sections or "." not in key else ("set", key)


def _put(values: dict[str, Any], path: tuple[str, ...], value: Any) -> bool:
    for step in path[:-1]:
        values = values.setdefault(step, {})
        if not isinstance(values, dict):
            return False
    values[path[-1]] = value
    return True
