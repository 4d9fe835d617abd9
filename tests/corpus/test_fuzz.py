"""Files with random damage end with a cause or whole: no other exception, no crash, no hang."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from helpers.corpus.fuzz import judged
from helpers.corpus.mutate import Mutation, drive, mutated
from helpers.corpus.run import run_process
from helpers.media import write_video
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TESTS = Path(__file__).parents[1]

mutations = st.lists(
    st.builds(
        Mutation,
        kind=st.sampled_from(["flip", "cut", "insert", "copy", "set"]),
        at=st.floats(0, 1),
        size=st.sampled_from([1, 2, 4, 8, 60, 1000]),
        value=st.integers(0, 255),
    ),
    min_size=1,
    max_size=8,
)


CODECS = {
    "h264.mp4": ("libx264", "yuv420p"),
    "h264.mkv": ("libx264", "yuv420p"),
    "ten_bit.mp4": ("libx264", "yuv422p10le"),
    "hevc.mkv": ("libx265", "yuv420p"),
    "mpeg2.ts": ("mpeg2video", "yuv420p"),
    "vp9.webm": ("libvpx-vp9", "yuv420p"),
    "mpeg4.avi": ("mpeg4", "yuv420p"),
    "prores.mov": ("prores_ks", "yuv422p10le"),
    "png.mov": ("png", "rgb24"),
    "ffv1.mkv": ("ffv1", "bgra"),
    "bare.h264": ("libx264", "yuv420p"),
}


def sample(name: str, folder: Path) -> Path:
    """12 frames; sound too where it is H.264 in a container."""
    codec, pixel_format = CODECS[name]
    sound = name in ("h264.mp4", "h264.mkv")
    return write_video(folder / name, 12, codec=codec, pixel_format=pixel_format, sound=sound, b_frames=1)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("samples")
    return {Path(name).suffix: sample(name, folder).read_bytes() for name in ("h264.mp4", "h264.mkv")}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_damage_ends_with_a_cause(suffix: str, samples: dict[str, bytes]) -> None:
    assert drive(samples[suffix], suffix) is None

    @settings(max_examples=100, suppress_health_check=list(HealthCheck))
    @given(changes=mutations)
    def check(changes: list[Mutation]) -> None:
        judged(mutated(samples[suffix], changes), suffix)

    check()


def test_header_bytes_one_by_one(samples: dict[str, bytes]) -> None:
    """The index of an MP4 is where a wrong number does most: one byte of 32 set to its worst."""
    data = samples[".mp4"]
    start = data.index(b"moov")
    for at in range(start, len(data), 32):
        judged(data[:at] + b"\xff" + data[at + 1 :], ".mp4")


def test_crash_of_a_process_is_seen() -> None:
    finished = run_process([sys.executable, "-c", "import ctypes; ctypes.string_at(0)"], 60)
    assert finished.code == -signal.SIGSEGV


def test_hang_of_a_process_is_ended() -> None:
    finished = run_process([sys.executable, "-c", "import time; time.sleep(60)"], 0.5)
    assert finished.code == -signal.SIGKILL
    assert finished.seconds < 30


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CODECS)
def test_long_fuzzing_in_a_process_of_its_own(name: str, tmp_path: Path) -> None:
    """A crash of the decoder is seen here, with the seed that made it."""
    journal = tmp_path / "journal"
    command = [sys.executable, "-m", "helpers.corpus.fuzz", str(sample(name, tmp_path)), str(journal), "1000"]
    finished = run_process(command, 600, cwd=TESTS)
    said = journal.read_text()
    assert finished.code == 0, f"code {finished.code} at {said}: {finished.stderr[-2000:]}"
    assert finished.stderr == ""
    assert finished.peak_bytes < 1 << 30, f"{finished.peak_bytes >> 20} MiB"
