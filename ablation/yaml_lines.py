"""YAML read safely, with the line on which every value stands.

Hostile files are the normal case here (issue trackers, mail attachments): no tag constructs
objects, and size, depth and aliases are bounded before anything is built.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times faster

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_NODES = 50_000

Where = tuple[str | int, ...]


class YamlError(ValueError):
    """A file that is no usable YAML; `line` is 1-based, 0 where there is none."""

    def __init__(self, line: int, text: str) -> None:
        self.line, self.text = line, text
        super().__init__(f"line {line}: {text}" if line else text)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: plain values, and the line of each by its path of keys and indices."""

    value: Any
    lines: dict[Where, int]

    def line(self, path: Where) -> int:
        """The line of a value, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(path: Path) -> Document:
    """Read one YAML file.

    Raises:
        YamlError: not readable, not UTF-8, not YAML, too large, too deep, or with doubled keys.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise YamlError(0, f"must be a readable file, found: {error.strerror}") from error
    return parse(raw)


def parse(raw: bytes) -> Document:
    """The same for bytes in hand."""
    if len(raw) > MAX_BYTES:
        raise YamlError(0, f"must be at most {MAX_BYTES} bytes, found {len(raw)}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise YamlError(line, f"must be UTF-8, found byte 0x{raw[error.start]:02x}") from error
    try:
        _check_depth(text)
        root = yaml.compose(text, Loader=Loader)
        if root is None:
            return Document(None, {})
        lines: dict[Where, int] = {}
        builder = _Builder(lines)
        return Document(builder.build(root, ()), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(part for part in (error.context, error.problem) if part)
        raise YamlError(mark.line + 1 if mark else 0, f"must be YAML, found: {words}") from error
    except yaml.YAMLError as error:
        raise YamlError(0, f"must be YAML, found: {' '.join(str(error).split())}") from error


def _check_depth(text: str) -> None:
    """Bound depth on the flat event stream: composing recurses, and would overflow first."""
    depth = 0
    for event in _events(text):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise YamlError(
                    event.start_mark.line + 1, f"must nest at most {MAX_DEPTH} levels deep"
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _events(text: str) -> Iterator[Any]:
    yield from yaml.parse(text, Loader=Loader)


class _Builder:
    """Nodes to plain values. Scalars go through PyYAML's safe constructor, nothing else does."""

    def __init__(self, lines: dict[Where, int]) -> None:
        self._lines = lines
        self._scalars = yaml.constructor.SafeConstructor()
        self._nodes = 0
        self._open: set[int] = set()

    def build(self, node: yaml.Node, path: Where) -> Any:
        line = _line(node)
        self._lines.setdefault(path, line)
        self._nodes += 1
        if self._nodes > MAX_NODES:  # aliases of aliases grow exponentially
            raise YamlError(line, f"must hold at most {MAX_NODES} values, aliases counted in full")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, line)
        if id(node) in self._open:
            raise YamlError(line, "an alias must not contain itself")
        self._open.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            built: Any = [self.build(child, (*path, i)) for i, child in enumerate(node.value)]
        else:
            assert isinstance(node, yaml.MappingNode)
            built = self._mapping(node, path)
        self._open.discard(id(node))
        return built

    def _mapping(self, node: yaml.MappingNode, path: Where) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError(line, "a key must be a word")
            key = str(key_node.value)
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged |= self._merge(value_node, path, line)
                continue
            if key in own:
                raise YamlError(line, f"key {key[:60]!r} stands twice")
            self._lines[(*path, key)] = line
            own[key] = self.build(value_node, (*path, key))
        return merged | own

    def _merge(self, node: yaml.Node, path: Where, line: int) -> dict[str, Any]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for part in reversed(parts):  # YAML: of several merged mappings, earlier ones win
            if not isinstance(part, yaml.MappingNode):
                raise YamlError(line, "'<<' must merge a mapping")
            merged |= self.build(part, path)
        return merged

    def _scalar(self, node: yaml.ScalarNode, line: int) -> Any:
        try:
            return self._scalars.construct_object(node)
        except (
            ValueError,
            OverflowError,
        ) as error:  # a date like 2024-99-99, an int of 5 000 digits
            raise YamlError(line, f"{node.value[:60]!r} can't be read: {error}") from error


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1 if node.start_mark is not None else 0
