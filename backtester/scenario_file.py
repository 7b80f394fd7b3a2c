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
        except (yaml.YAMLError, ValueError) as error:
            raise ScenarioError(
                f"`--set {key}` must have a YAML value: got {text!r}. Put text in quotes."
            ) from error
        path, node = self._descend(key.strip(), setting)
        node[path[-1]] = value
        # what stood below in the file has gone, and its lines with it
        for stale in [known for known in self._lines if known[: len(path)] == path]:
            del self._lines[stale]
        self._overridden[path] = f"--set {key.strip()}"

    def take(self, key: str, other: ScenarioFile) -> None:
        """Put a top-level key of another file, which holds nothing else, in place of this one's.

        Raises:
            ScenarioError: If it holds anything else.
        """
        if list(other.data) != [key]:
            got = ", ".join(map(str, other.data)) or "nothing"
            raise ScenarioError(
                f"{other.path}: the file must hold `{key}` alone, as `lightcone profile "
                f"--write-scenario` writes it: got {got}. For another scenario, run it and name "
                "the folder of its result."
            )
        for stale in [known for known in self._lines if known[:1] == (key,)]:
            del self._lines[stale]
        self.data[key] = other.data[key]
        self._overridden = {
            path: setting for path, setting in self._overridden.items() if path[:1] != (key,)
        } | {(key,): str(other.path)}

    def _descend(self, key: str, setting: str) -> tuple[Location, Any]:
        """Return a dotted key as a location, and the mapping or list that holds its last part."""
        node: Any = self.data
        path: list[str | int] = []
        names = key.split(".")
        for depth, name in enumerate(names):
            part = int(name) if isinstance(node, list) and _is_index(name) else name
            if not name or not (isinstance(node, dict) or _has(node, part)):
                raise ScenarioError(
                    f"`--set {setting}` must lead through keys that exist: "
                    f"{_described(node, '.'.join(names[:depth]), name)}."
                )
            path.append(part)
            if depth < len(names) - 1:
                if isinstance(node, dict) and node.get(part) is None:
                    node[part] = {}
                node = node[part]
        return tuple(path), node

    def where(self, location: Sequence[str | int]) -> str:
        """Return `file:line` of a part, or of the nearest part around it that the file holds."""
        path = tuple(location)
        while True:
            if path in self._overridden:
                return self._overridden[path]
            if path in self._lines:
                return f"{self.path}:{self._lines[path]}"
            for changed, setting in self._overridden.items():
                if path and changed[: len(path)] == path:
                    return setting
            if not path:
                return str(self.path)
            path = path[:-1]

    def locate(self, location: Sequence[str | int]) -> Location:
        """Return the part of a validator's location that exists in the file's structure.

        A validator names the branches of unions among the keys; a branch may be called like a key
        of the file (`sampling: {input: quotes}` is of the branch `input`). The reading that leads
        furthest down the location is taken.
        """
        return _longest(self.data, tuple(location))[1]


def load_yaml(path: Path) -> ScenarioFile:
    """Read a YAML file whose top level is a mapping.

    Raises:
        ScenarioError: If the file is missing, is no YAML, repeats a key or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ScenarioError(f"`{path}` must be a scenario file: there is no such file.") from error
    except IsADirectoryError as error:
        raise ScenarioError(f"`{path}` must be a scenario file: it is a folder.") from error
    except OSError as error:
        raise ScenarioError(f"`{path}` must be a readable file: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"`{path}` must be a text file, in UTF-8: {error}.") from error
    loader: _TextInstants | None = None
    try:
        loader = _TextInstants(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise ScenarioError(f"{path}: the file must hold a mapping of keys to values.")
        lines: dict[Location, int] = {}
        _note_lines(root, (), lines, path, ())
        return ScenarioFile(path, loader.construct_document(root), lines)
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, ScenarioError):
            raise
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or error
        raise ScenarioError(f"{where}: the file must be YAML: {problem}.") from error
    finally:
        if loader is not None:
            loader.dispose()


class _TextInstants(yaml.SafeLoader):
    """YAML without timestamps: PyYAML's have microseconds only, and no zone unless asked."""


_TextInstants.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _note_lines(
    node: yaml.Node,
    path: Location,
    lines: dict[Location, int],
    file: Path,
    around: tuple[yaml.Node, ...],
) -> None:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if any(node is outer for outer in around):
        raise ScenarioError(f"{file}:{line}: `{_dotted(path)}` must not contain itself.")
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ScenarioError(f"{file}:{line}: a key must be text: got a {key.id}.")
            below = (*path, key.value)
            if below in lines:
                raise ScenarioError(
                    f"{file}:{line}: `{key.value}` must be given once: it stands at line "
                    f"{lines[below]} already. Remove one of them."
                )
            lines[below] = line
            _note_lines(value, below, lines, file, (*around, node))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _note_lines(value, (*path, index), lines, file, (*around, node))


def _longest(node: Any, location: Location) -> tuple[tuple[bool, int], Location]:
    """Return how far a location leads (does its last part exist, how many do), and the parts."""
    if not location:
        return (False, 0), ()
    skipped = _longest(node, location[1:])
    if not _has(node, location[0]):
        return skipped
    (to_end, depth), below = _longest(node[location[0]], location[1:])
    taken = ((to_end or len(location) == 1, depth + 1), (location[0], *below))
    return taken if taken[0] >= skipped[0] else skipped


def _described(node: Any, around: str, part: str) -> str:
    what = f"`{around}`" if around else "the scenario"
    if isinstance(node, list):
        return f"{what} is a list of {len(node)}, counted from 0, and has no item {part!r}"
    if isinstance(node, dict):
        return f"a key below {what} is empty"
    return f"{what} is {node!r} and holds no keys"


def _dotted(path: Location) -> str:
    return ".".join(map(str, path))


def _is_index(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _has(node: Any, part: str | int) -> bool:
    if isinstance(node, list):
        return isinstance(part, int) and part < len(node)
    return isinstance(node, dict) and part in node
