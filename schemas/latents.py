"""Artifacts `video_latents`, `reference_latents` and their like: what a video autoencoder makes of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.record import Record
from schemas.tensor import TENSOR, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentsRecord(Record):
    """Latents of a clip's pictures, one segment or several coded each on its own, in the order of their frames.

    A segment of 4n+1 frames has n+1 latent frames: the first stands for one frame, each other for four. Values are the
    autoencoder's raw mean; models take them whitened, (value - mean) / std a channel.
    """

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("view", pa.string(), nullable=False),
            pa.field("backend", pa.string(), nullable=False),
            pa.field("vae", pa.string(), nullable=False),
            pa.field("vae_digest", pa.string()),
            pa.field("vae_weights", pa.string()),
            pa.field("precision", pa.string(), nullable=False),
            pa.field("device", pa.string(), nullable=False),
            pa.field("pixel_rounding", pa.string(), nullable=False),
            pa.field("tile", pa.int32()),
            pa.field("frames", pa.int64(), nullable=False),
            pa.field("frames_repeated", pa.int64(), nullable=False),
            pa.field("frames_left_out", pa.int64(), nullable=False),
            pa.field("segment_frames", pa.int64(), nullable=False),
            pa.field("segment_starts", pa.list_(pa.int64()), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("fit", pa.string(), nullable=False),
            pa.field("stride_time", pa.int32(), nullable=False),
            pa.field("stride_space", pa.int32(), nullable=False),
            pa.field("latents_TCHW", TENSOR, nullable=False),
            pa.field("latent_mean_C", TENSOR, nullable=False),
            pa.field("latent_std_C", TENSOR, nullable=False),
        ]
    )

    view: str  # what was coded: video, reference, pose or background
    backend: str  # vae, or dct: the codec without weights, whose latents no Wan model takes
    vae: str  # the model's name (of a path its last folder), or the codec's: dct-z16-v1, dct-z48-v1
    vae_digest: str | None  # of its config and weights as files; None: a codec, which its name says all of
    # Of the weights by their values (`Vae.fingerprint`), the same for official files and diffusers folders; None: a
    # codec, or latents of before this was kept.
    vae_weights: str | None = None
    precision: str  # float32 or bfloat16: what it was computed in
    device: str  # cpu or cuda
    pixel_rounding: (
        str  # float32: none; bfloat16: pixels were rounded before, as Wan2.2-Animate's official code does
    )
    tile: int | None  # pixels a side of the squares that pictures were coded in; None: whole
    frames: int  # of the clip that the latents stand for
    # Pictures added at the end: copies of the last frame; of Animate's pose and background the clip backwards, then
    # forwards; of S2V's pose black ones.
    frames_repeated: int
    frames_left_out: int  # of the clip's end
    segment_frames: int  # 4n+1 pictures coded together
    segment_starts: list[int]  # the clip's frame that each segment starts with; segments may overlap
    width: int  # pixels of the pictures that were coded
    height: int
    fit: str  # how pictures were brought to that size: cover, letterbox, stretch, s2v
    stride_time: int  # frames a latent frame, after the first
    stride_space: int  # pixels a latent row and column
    latents_TCHW: Tensor  # float32 or float16 [segments * (n+1), channels, height/stride, width/stride]
    latent_mean_C: Tensor  # float32 [channels]: `latent_norm`
    latent_std_C: Tensor  # float32 [channels]

    @property
    def channels(self) -> int:
        return int(self.latent_mean_C.shape[0])

    @property
    def segments(self) -> int:
        return len(self.segment_starts)

    @property
    def latent_frames(self) -> int:
        """Latent frames of a segment."""
        return (self.segment_frames - 1) // self.stride_time + 1

    def segment_CTHW(self, segment: int = 0, *, whitened: bool = False) -> npt.NDArray[np.float32]:
        """One segment as float32 [channels, latent frames, rows, columns]; `whitened`: less mean, over std.

        Raises:
            IndexError: there is no such segment.
        """
        if not 0 <= segment < self.segments:
            raise IndexError(f"segment {segment} of a record that has {self.segments}")
        start = segment * self.latent_frames
        part_TCHW = self.latents_TCHW[start : start + self.latent_frames]
        latents_CTHW = np.array(np.moveaxis(part_TCHW, 0, 1), np.float32, order="C")
        if whitened:
            latents_CTHW -= np.asarray(self.latent_mean_C, np.float32)[:, None, None, None]
            latents_CTHW /= np.asarray(self.latent_std_C, np.float32)[:, None, None, None]
        return latents_CTHW
