"""Writes the sample clip: a drawn figure that talks and gestures, with its voice, as an MP4 file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from wanprep.sample.choreography import choreograph
from wanprep.sample.figure import draw_figure, stand_before
from wanprep.sample.look import Look, varied_look
from wanprep.sample.pose import FigurePose
from wanprep.sample.room import display, draw_room
from wanprep.sample.speech import Speech, synthesise_speech

__all__ = ["Look", "plan_clip", "render_frames", "varied_look", "write_sample_clip"]

DEFAULT_SIZE = (832, 480)
VIDEO_CRF = "20"
AUDIO_BITRATE = 64_000
AUDIO_BLOCK = 1024  # samples of an AAC frame

FrameHWC = npt.NDArray[np.uint8]


def plan_clip(seconds: float, fps: int, seed: int, look: Look) -> tuple[Speech, list[FigurePose]]:
    """The voice of a clip and the figure's pose at each of its frames.

    Raises:
        ValueError: `seconds` or `fps` leave no frame to draw.
    """
    frame_count = round(seconds * fps)
    if frame_count < 1:
        raise ValueError(f"a clip of {seconds} s at {fps} fps has no frames; ask for a longer one")
    speech = synthesise_speech(seconds, seed, look.pitch_hz)
    return speech, choreograph(speech, frame_count, fps, seed, look.motion)


def render_frames(
    poses: list[FigurePose], *, size: tuple[int, int] = DEFAULT_SIZE, look: Look | None = None
) -> Iterator[FrameHWC]:
    """Draw a figure's poses one by one: RGB, uint8, (height, width, 3); same arguments, same bytes.

    `size` is (width, height) in pixels.
    """
    look = look or Look()
    room_HWC = draw_room(size, look.room_seed)
    for pose in poses:
        canvas = draw_figure(pose, look, size)
        yield display(stand_before(canvas, room_HWC))


def _encode_voice(container: av.container.OutputContainer, stream: av.AudioStream, speech: Speech) -> None:
    """Encode the whole voice track."""
    for start in range(0, speech.waveform_T.size, AUDIO_BLOCK):
        block_1T = speech.waveform_T[None, start : start + AUDIO_BLOCK]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block_1T), format="fltp", layout="mono")
        frame.sample_rate = speech.sample_rate
        frame.pts = start
        frame.time_base = Fraction(1, speech.sample_rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def write_sample_clip(
    path: Path,
    *,
    seconds: float = 5.0,
    size: tuple[int, int] = DEFAULT_SIZE,
    fps: int = 24,
    seed: int = 7,
    look: Look | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw the clip and write it to `path` (H.264 and AAC in MP4), whole or not at all.

    `size` is (width, height) in pixels, both even. `progress` is called with the frames drawn and
    their total. Returns `path`.

    Raises:
        ValueError: an odd or tiny `size`, or a length without frames.
        OSError: the folder cannot be written to.
    """
    width, height = size
    if width < 64 or height < 64 or width % 2 or height % 2:
        raise ValueError(
            f"size {width}x{height} cannot be encoded; both sides must be even and at least 64 pixels"
        )
    look = look or Look()
    speech, poses = plan_clip(seconds, fps, seed, look)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with av.open(str(unfinished), "w", format="mp4") as container:
            video = container.add_stream("libx264", rate=fps, options={"crf": VIDEO_CRF, "preset": "medium"})
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
            video.codec_context.thread_count = 1  # more threads would make the bytes depend on the machine
            audio = container.add_stream(
                "aac", rate=speech.sample_rate, layout="mono", bit_rate=AUDIO_BITRATE
            )
            for index, frame_HWC in enumerate(render_frames(poses, size=size, look=look)):
                frame = av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, fps)
                container.mux(video.encode(frame))
                if progress is not None:
                    progress(index + 1, len(poses))
            container.mux(video.encode(None))
            _encode_voice(container, audio, speech)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path
