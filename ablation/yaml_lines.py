"""YAML read safely, with the line on which every value stands.

Hostile files are the normal case here (issue trackers, mail attachments): no tag constructs
objects, and size, depth and aliases are bounded before anything is built.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times faster

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
TOO_DEEP = f"must nest at most {MAX_DEPTH} levels deep"
MAX_NODES = 50_000
MAX_NUMBER = 100  # characters of a number; a double needs 24 at most
SHOWN = 60  # characters of a wrong key or scalar in a message

# As YAML 1.1 has it, and as libyaml refuses it without saying where.
CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

STANDARD = "tag:yaml.org,2002:"
MAPPING, SEQUENCE, MERGE = f"{STANDARD}map", f"{STANDARD}seq", f"{STANDARD}merge"
SCALARS = frozenset(f"{STANDARD}{name}" for name in ("str", "int", "float", "bool", "null"))
TEXTS = frozenset(f"{STANDARD}{name}" for name in ("timestamp", "value", "merge"))  # kept as text

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
        with path.open("rb") as file:  # a pipe or a device too, which may never end
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        text = f"must be a readable file, found: {reason[0].lower()}{reason[1:]}"
        raise YamlError(0, text) from error
    return parse(raw)


def parse(raw: bytes) -> Document:
    """The same for bytes in hand."""
    if len(raw) > MAX_BYTES:
        raise YamlError(0, f"must be at most {MAX_BYTES} bytes, found more")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise YamlError(line, f"must be UTF-8, found byte 0x{raw[error.start]:02x}") from error
    if stray := CONTROL.search(text):
        line = text.count("\n", 0, stray.start()) + 1
        raise YamlError(line, f"must be text, found the character U+{ord(stray[0]):04X}")
    try:
        _check_depth(text)
        root = yaml.compose(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, text) from error
    except yaml.YAMLError as error:
        raise YamlError(0, f"must be YAML, found: {' '.join(str(error).split())}") from error
    if root is None:
        return Document(None, {})
    builder = _Builder()
    return Document(builder.build(root, ()), builder.lines)


def _not_yaml(error: yaml.MarkedYAMLError, text: str) -> YamlError:
    mark: Any = error.problem_mark or error.context_mark
    lines = text.rstrip("\n").split("\n")
    line = min(mark.line + 1, len(lines)) if mark is not None else 0  # the end has a line beyond
    if re.match(r" *\t", lines[line - 1]):
        return YamlError(line, "must be indented with spaces, found a tab")
    words = " ".join(part for part in (error.context, error.problem) if part)
    if "nesting depth" in words:  # libyaml looks ahead, and has a bound of its own
        return YamlError(line, TOO_DEEP)
    return YamlError(line, f"must be YAML, found: {' '.join(words.split())}")


def _check_depth(text: str) -> None:
    """Bound depth on the flat event stream: composing recurses, and would overflow first."""
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise YamlError(_line(event), TOO_DEEP)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Builder:
    """Nodes to plain values. Scalars go through PyYAML's safe constructor, nothing else does."""

    def __init__(self) -> None:
        self.lines: dict[Where, int] = {}
        self._scalars = yaml.constructor.SafeConstructor()
        self._nodes = 0
        self._open: set[int] = set()

    def build(self, node: yaml.Node, path: Where) -> Any:
        line = _line(node)
        self.lines.setdefault(path, line)
        self._nodes += 1
        if self._nodes > MAX_NODES:  # aliases of aliases grow exponentially
            raise YamlError(line, f"must hold at most {MAX_NODES} values, aliases counted in full")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, line)
        if id(node) in self._open:
            raise YamlError(line, "an alias must not contain itself")
        if len(self._open) >= MAX_DEPTH:  # a chain of aliases is as deep as it is long
            text = f"{TOO_DEEP}, aliases counted in full"
            raise YamlError(line, text)
        self._open.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            _check_tag(node, SEQUENCE)
            built: Any = [self.build(child, (*path, i)) for i, child in enumerate(node.value)]
        else:
            assert isinstance(node, yaml.MappingNode)
            _check_tag(node, MAPPING)
            built = self._mapping(node, path)
        self._open.discard(id(node))
        return built

    def _mapping(self, node: yaml.MappingNode, path: Where) -> dict[str, Any]:
        own: dict[str, tuple[yaml.Node, int]] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError(line, "a key must be a word")
            if key_node.tag == MERGE:
                merged |= self._merge(value_node, path, line)
                continue
            if key_node.tag not in SCALARS | TEXTS:
                raise _forbidden(key_node)
            key = str(key_node.value)
            if key in own:
                raise YamlError(line, f"key {key[:SHOWN]!r} stands twice")
            own[key] = value_node, line
        # After the merges: where both have a key, value and line are the mapping's own.
        for key, (value_node, line) in own.items():
            self.lines[(*path, key)] = line
            merged[key] = self.build(value_node, (*path, key))
        return merged

    def _merge(self, node: yaml.Node, path: Where, line: int) -> dict[str, Any]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for part in reversed(parts):  # YAML: of several merged mappings, earlier ones win
            if not isinstance(part, yaml.MappingNode):
                raise YamlError(line, "'<<' must merge a mapping")
            merged |= self.build(part, path)
        return merged

    def _scalar(self, node: yaml.ScalarNode, line: int) -> Any:
        if node.tag in TEXTS:
            return node.value
        if node.tag not in SCALARS:
            raise _forbidden(node)
        if node.tag != f"{STANDARD}str" and len(node.value) > MAX_NUMBER:
            text = f"must have at most {MAX_NUMBER} characters, found {len(node.value)}"
            raise YamlError(line, f"a number {text}")
        try:
            return self._scalars.construct_object(node)
        except (ValueError, LookupError) as error:  # `!!int x`, `!!bool x`, `0x_`
            kind = node.tag.removeprefix(STANDARD)
            raise YamlError(line, f"{node.value[:SHOWN]!r} can't be read as !!{kind}") from error


def _check_tag(node: yaml.Node, plain: str) -> None:
    if node.tag != plain:
        raise _forbidden(node)


def _forbidden(node: yaml.Node) -> YamlError:
    tag = str(node.tag).replace(STANDARD, "!!")
    return YamlError(_line(node), f"must be plain values without tags, found {tag[:SHOWN]!r}")


def _line(place: Any) -> int:
    return place.start_mark.line + 1 if place.start_mark is not None else 0
