"""Backgrounds of the segments that follow the first, whose latents cannot be made before: pixels, a segment at a time.

They come from the store where it has them, and else from the driving video itself.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Protocol

import numpy as np
import numpy.typing as npt

from schemas import BackgroundRecord, ClipRecord, MediaRecord, ReplaceMaskRecord
from wanprep.animate.replacement_ground import Pictures, ground_THWC, video_at_size_THWC
from wanprep.errors import MediaError
from wanprep.media.video import read_windows
from wanprep.scan import scan
from wanprep_infer.conditioning.unfit import UnfitConditioning

_AT_ONCE = 16  # frames unpacked at a time
_MAX_FRAME = 1 << 30  # bytes of one decoded picture: this process decodes one video, not one of many

# Videos as this process last saw them: while size and time stay, a file is not read through again.
_seen: dict[str, MediaRecord] = {}


class Ground(Protocol):
    """Where a clip's backgrounds come from."""

    def pictures(self, start: int) -> Generator[Pictures, None, None]:
        """Backgrounds in order from frame `start` to the clip's end, a few at a time:
        uint8 [T,H,W,3] at the size that is generated at, black where the person is replaced."""


class StoredGround:
    """The backgrounds that the store keeps. Of those kept as JPEG, black is black again."""

    def __init__(self, record: BackgroundRecord, mask: ReplaceMaskRecord) -> None:
        self._record = record
        self._mask = mask

    def pictures(self, start: int) -> Generator[Pictures, None, None]:
        for low in range(start, self._record.frames, _AT_ONCE):
            high = min(low + _AT_ONCE, self._record.frames)
            yield ground_THWC(self._record.frames_THWC(low, high), self._mask.masks_THW(low, high))


class VideoGround:
    """The driving video with black where the mask is set, by the rule of the stage `background_latents`."""

    def __init__(self, clip: ClipRecord, media: MediaRecord, mask: ReplaceMaskRecord) -> None:
        self._clip = clip
        self._media = media
        self._mask = mask

    @classmethod
    def open(cls, clip: ClipRecord, mask: ReplaceMaskRecord) -> VideoGround:
        """Looks at the clip's video: it must be the one that the clip was prepared from.

        Raises:
            UnfitConditioning: it is gone, damaged, or another file by now.
        """
        uri = clip.video or ""
        if uri:
            _seen.update(scan({uri: "video"}, _seen)[0])
        media = _seen.get(uri)
        trouble = "the clip names no video" if media is None else media.error and f"{uri} {media.error}"
        if media is not None and not trouble and media.digest != clip.video_digest:
            trouble = f"{uri} has changed since the clip was prepared"
        if media is None or trouble:
            raise UnfitConditioning(
                f"clip {clip.clip_id}: replacement reads the background of later segments from the driving video, "
                f"and {trouble}: put the file back, or add the stage `background` and run the recipe again"
            )
        return cls(clip, media, mask)

    def pictures(self, start: int) -> Generator[Pictures, None, None]:
        size = (self._mask.width, self._mask.height)
        try:
            for window in read_windows(self._clip, self._media, budget=_MAX_FRAME):
                stop = window.start + len(window)
                if stop > start:
                    masks_THW = self._mask.masks_THW(window.start, stop)
                    ground = ground_THWC(video_at_size_THWC(window, size), masks_THW)
                    yield ground[max(0, start - window.start) :]
        except MediaError as error:
            raise UnfitConditioning(
                f"clip {self._clip.clip_id}: its driving video {self._clip.video}, whose background replacement "
                f"shows, is {error}: put the file that the clip was prepared from back"
            ) from error


def held_pictures(
    ground: Ground, shown: Sequence[npt.NDArray[np.int64]]
) -> Iterator[Mapping[int, npt.NDArray[np.uint8]]]:
    """For each segment the pictures that it shows, by frame; uint8 [H,W,3].

    The source is read once from front to back. What is held is what this segment or a later one shows of what has
    been read, which is no more than a segment: a mapping is good until the next one is asked for.

    Args:
        shown: frame numbers that each segment shows, in the segments' order; the last may run backwards.
    """
    if not shown or not any(len(frames_T) for frames_T in shown):
        yield from ({} for _ in shown)
        return
    # Of this segment and all after it, the first frame that is shown.
    lowest = [int(frames_T.min(initial=np.iinfo(np.int64).max)) for frames_T in shown]
    for place in range(len(shown) - 2, -1, -1):
        lowest[place] = min(lowest[place], lowest[place + 1])
    held: dict[int, npt.NDArray[np.uint8]] = {}
    number = lowest[0]
    with closing(ground.pictures(number)) as source:
        for frames_T, low in zip(shown, lowest, strict=True):
            for frame in [frame for frame in held if frame < low]:
                del held[frame]
            while number <= int(frames_T.max(initial=-1)):
                for picture_HWC in next(source):
                    if number >= low:
                        # A copy: a slice would keep the whole window's pictures alive.
                        held[number] = picture_HWC.copy()
                    number += 1
            yield held
