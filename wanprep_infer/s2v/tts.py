"""Speech from any program that writes a sound file: text in, a file for `wanprep run` out."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from contextlib import closing
from pathlib import Path

from wanprep.errors import MediaError, UsageError, WanprepError
from wanprep.media.audio import read_audio

_OPTION = "--tts-command"
_SHOWN = 200  # characters of what a program complained of


class SpeechFailed(WanprepError):
    """The program did not make speech; the message says how it ended."""


def speak(command: str, text: str, out: Path, timeout: float = 600.0) -> Path:
    """Has a program speak `text` into the file `out`, and returns that.

    No shell is involved: the command is split into words as a shell would, and in each word `{text}` and `{out}` are
    replaced. Text with quotes, semicolons or dollar signs stays one argument. Without `{text}`, the program is given
    the text on standard input. A file that is already there is replaced.

    Args:
        command: such as `piper --model en.onnx --output_file {out}` or `say -o {out} {text}`.
        timeout: seconds after which the program and all that it started are ended.

    Raises:
        UsageError: the command does not split, names no {out}, or its program is not there.
        SpeechFailed: the program failed, took too long, or wrote no sound.
    """
    words = _words(command)
    if not text.strip():
        raise UsageError("there is no text to speak")
    if "\0" in text:
        raise UsageError("the text to speak holds a null character")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    spoken = any("{text}" in word for word in words)
    arguments = [_filled(word, text, str(out.absolute())) for word in words]
    _run(arguments, None if spoken else text, timeout)
    _check_sound(arguments[0], out)
    return out


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"{_OPTION} '{command}': does not split into words ({error})") from error
    if not words:
        raise UsageError(f"{_OPTION}: is empty; give a program that writes a sound file to {{out}}")
    if not any("{out}" in word for word in words):
        raise UsageError(f"{_OPTION} '{command}': does not say where the sound goes; put {{out}} into it")
    return words


def _filled(word: str, text: str, out: str) -> str:
    # The text last and once: a placeholder that it holds is said, not replaced.
    return text.join(part.replace("{out}", out) for part in word.split("{text}"))


def _run(arguments: list[str], given: str | None, timeout: float) -> None:
    program = arguments[0]
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own command, without a shell
            arguments,
            stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that what it starts is ended with it
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"{_OPTION}: {program} cannot be started ({why})") from error
    try:
        said, _ = process.communicate(given, timeout)
    except subprocess.TimeoutExpired as error:
        raise SpeechFailed(f"{_OPTION}: {program} was ended after {timeout:g} s without a result") from error
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
        why = f": {lines[-1][:_SHOWN]}" if lines else ""
        raise SpeechFailed(f"{_OPTION}: {program} ended with exit code {process.returncode}{why}")


def _check_sound(program: str, out: Path) -> None:
    if not out.is_file():
        raise SpeechFailed(f"{_OPTION}: {program} ended well but wrote no {out}")
    try:
        with closing(read_audio(str(out))) as blocks:
            samples = sum(len(block) for block in blocks)
    except MediaError as error:
        raise SpeechFailed(f"{_OPTION}: what {program} wrote to {out} is no sound: {error}") from error
    if not samples:
        raise SpeechFailed(f"{_OPTION}: the sound that {program} wrote to {out} is empty")
