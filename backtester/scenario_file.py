"""A YAML file read with the line of every key, so that messages can point at it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from backtester.errors import ScenarioError

__all__ = ["ScenarioFile", "load_yaml"]

Location = tuple[str | int, ...]


class ScenarioFile:
    """The content of a scenario file and where each part of it stands.

    Attributes:
        path: The file.
        data: Plain content; instants and dates stay text, for `clock.units` alone parses them.
    """

    def __init__(self, path: Path, data: dict[str, Any], lines: dict[Location, int]) -> None:
        self.path = path
        self.data = data
        self._lines = lines
        self._overridden: dict[Location, str] = {}

    def override(self, setting: str) -> None:
        """Set one dotted key, as in `inference_config.num_replicas=4`.

        Args:
            setting: `key=value`; the value is YAML.

        Raises:
            ScenarioError: If it has no `=`, the value is no YAML or the key leads through a value.
        """
        key, separator, text = setting.partition("=")
        if not separator or not key.strip():
            raise ScenarioError(
                f"`--set` must be written as dotted.key=value: got {setting!r}. "
                "Write for example --set inference_config.num_replicas=4."
            )
        try:
            value = yaml.load(text, _TextInstants)
        except yaml.YAMLError as error:
            raise ScenarioError(f"`--set {key}` must have a YAML value: got {text!r}.") from error
        node: Any = self.data
        parts = _parts(key)
        for depth, part in enumerate(parts[:-1]):
            node = _step(node, part, setting, ".".join(map(str, parts[:depth])))
        last = parts[-1]
        if isinstance(node, dict) or _has(node, last):
            node[last] = value
        else:
            raise ScenarioError(
                f"`--set {setting}` must name a key of a mapping: got {type(node).__name__} at "
                f"{'.'.join(map(str, parts[:-1])) or 'the top'}."
            )
        self._overridden[tuple(parts)] = f"--set {key}"

    def where(self, location: Sequence[str | int]) -> str:
        """Return `file:line` of a part, or of the nearest part around it that the file holds."""
        path = tuple(location)
        while True:
            if path in self._overridden:
                return self._overridden[path]
            if path in self._lines:
                return f"{self.path}:{self._lines[path]}"
            if not path:
                return str(self.path)
            path = path[:-1]

    def locate(self, location: Sequence[str | int]) -> Location:
        """Return the part of a validator's location that exists in the file's structure."""
        found: list[str | int] = []
        node: Any = self.data
        for part in location:
            if _has(node, part):
                node = node[part]
                found.append(part)
        return tuple(found)


def load_yaml(path: Path) -> ScenarioFile:
    """Read a YAML file whose top level is a mapping.

    Raises:
        ScenarioError: If the file is missing, is no YAML, repeats a key or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ScenarioError(f"`{path}` must be a scenario file: there is no such file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"`{path}` must be a readable text file: {error}.") from error
    loader = _TextInstants(text)
    try:
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise ScenarioError(f"{path}: the file must hold a mapping of keys to values.")
        lines: dict[Location, int] = {}
        _note_lines(root, (), lines, path)
        return ScenarioFile(path, loader.construct_document(root), lines)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or error
        raise ScenarioError(f"{where}: the file must be YAML: {problem}.") from error
    finally:
        loader.dispose()


class _TextInstants(yaml.SafeLoader):
    """YAML without timestamps: PyYAML's have microseconds only, and no zone unless asked."""


_TextInstants.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _note_lines(node: yaml.Node, path: Location, lines: dict[Location, int], file: Path) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, key.value)
            line = key.start_mark.line + 1
            if below in lines:
                raise ScenarioError(
                    f"{file}:{line}: `{key.value}` must be given once: it stands at line "
                    f"{lines[below]} already. Remove one of them."
                )
            lines[below] = line
            _note_lines(value, below, lines, file)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _note_lines(value, (*path, index), lines, file)


def _parts(key: str) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in key.strip().split(".")]


def _step(node: Any, part: str | int, setting: str, around: str) -> Any:
    if isinstance(node, list) and _has(node, part):
        return node[part]
    if isinstance(node, dict):
        if node.get(part) is None:
            node[part] = {}
        return node[part]
    raise ScenarioError(
        f"`--set {setting}` must lead through mappings: `{around}` is a {type(node).__name__}."
    )


def _has(node: Any, part: str | int) -> bool:
    if isinstance(node, list):
        return isinstance(part, int) and part < len(node)
    return isinstance(node, dict) and part in node
