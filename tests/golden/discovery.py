"""From a folder of golden vectors to a list of tests: one a case, and one for each file nobody knows."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from golden import topics
from golden.golden_file import GoldenFile
from golden.topic import Topic

ENVIRONMENT = "WANPREP_GOLDEN"
OWN = Path(__file__).parents[1] / "data" / "golden"
FOLDERS = ("animate", "s2v")
_NO_VECTORS = ("README.md",)


@dataclass(frozen=True)
class Case:
    """One test: a case of a file, or what is wrong with the file."""

    subject: str  # the topic's module, or "unknown"
    file: GoldenFile
    name: str = ""
    topic: Topic | None = None
    failed: str | None = None

    @property
    def id(self) -> str:
        """Names subject, file and case, so that `-k` finds a test by any of them."""
        return "-".join(part for part in (self.subject, self.file.name, self.name) if part)


def folder() -> Path:
    """The folder that `WANPREP_GOLDEN` names, or this project's own."""
    return Path(os.environ.get(ENVIRONMENT) or OWN)


def known_topics() -> dict[str, list[Topic]]:
    """Module name -> its topics, for every module of `golden.topics`."""
    found: dict[str, list[Topic]] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(topics.__path__)):
        found[module] = list(import_module(f"golden.topics.{module}").TOPICS)
    return found


def discover(root: Path, known: Mapping[str, list[Topic]] | None = None) -> list[Case]:
    """All tests of a folder, in a stable order.

    Raises:
        FileNotFoundError: it has neither of the sub-folders.
    """
    known = known_topics() if known is None else known
    present = [root / name for name in FOLDERS if (root / name).is_dir()]
    if not present:
        raise FileNotFoundError(f"{root} has no sub-folder {' or '.join(FOLDERS)} with golden vectors")
    found: list[Case] = []
    for sub_folder in present:
        for path in sorted(sub_folder.iterdir()):
            if path.name not in _NO_VECTORS:
                found.extend(_of_file(GoldenFile(path), known))
    return found


def _of_file(file: GoldenFile, known: Mapping[str, list[Topic]]) -> Iterator[Case]:
    mine = [(module, topic) for module, listed in known.items() for topic in listed if topic.has(file.name)]
    for module, topic in mine:
        try:
            names = list(topic.cases(file))
        except Exception as error:  # a file that cannot be read is a failing test, not a broken run
            yield Case(module, file, failed=f"{file.name} is unreadable: {type(error).__name__}: {error}")
            continue
        for name in names:
            yield Case(module, file, name, topic)
        if not names:
            yield Case(module, file, failed=f"{file.name} holds no case")
    if not mine and not any(topic.is_companion(file.name) for listed in known.values() for topic in listed):
        yield Case("unknown", file, failed=f"{file.name}: no topic knows this file")
