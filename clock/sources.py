"""What a source is made of: itself, and all that it imports from our packages, however far away.

Imports are read from the text, so nothing is run: those inside functions, of types alone and in
examples count too, which is more than needed and never less. What cannot be read from the text, a
module whose name is made at run time, makes a source depend on every source there is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGES = ("backtester", "clock", "featurizer", "inference")

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<home>[\w.]+)[ \t]+import[ \t]+"
    r"(?P<names>\((?:[^()#]|#[^\n]*)*\)|[^\n#;]*)|import[ \t]+(?P<modules>[^\n#;]+))",
    re.MULTILINE,
)
_COMMENT = re.compile(r"#[^\n]*")
_CANNOT_BE_READ = re.compile(r"import_modul[e]|__impor[t]__|from [.]")  # not this line itself


def source_digest(root: Path, packages: Iterable[str] = PACKAGES) -> str:
    """Return a digest of every Python source of the packages below a folder.

    It depends on the files' names relative to *root* and on their bytes, not on where the root is.
    Missing packages count as empty.
    """
    digest = hashlib.blake2b(digest_size=12)
    for package in sorted(packages):
        for path in sorted((root / package).rglob("*.py")):
            content = path.read_bytes()
            name = path.relative_to(root).as_posix()
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


class Sources:
    """The sources below a folder, each read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._digests: dict[Path, bytes] = {}
        self._imports: dict[Path, frozenset[Path] | None] = {}

    def digest(self, source: Path) -> str:
        """Return a digest of all that a source is made of.

        A source that is none of ours counts as made of all of ours.
        """
        closure = self.closure(source)
        if closure is None:
            return source_digest(self.root)
        digest = hashlib.blake2b(digest_size=12)
        for path in sorted(closure):
            digest.update(path.relative_to(self.root).as_posix().encode() + self._digests[path])
        return digest.hexdigest()

    def closure(self, source: Path) -> set[Path] | None:
        """Return a source and all that it imports of ours, or None where only running it tells."""
        if not any(source.is_relative_to(self.root / package) for package in PACKAGES):
            return None
        found, ahead = {source}, [source]
        while ahead:
            imports = self._imported(ahead.pop())
            if imports is None:
                return None
            ahead.extend(imports - found)
            found |= imports
        return found

    def _imported(self, source: Path) -> frozenset[Path] | None:
        if source not in self._imports:
            content = source.read_bytes()
            self._digests[source] = hashlib.blake2b(content, digest_size=12).digest()
            text = content.decode().replace("\\\n", " ")
            told = _CANNOT_BE_READ.search(text) is None
            self._imports[source] = frozenset(self._named(text)) if told else None
        return self._imports[source]

    def _named(self, text: str) -> Iterator[Path]:
        """Yield the files that import statements name."""
        for match in _IMPORT.finditer(text):
            if match["home"] is not None:
                yield from self._of_module(match["home"], _COMMENT.sub("", match["names"]))
            else:
                for module in re.findall(r"[\w.]+", match["modules"]):
                    yield from self._of_module(module, "")

    def _of_module(self, module: str, names: str) -> Iterator[Path]:
        """Yield a module's file or, of a package, its own and those of the modules named."""
        if module.split(".")[0] not in PACKAGES:
            return
        place = self.root.joinpath(*module.split("."))
        if place.is_dir():
            files = [place / "__init__.py"]
            files += [place / f"{name}.py" for name in re.findall(r"\w+", names)]
            files += [place / name / "__init__.py" for name in re.findall(r"\w+", names)]
        else:
            files = [place.with_suffix(".py")]
        yield from (file for file in files if file.is_file())
