"""The example of docs/python-api.md does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from helpers.media import write_video

PAGE = Path(__file__).parents[2] / "docs" / "python-api.md"


def example() -> str:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1
    return blocks[0]


def test_example_is_ten_lines() -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= 10


def test_example_runs(tmp_path: Path) -> None:
    write_video(tmp_path / "videos/clip.mp4", 12, size=(160, 96))
    done = subprocess.run(
        [sys.executable, "-c", example()], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first == "1 done, 0 failed"
    # 12 frames at 25 fps are 0.48 s: 8 frames and 7 pairs at 16 fps; 96 is the shorter side, and is not enlarged.
    clip_id, shape, motion = re.fullmatch(r"(\S+) (\(.*\)) (\S+)", second).groups()  # type: ignore[union-attr]
    assert clip_id.startswith("clip-") and shape == "(7, 96, 160, 2)"
    assert float(motion) >= 0
