"""Makes small videos, sounds and pictures, good and bad, in a folder of the test's own."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

MILLISECOND = Fraction(1, 1000)
Picture = npt.NDArray[np.uint8]


def frame_HWC(index: int, width: int = 64, height: int = 48) -> Picture:
    """Smooth texture that moves, and whose brightness tells the frame: uint8 [height, width, 3]."""
    y_H1, x_1W = np.mgrid[0:height, 0:width].astype(np.float32)
    wave_HW = 40 * np.sin((x_1W + 2 * index) / 7) + 30 * np.cos((y_H1 - index) / 5)
    return np.repeat(np.clip(110 + wave_HW, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def flat_HWC(index: int, width: int = 64, height: int = 48) -> Picture:
    """A picture of one grey level, 10 x (index mod 20) + 20, that survives any codec."""
    return np.full((height, width, 3), 20 + 10 * (index % 20), np.uint8)


def level_index(picture: Picture) -> int:
    """The index modulo 20 that `flat_HWC` drew."""
    return round((float(np.mean(picture)) - 20) / 10)


def write_video(
    path: Path,
    frames: int = 12,
    *,
    fps: float | Fraction = 25,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    pixel_format: str | None = None,
    times: Sequence[float] | None = None,
    sound: bool = False,
    flat: bool = False,
    faststart: bool = False,
    b_frames: int = 0,
    seed: int = 0,
) -> Path:
    """Encodes `frames` pictures. `times` (seconds) replaces the constant rate; `seed` shifts the motion."""
    width, height = size
    rate = Fraction(fps).limit_denominator(1001)
    options = {"movflags": "+faststart"} if faststart else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = width, height
        stream.pix_fmt = pixel_format or "yuv420p"
        stream.codec_context.thread_count = 1
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "crf": "12", "bf": str(b_frames)}
            stream.codec_context.gop_size = 6
        if times is not None:
            stream.codec_context.time_base = MILLISECOND
        audio = container.add_stream("aac", rate=16_000, layout="mono") if sound else None
        draw = flat_HWC if flat else frame_HWC
        for index in range(frames):
            picture = av.VideoFrame.from_ndarray(draw(index + seed, width, height), format="rgb24")
            if times is None:
                picture.pts, picture.time_base = index, 1 / rate
            else:
                picture.pts, picture.time_base = round(times[index] * 1000), MILLISECOND
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        if audio is not None:
            _put_sound(container, audio, frames / float(rate))
    return path


def write_sound(path: Path, seconds: float = 0.5) -> Path:
    """A 300 Hz tone, mono, without pictures."""
    with av.open(str(path), "w") as container:
        codec = "pcm_s16le" if path.suffix == ".wav" else "aac"
        _put_sound(container, container.add_stream(codec, rate=16_000, layout="mono"), seconds)
    return path


def _put_sound(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    samples = (np.sin(2 * np.pi * 300 * np.arange(round(16_000 * seconds)) / 16_000) * 12_000).astype(
        np.int16
    )
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def write_picture(path: Path, size: tuple[int, int] = (48, 64)) -> Path:
    """A still picture; the suffix chooses the format."""
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png" if path.suffix == ".png" else "mjpeg", rate=1)
        stream.width, stream.height = size
        stream.pix_fmt = "rgb24" if path.suffix == ".png" else "yuvj420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HWC(0, *size), format="rgb24")))
        container.mux(stream.encode())
    return path


def cut_file(path: Path, share: float) -> Path:
    """Keeps the first `share` of a file's bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


# Display matrix of a quarter turn, ISO/IEC 14496-12 section 8.3.2: 16.16 fixed point, row-major, last column 2.30.
_TURNS = {
    0: (1, 0, 0, 1),
    90: (0, 1, -1, 0),  # the player turns the picture clockwise by this many degrees
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
}


def turn(path: Path, degrees: int) -> Path:
    """Has players show an MP4 turned clockwise, by the matrix in its track header."""
    data = bytearray(path.read_bytes())
    box = data.index(b"tkhd")
    version = data[box + 4]
    matrix = box + 4 + (52 if version == 1 else 40)
    a, b, c, d = (value * 0x10000 for value in _TURNS[degrees])
    data[matrix : matrix + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(data)
    return path


def trim_by_edit_list(path: Path, start: float, seconds: float) -> Path:
    """Has an MP4 of one video track show only a part of itself, by its edit list."""
    data = bytearray(path.read_bytes())
    box = data.index(b"elst")
    version, entries = data[box + 4], struct.unpack_from(">I", data, box + 8)[0]
    if version or entries != 1:
        raise AssertionError(f"edit list of version {version} with {entries} entries")
    movie_scale = struct.unpack_from(">I", data, data.index(b"mvhd") + 16)[0]
    media_scale = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0]
    _, media_time = struct.unpack_from(">Ii", data, box + 12)
    struct.pack_into(
        ">Ii", data, box + 12, round(seconds * movie_scale), media_time + round(start * media_scale)
    )
    path.write_bytes(data)
    return path
