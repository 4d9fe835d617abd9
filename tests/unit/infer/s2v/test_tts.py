"""The text-to-speech hook: a program, a text, a sound file."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

import pytest

from wanprep.errors import UsageError
from wanprep_infer.s2v.tts import SpeechFailed, speak

# Writes as many hundredths of a second as the text has letters, and the text beside it.
PROGRAM = """
import sys, wave
text, out = sys.argv[1], sys.argv[2]
open(out + ".txt", "w").write(text)
with wave.open(out, "wb") as file:
    file.setparams((1, 2, 16000, 0, "NONE", ""))
    file.writeframes(b"\\x10\\x10" * (160 * len(text)))
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "a voice.py"
    path.write_text(PROGRAM)
    return shlex.join([sys.executable, str(path)])


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code, "{out}"])


@pytest.mark.parametrize(
    "text", ["Good morning", 'it\'s "5 $HOME; rm -rf /" `id` {out} {text}', "-- 你好\nsecond line"]
)
def test_text_is_one_argument_whatever_it_holds(text: str, program: str, tmp_path: Path) -> None:
    out = speak(f"{program} {{text}} {{out}}", text, tmp_path / "sounds" / "speech.wav")
    assert out == tmp_path / "sounds" / "speech.wav" and out.is_file()
    assert Path(f"{out}.txt").read_text() == text


def test_placeholders_may_be_parts_of_a_word(tmp_path: Path) -> None:
    code = "import sys,shutil; shutil.copy(sys.argv[1].split('=')[1], sys.argv[2].split('=')[1])"
    source = speak(f"{python(WRITE)}", "given", tmp_path / "a.wav")
    command = shlex.join([sys.executable, "-c", code, f"--from={source}", "--to={out}"])
    assert speak(command, "again", tmp_path / "b.wav").is_file()


WRITE = (
    "import sys, wave; f = wave.open(sys.argv[1], 'wb'); f.setparams((1, 2, 16000, 0, 'NONE', '')); "
    "f.writeframes(b'\\0\\0' * (1600 if sys.stdin.read() == 'given' else 16)); f.close()"
)


def test_without_a_place_for_it_text_is_on_standard_input(tmp_path: Path) -> None:
    assert speak(python(WRITE), "given", tmp_path / "a.wav").stat().st_size == 44 + 3200


@pytest.mark.parametrize(
    ("command", "text", "why"),
    [
        ("", "hello", "is empty"),
        ("say 'hello {out}", "hello", "does not split into words"),
        ("say {text}", "hello", r"does not say where the sound goes; put \{out\} into it"),
        ("/no/such/voice {out}", "hello", "/no/such/voice cannot be started"),
        ("say {out}", "  \n", "no text to speak"),
        ("say {text} {out}", "a\0b", "null character"),
    ],
)
def test_a_bad_command_is_a_usage_error_of_one_line(
    command: str, text: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=why) as raised:
        speak(command, text, tmp_path / "a.wav")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import sys; print('loading'); sys.exit('no such voice')", "exit code 1: no such voice"),
        ("raise SystemExit(3)", "ended with exit code 3"),
        ("pass", "ended well but wrote no"),
        ("import sys; open(sys.argv[1], 'w').write('hello')", "is no sound"),
        ("import sys; open(sys.argv[1], 'w')", "is no sound"),
    ],
)
def test_what_went_wrong_is_said_in_one_line(code: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(SpeechFailed, match=why) as raised:
        speak(python(code), "hello", tmp_path / "a.wav")
    assert "\n" not in str(raised.value)


def test_sound_of_an_earlier_run_does_not_pass_for_a_result(tmp_path: Path) -> None:
    speak(python(WRITE), "given", tmp_path / "a.wav")
    with pytest.raises(SpeechFailed, match="wrote no"):
        speak(python("pass"), "hello", tmp_path / "a.wav")


def test_a_program_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(p.pid)); time.sleep(60)"
    )
    started = time.monotonic()
    with pytest.raises(SpeechFailed, match=r"ended after 1\.5 s without a result"):
        speak(python(code), "hello", tmp_path / "a.wav", timeout=1.5)
    assert time.monotonic() - started < 30
    if (child := tmp_path / "child").is_file():
        for _ in range(50):
            if not _runs(int(child.read_text())):
                break
            time.sleep(0.1)
        assert not _runs(int(child.read_text()))


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
