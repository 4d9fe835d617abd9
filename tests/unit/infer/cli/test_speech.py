"""Speech for a generation: what a program of the user's has written, whole or not at all."""

from __future__ import annotations

import shlex
import sys
import wave
from pathlib import Path

import pytest

from wanprep_infer.from_media import speech
from wanprep_infer.s2v.tts import SpeechFailed

SPEAKER = """
import os, sys, wave
first = not os.path.exists(sys.argv[0] + ".log")
open(sys.argv[0] + ".log", "a").write("spoken ")
with wave.open(sys.argv[1], "wb") as file:
    file.setparams((1, 2, 16000, 0, "NONE", ""))
    file.writeframes(bytes(2000 if first else 32000))
sys.exit(first)
"""


def test_speech_that_broke_off_is_not_taken_for_whole(tmp_path: Path) -> None:
    """Named after the bug: what a program had written before it failed was taken by the next run."""
    (tmp_path / "speak.py").write_text(SPEAKER)
    (tmp_path / "a text.txt").write_text("to be spoken")
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(tmp_path / 'speak.py'))} {{out}}"
    texts, out = [str(tmp_path / "a text.txt")], tmp_path / "out"
    with pytest.raises(SpeechFailed, match="ended with exit code 1"):
        speech(command, texts, out)
    assert list(out.iterdir()) == []
    (sound,) = speech(command, texts, out)
    with wave.open(sound, "rb") as file:
        assert file.getnframes() == 16_000
    assert [str(path) for path in out.iterdir()] == [sound]
    assert speech(command, texts, out) == [sound]
    assert (tmp_path / "speak.py.log").read_text().count("spoken") == 2, "what is there is not spoken again"
