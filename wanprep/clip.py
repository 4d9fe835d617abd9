"""Clips: input lines and what was found in their files, put on a timeline. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from schemas import ClipRecord, MediaRecord
from wanprep.inputs import InputClip
from wanprep.subject import outside
from wanprep.timeline import TimelineConfig, longest_4n1, split


def make_clips(
    inputs: Iterable[InputClip], media: Mapping[str, MediaRecord], timeline: TimelineConfig, recipe: str
) -> Iterator[ClipRecord]:
    """One row a clip, without keys yet; a long video gives several when the timeline splits.

    A clip of which nothing can be made has `why_not` set.
    """
    for item in inputs:
        yield from _pieces(item, media, timeline, recipe)


def unfit(media: MediaRecord, role: str) -> str | None:
    """Why a file cannot play its role ("video", "reference" or "audio"), or None when it can."""
    if media.error is not None:
        return media.error
    if role == "audio":
        return None if media.audio_codec is not None else "has no audio stream"
    if media.video_codec is not None:
        return None
    sound = (
        f": it is sound only ({media.audio_codec}, {media.audio_seconds or 0.0:.1f} s)"
        if media.audio_codec
        else ""
    )
    return f"has no video stream{sound}"


def _pieces(
    item: InputClip, media: Mapping[str, MediaRecord], timeline: TimelineConfig, recipe: str
) -> Iterator[ClipRecord]:
    def row(clip_id: str, **more: object) -> ClipRecord:
        return ClipRecord(
            clip_id=clip_id,
            recipe=recipe,
            video=item.video,
            video_digest=media[item.video].digest if item.video else None,
            reference=item.reference,
            reference_digest=media[item.reference].digest if item.reference else None,
            audio=item.audio,
            audio_digest=media[item.audio].digest if item.audio else None,
            prompt=item.prompt,
            caption=item.caption,
            caption_error=item.caption_error,
            subject=item.subject,
            **more,  # type: ignore[arg-type]
        )

    for role, uri in (("video", item.video), ("reference", item.reference), ("audio", item.audio)):
        if uri is not None and (error := unfit(media[uri], role)):
            yield row(item.clip_id, start=item.start, end=item.end, why_not=f"{role}: {error}")
            return
    if item.video is None:
        yield row(item.clip_id, start=item.start, end=item.end)
        return
    video = media[item.video]
    source_fps, length = video.fps or 25.0, video.seconds or 0.0
    facts = {
        "width": video.width,
        "height": video.height,
        "source_fps": source_fps,
        "variable_rate": video.variable_rate,
    }
    fps = timeline.fps or source_fps
    end = min(item.end, length) if item.end is not None else length
    if end <= item.start:
        why = f"starts at {item.start:g} s, but the video is {length:.2f} s long"
        yield row(item.clip_id, start=item.start, end=item.end, fps=fps, why_not=why, **facts)
        return
    if item.subject is not None and (away := outside(item.subject, video.width or 0, video.height or 0)):
        yield row(item.clip_id, start=item.start, end=item.end, fps=fps, why_not=away, **facts)
        return
    pieces = split(end - item.start, timeline.split_seconds, fps)
    for number, piece in enumerate(pieces):
        why_not = None
        if piece.frames < timeline.min_frames:
            why_not = f"has {piece.frames} frames, fewer than timeline.min_frames={timeline.min_frames}"
        yield row(
            item.clip_id if len(pieces) == 1 else f"{item.clip_id}-s{number:04d}",
            start=item.start + piece.start,
            end=item.start + piece.end,
            fps=fps,
            frames=piece.frames,
            frames_4n1=longest_4n1(piece.frames),
            why_not=why_not,
            **facts,
        )
