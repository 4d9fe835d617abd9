"""What the tests of plans share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.bench import Bench


@pytest.fixture
def bench(tmp_path: Path, add_stages: Callable[..., None]) -> Bench:
    made = Bench(tmp_path, add_stages)
    for number, name in enumerate(("a", "b")):
        made.rows.append(
            {"id": name, "video": made.video(f"{name}.mp4", seed=9 * number), "prompt": f"prompt {name}"}
        )
    return made
