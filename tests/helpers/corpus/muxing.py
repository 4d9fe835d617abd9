"""Containers put together in ways that the usual writer does not offer."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

from helpers.media import MILLISECOND, flat_HWC, frame_HWC, write_video


def remux(
    source: Path,
    target: Path,
    keep: Callable[[int, av.Packet], bool] = lambda index, packet: True,
    shift: float = 0.0,
    format: str | None = None,
) -> Path:
    """Copies the packets that `keep` takes, `shift` seconds later."""
    with av.open(str(source)) as given, av.open(str(target), "w", format=format) as made:
        streams = {s.index: made.add_stream_from_template(s) for s in given.streams}
        for index, packet in enumerate(given.demux()):
            if packet.dts is None or not keep(index, packet):
                continue
            move = round(shift / packet.time_base)
            packet.pts, packet.dts = packet.pts + move, packet.dts + move
            packet.stream = streams[packet.stream.index]
            made.mux(packet)
    return target


def remuxed(path: Path, **options: object) -> Path:
    """A small video of 24 frames with B-frames, remuxed."""
    whole = write_video(path.with_name("." + path.stem + ".mkv"), 24, flat=True, b_frames=0)
    remux(whole, path, **options)  # type: ignore[arg-type]
    whole.unlink()
    return path


def write_empty(path: Path, video: bool = True) -> Path:
    """A container whose only stream has no packets."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4" if video else "aac", rate=25 if video else 16_000)
        if video:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    return path


def write_many(path: Path, videos: int, sounds: int, frames: int = 6) -> Path:
    """Several streams side by side; video stream n shows grey level n."""
    with av.open(str(path), "w") as container:
        pictures = []
        for _ in range(videos):
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            pictures.append(stream)
        tones = [container.add_stream("aac", rate=16_000, layout="mono") for _ in range(sounds)]
        for index in range(frames):
            for level, stream in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(flat_HWC(level), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for tone in tones:
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = 16_000, 0, Fraction(1, 16_000)
            container.mux(tone.encode(sound))
        for stream in (*pictures, *tones):
            container.mux(stream.encode())
    return path


def write_cover(path: Path, video: bool) -> Path:
    """A cover picture beside sound, with or without a video after it."""
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 320, 320, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        tone = container.add_stream("aac", rate=16_000, layout="mono")
        shown = container.add_stream("mpeg4", rate=25) if video else None
        if shown is not None:
            shown.width, shown.height, shown.pix_fmt = 64, 48, "yuv420p"
        picture = av.VideoFrame.from_ndarray(flat_HWC(9, 320, 320), format="rgb24")
        picture.pts, picture.time_base = 0, Fraction(1, 25)
        container.mux(cover.encode(picture))
        container.mux(cover.encode())
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = 16_000, 0, Fraction(1, 16_000)
        container.mux(tone.encode(sound))
        container.mux(tone.encode())
        for index in range(6 if shown is not None else 0):
            frame = av.VideoFrame.from_ndarray(flat_HWC(index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(shown.encode(frame))
        if shown is not None:
            container.mux(shown.encode())
    return path


def write_alpha(path: Path, codec: str, pixel_format: str, frames: int = 5) -> Path:
    """Video with a transparent half: uint8 RGBA."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        for index in range(frames):
            alpha_HW1 = np.full((48, 64, 1), 255, np.uint8)
            alpha_HW1[:, 32:] = 40
            rgba_HWC = np.concatenate([frame_HWC(index), alpha_HW1], axis=2)
            frame = av.VideoFrame.from_ndarray(rgba_HWC, format="rgba")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_times(path: Path, milliseconds: Sequence[int], codec: str = "mpeg4") -> Path:
    """One flat picture at each time, which may be negative."""
    with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = MILLISECOND
        for index, time in enumerate(milliseconds):
            frame = av.VideoFrame.from_ndarray(flat_HWC(index), format="rgb24")
            frame.pts, frame.time_base = time, MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_two_sizes(path: Path) -> Path:
    """An elementary stream that goes from 64x48 to 96x80 half way."""
    parts = [
        write_video(path.with_name(f".{path.stem}-{width}.h264"), 5, size=(width, height))
        for width, height in ((64, 48), (96, 80))
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()
    return path


def write_gif(path: Path, frames: int) -> Path:
    with av.open(str(path), "w", format="gif") as container:
        stream = container.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(frame_HWC(index), format="rgb24").reformat(format="rgb8")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def box(kind: bytes, *parts: bytes) -> bytes:
    """An ISO base media box (ISO/IEC 14496-12)."""
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def trackless_mp4() -> bytes:
    """A well-formed MP4 whose movie box has no track."""
    movie_header = box(b"mvhd", bytes(12) + struct.pack(">II", 1000, 0) + bytes(80))
    return box(b"ftyp", b"isom" + bytes(4) + b"isommp42") + box(b"moov", movie_header) + box(b"mdat")
