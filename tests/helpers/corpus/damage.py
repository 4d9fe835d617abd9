"""Damage to the bytes of a file: cuts, flips, holes."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

from helpers.media import cut_file, turn, write_video

FRAMES = 60


def sample(path: Path, *, faststart: bool = False) -> Path:
    """60 frames of video; sound too where the container takes AAC."""
    codec = "libvpx-vp9" if path.suffix == ".webm" else "libx264"
    frames = 20 if path.suffix == ".webm" else FRAMES
    sound = path.suffix in (".mp4", ".mkv")
    return write_video(path, frames, sound=sound, faststart=faststart, codec=codec, b_frames=2)


def cut(path: Path, share: float, faststart: bool = False) -> Path:
    return cut_file(sample(path, faststart=faststart), share)


def without_last_byte(path: Path, faststart: bool = False) -> Path:
    path.write_bytes(sample(path, faststart=faststart).read_bytes()[:-1])
    return path


def flip_bits(data: bytes, seed: int, share: float = 0.0005, first: int = 0) -> bytes:
    """`share` of the bytes from `first` on get one bit flipped."""
    changed = bytearray(data)
    chance = random.Random(seed)
    for _ in range(max(1, round((len(changed) - first) * share))):
        changed[chance.randrange(first, len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def flipped(path: Path, seed: int, share: float = 0.0005) -> Path:
    path.write_bytes(flip_bits(sample(path).read_bytes(), seed, share))
    return path


def hole(path: Path, where: float, length: int) -> Path:
    """Zeros over `length` bytes from `where` (0 to 1) of an MP4's media data on, as a broken download leaves."""
    data = bytearray(sample(path).read_bytes())
    at = data.index(b"mdat")
    end = at - 4 + struct.unpack_from(">I", data, at - 4)[0]
    start = at + 4 + int((end - at - 4) * where)
    length = min(length, end - start)
    data[start : start + length] = bytes(length)
    path.write_bytes(data)
    return path


def patched(path: Path, box: bytes, offset: int, value: bytes) -> Path:
    """A file with `value` written `offset` bytes after the first place that holds `box`."""
    data = bytearray(sample(path).read_bytes())
    at = data.index(box) + offset
    data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


def turned_45(path: Path) -> Path:
    """The display matrix of an eighth of a turn."""
    turn(write_video(path, 6), 90)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    part = 46_341  # cos 45 degrees in 16.16 fixed point
    struct.pack_into(">9i", data, matrix, part, part, 0, -part, part, 0, 0, 0, 0x40000000)
    path.write_bytes(data)
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds hardly any pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
