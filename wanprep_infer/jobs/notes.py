"""What the loading of a model has to say, such as LoRA tensors that are of no part of it: said with every video."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGER = "wanprep.models"


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self.texts:
            self.texts.append(text)


@contextmanager
def warnings_of_loading() -> Iterator[list[str]]:
    """A list that warnings are added to for the length of the block, each once. Nobody else shows them: this
    software's log is silent unless a program listens."""
    collector, logger = _Collector(), logging.getLogger(_LOGGER)
    logger.addHandler(collector)
    try:
        yield collector.texts
    finally:
        logger.removeHandler(collector)
