"""Puts the plug-in of misbehaving stages where an installed one would be, for this process and for Ray's."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wanprep import registry

sys.path.append(str(Path(__file__).parent))  # small_jobs, for the tests of this folder
PLUGINS = str(Path(__file__).parent.parent / "plugins")


@pytest.fixture(scope="module", autouse=True)
def plugins() -> Iterator[None]:
    before = os.environ.get("PYTHONPATH")
    sys.path.insert(0, PLUGINS)
    os.environ["PYTHONPATH"] = PLUGINS if before is None else PLUGINS + os.pathsep + before
    registry._entries.cache_clear()
    yield
    sys.path.remove(PLUGINS)
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
    registry._entries.cache_clear()
