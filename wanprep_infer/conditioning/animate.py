"""A clip's conditioning for Wan2.2-Animate: typed, checked, mapped from the store until it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from schemas import (
    FaceCropsRecord,
    ImageEmbedRecord,
    LatentsRecord,
    NegativeTextRecord,
    ReplaceMaskRecord,
    TextRecord,
)
from wanprep.animate.mask_channels import known_frames, mask_channels
from wanprep.animate.segment_mask import replacement_channels
from wanprep.animate.segments import Segments, segments
from wanprep.store.clip import StoredClip
from wanprep_infer.conditioning.animate_rules import check_together, overlap_of
from wanprep_infer.conditioning.ground import Ground, StoredGround, VideoGround, held_pictures
from wanprep_infer.conditioning.stored import required

if TYPE_CHECKING:
    from schemas import FaceMotionRecord

Mode = Literal["animate", "replace"]
Latents = npt.NDArray[np.float32]

PRESETS: dict[Mode, str] = {"animate": "animate", "replace": "animate-replace"}

_MASKS_AT_ONCE = 16  # frames unpacked at a time
_MOST_FPS_DENOMINATOR = 1001  # of broadcast rates such as 30000/1001


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnimateConditioning:
    """Everything that a generation takes of a clip.

    The records' tensors are read-only and, on a local disk, mapped: nothing is read before a method asks for it, and
    no method returns more than one segment. In shapes, L is `segment_frames`, l = (L-1)/4+1 its latent frames, and
    h, w are the height and width in latent rows and columns (8 pixels).
    """

    clip_id: str
    mode: Mode
    keys: Mapping[str, str]  # of every artifact that is here, by stage
    fps: Fraction  # of the clip's timeline, frames a second
    segments: Segments  # frame that each padded frame shows, and the windows of padded frames
    segment_overlap: int  # R: frames that a segment carries over from the one before, 1 or 5
    text: TextRecord
    negative_text: NegativeTextRecord | None
    image_embed: ImageEmbedRecord
    reference_latents: LatentsRecord
    pose_latents: LatentsRecord
    face_crops: FaceCropsRecord | None  # one of these two is there
    face_motion: FaceMotionRecord | None
    replace_mask: ReplaceMaskRecord | None  # these three in mode replace alone
    background_latents: LatentsRecord | None
    ground: Ground | None  # None, too, when there is only one segment

    @classmethod
    def from_clip(cls, clip: StoredClip, mode: Mode, *, guided: bool = True) -> AnimateConditioning:
        """Reads a clip of a store, of one kept in memory or on disk alike.

        What depends on the model (its VAE, widths, motion encoder) is checked by the pipeline.

        Args:
            guided: take the negative prompts, where there are any; guidance of 1 or less has no use for them.

        Raises:
            UnfitConditioning: an artifact is missing, cannot go into any model, or does not fit the others; one
                sentence that names the clip and what makes it right.
            StoreError: a shard is missing or damaged.
        """
        preset = PRESETS[mode]
        found = {
            name: required(clip, name, preset)
            for name in ("pose_latents", "reference_latents", "image_embed", "text")
        }
        may_be = ("negative_text", "face_motion") if guided else ("face_motion",)
        found |= {name: record for name in may_be if (record := clip.get(name))}
        if crops := clip.get("face_crops"):
            found["face_crops"] = crops
        elif "face_motion" not in found:
            required(clip, "face_crops", preset)
        if mode == "replace":
            found |= {name: required(clip, name, preset) for name in ("replace_mask", "background_latents")}
            if background := clip.get("background"):
                found["background"] = background
        check_together(clip.id, mode, found)
        pose: LatentsRecord = found["pose_latents"]
        overlap = overlap_of(clip.id, pose)
        cut = segments(pose.frames, pose.segment_frames, overlap)
        if len(cut.windows) == 1:
            found.pop("background", None)  # the stored latents show all of it, and keys are of what is used
        ground: Ground | None = None
        if mode == "replace" and len(cut.windows) > 1:
            if "background" in found:
                ground = StoredGround(found["background"], found["replace_mask"])
            else:
                ground = VideoGround.open(clip.record, found["replace_mask"])
        return cls(
            clip_id=clip.id,
            mode=mode,
            keys={name: clip.record.keys[name] for name in sorted(found)},
            fps=_rate(clip.record.fps),
            segments=cut,
            segment_overlap=overlap,
            text=found["text"],
            negative_text=found.get("negative_text"),
            image_embed=found["image_embed"],
            reference_latents=found["reference_latents"],
            pose_latents=pose,
            face_crops=found.get("face_crops"),
            face_motion=found.get("face_motion"),
            replace_mask=found.get("replace_mask"),
            background_latents=found.get("background_latents"),
            ground=ground,
        )

    @property
    def width(self) -> int:
        """Pixels of the pictures that are generated, a multiple of 16."""
        return self.pose_latents.width

    @property
    def height(self) -> int:
        """Pixels, a multiple of 16."""
        return self.pose_latents.height

    @property
    def frames(self) -> int:
        """Frames of the clip, which are generated; the last segment's padding is not counted."""
        return self.pose_latents.frames

    @property
    def segment_frames(self) -> int:
        """L: frames of a segment, 4n+1; Animate is trained on 77."""
        return self.pose_latents.segment_frames

    def carried(self, segment: int) -> int:
        """Frames that a segment carries over: none for the first, `segment_overlap` for each other."""
        return self.segment_overlap if segment else 0

    def shown_T(self, segment: int) -> npt.NDArray[np.int64]:
        """The clip's frame that each of a segment's L frames shows: int64 [L]."""
        start, stop = self.segments.windows[segment]
        return self.segments.indices_T[start:stop]

    def pose_latents_CTHW(self, segment: int) -> Latents:
        """Whitened latents of the drawn skeleton, float32 [16, l, h, w]."""
        return self.pose_latents.segment_CTHW(segment, whitened=True)

    def reference_latents_CTHW(self) -> Latents:
        """Whitened latents of the reference picture, float32 [16, 1, h, w]."""
        return self.reference_latents.segment_CTHW(whitened=True)

    def background_latents_CTHW(self) -> Latents:
        """Whitened latents of the first segment's background, float32 [16, l, h, w]. Later segments begin with
        frames that are not known before, which changes all of their latents.

        Raises:
            ValueError: there are none: the mode is animate.
        """
        if self.background_latents is None:
            raise ValueError("only replacement has a background")
        return self.background_latents.segment_CTHW(0, whitened=True)

    def mask_channels_CTHW(self, segment: int) -> npt.NDArray[np.float32]:
        """What is known in a segment, float32 [4, l, h, w] of 0 and 1."""
        carried = self.carried(segment)
        stride = self.pose_latents.stride_space
        if self.replace_mask is None:
            rows, columns = self.height // stride, self.width // stride
            return mask_channels(known_frames(self.segment_frames, rows, columns, carried))
        shown_T = self.shown_T(segment)
        # Already of latent cells: of each the first pixel counts.
        replaced_THW = np.empty((len(shown_T), self.height // stride, self.width // stride), np.float32)
        for low in range(int(shown_T.min()), int(shown_T.max()) + 1, _MASKS_AT_ONCE):
            high = min(low + _MASKS_AT_ONCE, self.frames)
            cells_THW = self.replace_mask.masks_THW(low, high)[:, ::stride, ::stride]
            places = np.flatnonzero((shown_T >= low) & (shown_T < high))
            replaced_THW[places] = cells_THW[shown_T[places] - low]
        return replacement_channels(replaced_THW, carried, stride=1)

    def later_backgrounds(self) -> Iterator[Mapping[int, npt.NDArray[np.uint8]]]:
        """For each segment after the first, the backgrounds behind the frames that it carries over, by the clip's
        frame: uint8 [height, width, 3]. Only one segment's are held; a mapping is good until the next is asked for.

        Raises:
            UnfitConditioning: on the way, when the driving video is read and does not decode.
            ValueError: there are none: the mode is animate, or there is one segment.
        """
        if self.ground is None:
            raise ValueError("only replacement in several segments has backgrounds to read")
        later = range(1, len(self.segments.windows))
        return held_pictures(self.ground, [self.shown_T(place)[self.segment_overlap :] for place in later])


def _rate(fps: float | None) -> Fraction:
    """The rate as a fraction, exact for whole and broadcast rates; 30, Animate's own, where the clip has none."""
    return Fraction(fps or 30).limit_denominator(_MOST_FPS_DENOMINATOR)
