"""Files that are not what their name says."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from functools import partial
from pathlib import Path

from helpers.corpus.case import Case, done, failed, skipped
from helpers.corpus.damage import png_header
from helpers.media import write_picture, write_video

_NO_MEDIA = "cannot be opened as media"
_FOLLOWS = "names other files"

PLAYLISTS = {
    "playlist.mp4": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
    "concat.mp4": "ffconcat version 1.0\nfile {target}\n",
    "dash.mp4": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1000" width="64" height="48">'
    "<BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "session.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
}


def write_playlist(path: Path, kind: str, target: str) -> None:
    path.write_text(PLAYLISTS[kind].format(target=target))


def _renamed(path: Path, suffix: str) -> None:
    write_video(path.with_suffix(".tmp" + suffix), 6).rename(path)


def _picture(path: Path, suffix: str) -> None:
    write_picture(path.with_name("." + path.stem + suffix)).rename(path)


def _zip(path: Path) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("video.mp4", bytes(1000))
    path.write_bytes(held.getvalue())


def _elf(path: Path) -> None:
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 62, 1, 64, 64, 0, 0, 64, 56, 1, 64, 0, 0
    )
    path.write_bytes(header + bytes(range(256)) * 30)


def _page(path: Path) -> None:
    path.write_text("<!DOCTYPE html>\n<html><head><title>404</title></head><body>" + "<p>Not found</p>" * 50)


def _loop(path: Path) -> None:
    other = path.with_name(path.stem + "_back.mkv.link")
    path.symlink_to(other)
    other.symlink_to(path)


def _folder_loop(path: Path) -> None:
    path.mkdir()
    (path / "again").symlink_to(path)
    write_video(path / "inside_folder.mp4", 4)


def _named(path: Path) -> None:
    """A video under a name that writers would not take as it is."""
    write_video(path.with_name(".named.mp4"), 4).rename(path)


def _playlists() -> list[Case]:
    cases = [
        failed(
            name, f"{kind} of another file", _FOLLOWS, partial(write_playlist, kind=name, target="plain.mp4")
        )
        for name, kind in zip(
            PLAYLISTS, ("HLS playlist", "concat script", "DASH manifest", "session description"), strict=True
        )
    ]
    for name, kind in (("playlist.mp4", "HLS playlist"), ("concat.mp4", "concat script")):
        for scheme, target in (("web", "http://127.0.0.1:9/plain.mp4"), ("file", "file:/etc/hostname")):
            cases.append(
                failed(
                    f"{scheme}_{name}",
                    f"{kind} of {target}",
                    _FOLLOWS,
                    partial(write_playlist, kind=name, target=target),
                )
            )
    return cases


def cases() -> list[Case]:
    long_name = "n" * 251 + ".mp4"  # 255 bytes, the most that Linux file systems take
    return [
        done(
            "matroska.mp4", "a Matroska named .mp4", partial(_renamed, suffix=".mkv"), size=(64, 48), frames=6
        ),
        done("mp4.avi", "an MP4 named .avi", partial(_renamed, suffix=".mp4"), size=(64, 48), frames=6),
        done("mp4.ts", "an MP4 named .ts", partial(_renamed, suffix=".mp4"), size=(64, 48), frames=6),
        done("mp4.h264", "an MP4 named .h264", partial(_renamed, suffix=".mp4"), size=(64, 48), frames=6),
        skipped(
            "png.mp4", "a PNG named .mp4", "a single frame has no flow", partial(_picture, suffix=".png")
        ),
        skipped(
            "jpeg.mkv", "a JPEG named .mkv", "a single frame has no flow", partial(_picture, suffix=".jpg")
        ),
        failed(
            "bomb.mp4",
            "a PNG of 200 bytes that claims 60,000x60,000 pixels",
            "damaged|over 16,384 pixels",
            lambda path: path.write_bytes(png_header(60_000, 60_000)),
        ),
        failed(
            "large_bomb.mp4",
            "a PNG of 200 bytes that claims 16,000x16,000 pixels",
            "damaged|million pixels",
            lambda path: path.write_bytes(png_header(16_000, 16_000)),
        ),
        failed("text.mp4", "text", _NO_MEDIA, lambda path: path.write_text("this is not a video\n" * 40)),
        failed(
            "text.h264",
            "text named .h264",
            _NO_MEDIA + "|frame|damaged",
            lambda path: path.write_text("this is not a video\n" * 40),
        ),
        failed(
            "noise.ts",
            "text named .ts",
            _NO_MEDIA + "|neither|damaged",
            lambda path: path.write_text("this is not a video\n" * 400),
        ),
        failed("page.mp4", "a web page", _NO_MEDIA, _page),
        failed("archive.mp4", "a ZIP archive", _NO_MEDIA, _zip),
        failed("program.mp4", "an ELF program", _NO_MEDIA, _elf),
        failed("pipe.mp4", "a named pipe", "no regular file", lambda path: os.mkfifo(path)),
        failed(
            "nowhere.mp4", "a link to nothing", "does not exist", lambda path: path.symlink_to("nothing.mp4")
        ),
        failed("loop.mkv", "a link that leads back to itself", "does not exist", _loop),
        done(
            "inside_folder.mp4",
            "a folder with a link to itself",
            lambda path: _folder_loop(path.with_name("turning")),
            frames=4,
        ),
        done("latin-\udce9\udcff.mp4", "a name that is no UTF-8", _named, frames=4),
        done(
            long_name,
            "a name of 255 bytes",
            _named,
            frames=4,
        ),
        done(
            "concat:a|b.mp4",
            "a name that looks like a protocol",
            _named,
            frames=4,
        ),
        done(
            "%03d*[x]{y}\n\x1b[31m.mp4",
            "a name of wildcards, a line break and a terminal code",
            _named,
            frames=4,
        ),
        done(
            "-y.mp4",
            "a name that looks like an option",
            _named,
            frames=4,
        ),
        *_playlists(),
    ]
