"""What becomes of one file: looked at, put on a timeline, all its frames and sound decoded."""

from __future__ import annotations

from dataclasses import dataclass

from helpers.media import level_index
from schemas import MediaRecord
from wanprep.clip import make_clips
from wanprep.errors import MediaError
from wanprep.inputs import InputClip
from wanprep.media.audio import read_audio
from wanprep.media.video import read_windows
from wanprep.scan import scan
from wanprep.timeline import TimelineConfig


@dataclass(frozen=True, slots=True)
class Verdict:
    """`cause` is None for what decodes whole; `levels` are the `flat_HWC` indices of its frames."""

    cause: str | None
    media: MediaRecord
    size: tuple[int, int] | None = None
    levels: tuple[int, ...] = ()


def judge(uri: str) -> Verdict:
    """Raises nothing for what is wrong with the file."""
    media = scan({uri: "video"}, {})[0][uri]
    (clip,) = make_clips([InputClip(clip_id="a", video=uri)], {uri: media}, TimelineConfig(), "recipe")
    if clip.why_not is not None:
        return Verdict(clip.why_not, media)
    levels: list[int] = []
    size = None
    try:
        for window in read_windows(clip, media):
            pictures_THWC = window.rgb_THWC()
            size = (pictures_THWC.shape[2], pictures_THWC.shape[1])
            # Small asks as the stages make them go another way.
            window.gray_THW((max(2, size[0] // 2), max(2, size[1] // 2)))
            levels += [level_index(picture) for picture in pictures_THWC]
        if media.audio_codec is not None:
            for _ in read_audio(uri, origin=media.first_time, seconds=min(media.seconds or 0.0, 3600.0)):
                pass
    except MediaError as error:
        return Verdict(str(error), media)
    return Verdict(None, media, size, tuple(levels))
