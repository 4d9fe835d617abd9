"""Files that were whole once."""

from __future__ import annotations

from functools import partial

from helpers.corpus.case import Case, done, either, failed
from helpers.corpus.damage import cut, flipped, hole, patched, without_last_byte
from helpers.corpus.muxing import remuxed, trackless_mp4, write_empty

_NO_INDEX = "cut off before its index"
_CUT = "truncated: |damaged: |cut off"


def _cut_name(share: float) -> str:
    return f"{share * 100:g}".replace(".", "_")


def _truncated() -> list[Case]:
    cases = []
    for share in (0.01, 0.1, 0.5, 0.9, 0.995):
        percent = f"{share * 100:g} %"
        cases.append(
            failed(
                f"cut_{_cut_name(share)}.mp4",
                f"MP4, index at the end, {percent} of it",
                _NO_INDEX,
                partial(cut, share=share),
            )
        )
        cases.append(
            failed(
                f"cut_fast_{_cut_name(share)}.mp4",
                f"MP4, index first, {percent} of it",
                f"{_CUT}|{_NO_INDEX}",
                partial(cut, share=share, faststart=True),
            )
        )
    cases += [
        failed(
            f"cut_{_cut_name(share)}.{suffix}",
            f"{container}, {share * 100:g} % of it",
            f"{_CUT}|{_NO_INDEX}|no frame",
            partial(cut, share=share),
        )
        for suffix, container in (("mkv", "Matroska"), ("webm", "WebM"))
        for share in (0.005, 0.3, 0.6, 0.85)
    ]
    cases.append(failed("cut_50.avi", "AVI, 50 % of it", f"{_CUT}|{_NO_INDEX}", partial(cut, share=0.5)))
    # A transport stream promises no length: what is there is all there is, but for the last picture.
    cases += [
        either("cut_50.ts", "transport stream, 50 % of it", partial(cut, share=0.5)),
        either("cut_93.ts", "transport stream, 93 % of it", partial(cut, share=0.93)),
        failed(
            "last_byte.mp4",
            "MP4, index first, the last byte missing",
            _CUT,
            partial(without_last_byte, faststart=True),
        ),
        done(
            "last_byte.mkv",
            "Matroska, the last byte missing, which is of its index",
            without_last_byte,
            frames=60,
        ),
    ]
    return cases


def _flipped() -> list[Case]:
    return [
        either(
            f"flipped_{seed}.{suffix}",
            f"{suffix}, one bit wrong in {'200' if share > 0.002 else '2,000'} bytes, seed {seed}",
            partial(flipped, seed=seed, share=share),
        )
        for suffix, seeds in (("mp4", 8), ("mkv", 8), ("ts", 4), ("avi", 2), ("webm", 2))
        for seed in range(seeds)
        for share in ((0.0005, 0.005)[seed % 2],)
    ]


def _patched() -> list[Case]:
    return [
        failed(
            "hole_start.mp4",
            "zeros over the first pictures",
            "damaged: ",
            partial(hole, where=0, length=3000),
        ),
        failed(
            "hole_middle.mp4",
            "zeros over pictures in the middle",
            "damaged: ",
            partial(hole, where=0.5, length=3000),
        ),
        failed(
            "hole_all.mp4",
            "an index over nothing but zeros",
            "damaged: ",
            partial(hole, where=0, length=1 << 30),
        ),
        failed(
            "hole_index.mp4",
            "zeros over the sample sizes",
            "damaged|truncated|holds no|without frames|no frame|cut off",
            partial(patched, box=b"stsz", offset=12, value=bytes(200)),
        ),
        failed(
            "huge_count.mp4",
            "an index that promises four billion samples",
            "damaged|truncated|cut off|no frame|holds no|without frames",
            partial(patched, box=b"stsz", offset=8, value=b"\xff\xff\xff\xff"),
        ),
        either(
            "huge_box.mp4",
            "a box longer than any disk",
            partial(patched, box=b"moov", offset=-4, value=b"\x7f\xff\xff\xff"),
        ),
        either(
            "zero_scale.mp4",
            "a track of zero ticks a second",
            partial(patched, box=b"mdhd", offset=16, value=bytes(4)),
        ),
        either(
            "huge_scale.mp4",
            "a track of four billion ticks a second",
            partial(patched, box=b"mdhd", offset=16, value=b"\xff" * 4),
        ),
        either(
            "strange_codec.mp4",
            "a codec that nobody knows",
            partial(patched, box=b"stsd", offset=16, value=b"zzzz"),
        ),
    ]


def _empty() -> list[Case]:
    return [
        failed("zero.mp4", "no bytes", "the file is empty", lambda path: path.touch()),
        failed("one_byte.mp4", "one byte", "cannot be opened", lambda path: path.write_bytes(b"\0")),
        failed(
            "zeros.mp4", "nothing but zeros", "cannot be opened", lambda path: path.write_bytes(bytes(50_000))
        ),
        failed(
            "no_track.mp4",
            "an MP4 without a track",
            "neither a video nor an audio",
            lambda path: path.write_bytes(trackless_mp4()),
        ),
        failed("no_frames.mp4", "an MP4 whose track holds nothing", "frame|neither|no packets", write_empty),
        failed("no_frames.mkv", "a Matroska whose track holds nothing", "frame|no packets", write_empty),
        failed("no_frames.avi", "an AVI whose track holds nothing", "frame|no packets", write_empty),
        failed(
            "no_samples.mp4",
            "a sound track that holds nothing",
            "no packets|neither|no video",
            partial(write_empty, video=False),
        ),
    ]


def _missing() -> list[Case]:
    def lacks(first: int, last: int) -> object:
        return lambda index, packet: not first <= index < last

    return [
        done(
            "no_keyframe.mkv",
            "the first of 24 frames, a keyframe, is missing: begins with the next keyframe",
            partial(remuxed, keep=lacks(0, 1)),
            frames=18,
            levels=(*range(6, 20), *range(4)),
        ),
        either(
            "gap.mkv",
            "5 of 24 frames are missing, which others refer to",
            partial(remuxed, keep=lacks(8, 13)),
        ),
        done(
            "gap_whole.mkv",
            "6 frames between two keyframes are missing",
            partial(remuxed, keep=lacks(6, 12)),
            size=(64, 48),
        ),
        either("gap.mp4", "5 of 24 frames are missing", partial(remuxed, keep=lacks(8, 13))),
    ]


def cases() -> list[Case]:
    return [*_truncated(), *_flipped(), *_patched(), *_empty(), *_missing()]
