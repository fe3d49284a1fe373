"""A YAML file as plain values, with the position of every key and item.

PyYAML composes the nodes; scalars are resolved here (see :mod:`scaling.numbers`), because PyYAML's own rules are
those of YAML 1.1, where ``1e-3`` is text and ``on`` is true, and where the second of two equal keys silently wins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from scaling.config.problems import dotted
from scaling.errors import ConfigError
from scaling.files import machine_error
from scaling.numbers import resolve_scalar

Path_ = tuple[str | int, ...]
"""Where a value stands in a document: ``("grid", "model.width", 1)``."""

MOST_BYTES = 2_000_000
_MOST_NODES = 200_000
_STRING_TAG = "tag:yaml.org,2002:str"
_KNOWN_TAGS = {_STRING_TAG, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


@dataclass(frozen=True, kw_only=True)
class Document:
    """Values of a file, and where each one is written.

    Attributes:
        values: the mapping at the top of the file.
        marks: ``file:line:col`` of every key and every list item, by its path; ``()`` is the file's beginning.
    """

    values: dict[str, Any]
    marks: dict[Path_, str]

    def mark(self, path: Path_) -> str:
        """The position of a path, or of the nearest thing around it that is written in the file."""
        while path not in self.marks and path:
            path = path[:-1]
        return self.marks.get(path, "sweep")


def read_document(path: str | Path) -> Document:
    """Read a YAML mapping.

    Raises:
        ConfigError: if the file is absent, not text, not YAML, not a mapping, or has duplicate keys: all of these that
            can be seen at once.
    """
    return parse_document(read_text(Path(path)), str(path))


def read_text(path: Path) -> str:
    """The text of a file that is a file, and not larger than a sweep file can be.

    Raises:
        ConfigError: it is absent, no file, too large, or not text.
    """
    name = str(path) if str(path).isprintable() else repr(str(path))
    try:
        # A device or a pipe would be read for ever.
        if path.exists() and not path.is_file():
            raise ConfigError([f"{name}:1:1: is not a file — name a sweep file"])
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ConfigError([f"{name}:1:1: is larger than {MOST_BYTES:,} bytes — a sweep file takes a few thousand"])
        return content.decode("utf-8")
    except FileNotFoundError as error:
        raise ConfigError([f"{name}:1:1: no such file — write one with `scaling init {name}`"]) from error
    except PermissionError as error:
        raise machine_error(error) or error from error
    except (OSError, ValueError) as error:
        raise ConfigError([f"{name}:1:1: cannot be read as UTF-8 text — {error}"]) from error


def parse_document(text: str, name: str) -> Document:
    """The same from a string; ``name`` stands for the file in every position."""
    reader = _Reader(name)
    root = reader.compose(text)
    values = {} if root is None else reader.value(root, ())
    if root is not None and not isinstance(values, dict):
        reader.problem(root, (), "a sweep file is a mapping of keys to values — see `scaling init`")
    if reader.problems:
        raise ConfigError(reader.problems)
    reader.marks.setdefault((), f"{name}:1:1")
    return Document(values=values, marks=reader.marks)


def to_yaml(values: dict[str, Any]) -> str:
    """Values as a file that reads back as these."""
    return yaml.dump(values, Dumper=_QuotingDumper, sort_keys=False, allow_unicode=True)


class _QuotingDumper(yaml.SafeDumper):
    """Quotes text that would be read as something else here, beyond what PyYAML's own rules take for no text."""


def _quoted(dumper: _QuotingDumper, text: str) -> yaml.ScalarNode:
    style = None if resolve_scalar(text) == text else "'"
    # Line breaks of Unicode are folded to a space by every style that does not escape them.
    return dumper.represent_scalar(_STRING_TAG, text, style=style if text.isprintable() else '"')


_QuotingDumper.add_representer(str, _quoted)


class _PlainLoader(yaml.SafeLoader):
    """Leaves every scalar as text; the reader resolves them."""

    yaml_implicit_resolvers: dict = {}


@dataclass
class _Reader:
    name: str
    problems: list[str] = field(default_factory=list)
    marks: dict[Path_, str] = field(default_factory=dict)
    n_nodes: int = 0
    open_nodes: set[int] = field(default_factory=set)

    def compose(self, text: str) -> yaml.Node | None:
        try:
            return yaml.compose(text, Loader=_PlainLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
            what = " ".join(str(part) for part in (error.problem, error.context) if part)
            raise ConfigError([f"{self.name}:{place}: not valid YAML — {what}"]) from error
        except yaml.YAMLError as error:
            raise ConfigError([f"{self.name}:1:1: not valid YAML — {' '.join(str(error).split())}"]) from error
        except RecursionError as error:
            raise ConfigError([f"{self.name}:1:1: nested too deeply — a sweep needs about ten levels"]) from error

    def value(self, node: yaml.Node, path: Path_) -> Any:
        self.n_nodes += 1
        if id(node) in self.open_nodes:
            return self.problem(node, path, "an alias that contains itself — write the value out")
        if self.n_nodes > _MOST_NODES:
            if self.n_nodes == _MOST_NODES + 1:
                self.problem(
                    node, path, f"more than {_MOST_NODES:,} values once aliases are followed — write a smaller file"
                )
            return None
        if node.tag not in _KNOWN_TAGS:
            return self.problem(node, path, f"tag {node.tag!r} has no meaning here — write a plain value")
        if isinstance(node, yaml.ScalarNode):
            return resolve_scalar(node.value) if node.style is None else node.value
        self.open_nodes.add(id(node))
        try:
            return self._mapping(node, path) if isinstance(node, yaml.MappingNode) else self._sequence(node, path)
        finally:
            self.open_nodes.discard(id(node))

    def _sequence(self, node: yaml.Node, path: Path_) -> list[Any]:
        items = []
        for index, child in enumerate(node.value):
            self.marks[*path, index] = self.position(child)
            items.append(self.value(child, (*path, index)))
        return items

    def _mapping(self, node: yaml.Node, path: Path_) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, child in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or not key:
                self.problem(key_node, path, "a key must be a word")
            elif key in values:
                self.problem(key_node, (*path, key), f"written twice; first at {self.marks[*path, key]} — keep one")
            else:
                self.marks[*path, key] = self.position(key_node)
                values[key] = self.value(child, (*path, key))
        return values

    def position(self, node: yaml.Node) -> str:
        return f"{self.name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def problem(self, node: yaml.Node, path: Path_, what: str) -> None:
        key = f"{dotted(path)}: " if path else ""
        self.problems.append(f"{self.position(node)}: {key}{what}")
