"""A clip that holds all of Animate's conditioning, made with the stages' own coders from drawn pictures, in memory."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from helpers.latent_clips import moving_THWC
from schemas import (
    BackgroundRecord,
    ClipRecord,
    FaceCropsRecord,
    ImageEmbedRecord,
    LatentsRecord,
    NegativeTextRecord,
    OutcomeRecord,
    Record,
    ReplaceMaskRecord,
    TextRecord,
)
from schemas.blocks import compress, pack_bits
from schemas.pictures import encode_picture
from stages.latents.animate import SegmentsConfig, SegmentWriter
from stages.latents.layout import whole
from stages.latents.reference import ReferenceLatentsConfig
from stages.latents.vae_coder import VaeCoder
from stages.latents.writer import LatentWriter
from wanprep.animate.replacement_ground import ground_THWC
from wanprep.models.tiny_components import IMAGE_WIDTH, TEXT_WIDTH
from wanprep.stage import ClipContext
from wanprep.store.clip import StoredClip

Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Drawn:
    """What a clip is made of, as another pipeline takes it."""

    pose_THWC: Pictures
    faces_THWC: Pictures
    reference_HWC: Pictures
    background_THWC: Pictures  # black where the person is replaced
    replaced_THW: npt.NDArray[np.bool_]
    text_LC: npt.NDArray[np.float32]
    negative_LC: npt.NDArray[np.float32]
    image_embed_TC: npt.NDArray[np.float32]


class MemoryStore:
    """As much of a store as a clip asks of it."""

    def __init__(self, records: Mapping[str, Record | None], reasons: Mapping[str, str]) -> None:
        self._records = records
        self._reasons = reasons

    def artifact(self, stage: str, key: str) -> Record | None:
        return self._records.get(stage)

    def outcome(self, key: str) -> OutcomeRecord | None:
        if key not in self._reasons:
            return None
        return OutcomeRecord(
            key=key, stage=key, clip_id="dance", outcome="skipped", reason=self._reasons[key], run="test"
        )


def memory_clip(
    records: Mapping[str, Any], reasons: Mapping[str, str] | None = None, **row: Any
) -> StoredClip:
    """A clip with these records by stage, and stages that were skipped for a reason."""
    reasons = reasons or {}
    keys = {stage: stage for stage in (*records, *reasons)}
    row = {"clip_id": "dance", "recipe": "test", "fps": 30.0, **row}
    return StoredClip(MemoryStore(records, reasons), ClipRecord(keys=keys, **row))  # type: ignore[arg-type]


def drawn(frames: int, size: tuple[int, int] = (48, 32), face: int = 24, seed: int = 0) -> Drawn:
    """Pictures of (width, height), faces of `face` pixels a side, and states of 7, 4 and 257 tokens."""
    width, height = size
    rng = np.random.default_rng(seed)
    replaced_THW = np.zeros((frames, height, width), np.bool_)
    for frame in range(frames):
        replaced_THW[frame, 4 : height - 6, 6 + frame % 9 : 26 + frame % 9] = True
    return Drawn(
        pose_THWC=moving_THWC(frames, width, height),
        faces_THWC=moving_THWC(frames, face, face)[:, ::-1].copy(),
        reference_HWC=moving_THWC(1, width, height)[0, :, ::-1].copy(),
        background_THWC=ground_THWC(moving_THWC(frames, width, height)[:, ::-1], replaced_THW),
        replaced_THW=replaced_THW,
        text_LC=rng.standard_normal((7, TEXT_WIDTH)).astype(np.float32),
        negative_LC=rng.standard_normal((4, TEXT_WIDTH)).astype(np.float32),
        image_embed_TC=rng.standard_normal((257, IMAGE_WIDTH)).astype(np.float32),
    )


def records_of(
    pictures: Drawn,
    folder: Path,
    vae: Path,
    *,
    length: int,
    overlap: int,
    replaces: bool = False,
    rounding: str = "float32",
    rule: str = "centre_crop",
) -> dict[str, Any]:
    """The artifacts by stage; latents by the VAE in a folder or file."""
    encoder = encoder_fields(vae, rounding)
    config = SegmentsConfig(segment_frames=length, segment_overlap=overlap, **encoder)
    coder = loaded_coder(vae, rounding)
    height, width = pictures.reference_HWC.shape[:2]
    context = ClipContext(ClipRecord(clip_id="dance", recipe="test"), {}, folder)

    def segments_of(pictures_THWC: Pictures, view: str) -> LatentsRecord:
        writer = SegmentWriter(coder, config, len(pictures_THWC), (width, height), context)
        writer.add(pictures_THWC)
        return settled(writer.finish(view=view, fit="letterbox"))

    one = LatentWriter(coder, ReferenceLatentsConfig(**encoder), whole(1, "skip"), (width, height), context)
    one.add(pictures.reference_HWC[None])
    records: dict[str, Any] = {
        "pose_latents": segments_of(pictures.pose_THWC, "pose"),
        "reference_latents": settled(one.finish(view="reference", fit="letterbox")),
        "face_crops": face_crops(pictures.faces_THWC),
        "text": text(pictures.text_LC),
        "negative_text": negative_text({"wan": pictures.negative_LC, "empty": pictures.negative_LC}),
        "image_embed": image_embed(pictures.image_embed_TC, rule, (width, height)),
    }
    if replaces:
        records["background_latents"] = segments_of(pictures.background_THWC, "background")
        records["replace_mask"] = replace_mask(pictures.replaced_THW)
        records["background"] = background(pictures.background_THWC)
    context.close()
    return records


def encoder_fields(vae: Path, rounding: str) -> dict[str, Any]:
    return {"backend": "vae", "model": str(vae), "device": "cpu", "pixel_rounding": rounding}


@functools.lru_cache(maxsize=4)
def loaded_coder(vae: Path, rounding: str) -> VaeCoder:
    """A stage's coder; of one folder it is loaded once."""
    return VaeCoder(SegmentsConfig(**encoder_fields(vae, rounding)))


def settled(record: LatentsRecord) -> LatentsRecord:
    """The record with its latents in memory, so that the scratch space can go."""
    return replace(record, latents_TCHW=np.array(record.latents_TCHW))


def text(states_LC: npt.NDArray[np.float32]) -> TextRecord:
    count, channels = states_LC.shape
    return TextRecord(
        backend="umt5",
        model_digest="0" * 32,
        precision="float32",
        device="cpu",
        layer=None,
        text="她在跳舞",
        source="prompt",
        limit=512,
        tokens=count,
        truncated=0,
        channels=channels,
        states_LC=states_LC,
    )


def negative_text(states: Mapping[str, npt.NDArray[np.float32]]) -> NegativeTextRecord:
    lengths = [len(states_LC) for states_LC in states.values()]
    return NegativeTextRecord(
        backend="umt5",
        model_digest="0" * 32,
        precision="float32",
        device="cpu",
        layer=None,
        names=list(states),
        texts=list(states),
        limit=512,
        tokens=lengths,
        truncated=[0] * len(lengths),
        lengths=lengths,
        channels=next(iter(states.values())).shape[1],
        states_LC=np.concatenate(list(states.values())),
    )


def image_embed(embed_TC: npt.NDArray[np.float32], rule: str, size: tuple[int, int]) -> ImageEmbedRecord:
    return ImageEmbedRecord(
        encoder="tiny",
        encoder_digest="0" * 32,
        rule=rule,
        width=size[0],
        height=size[1],
        hidden_layer=-2,
        precision="float32",
        device="cpu",
        embed_TC=embed_TC,
    )


def _blocks(parts: list[bytes]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    return np.frombuffer(b"".join(parts), np.uint8), np.cumsum([0, *map(len, parts)]).astype(np.int64)


def face_crops(faces_THWC: Pictures) -> FaceCropsRecord:
    frames, size = faces_THWC.shape[:2]
    blocks, offsets_T = _blocks([encode_picture(face_HWC, "webp-lossless") for face_HWC in faces_THWC])
    return FaceCropsRecord(
        compat="official",
        codec="webp-lossless",
        size=size,
        frames=frames,
        width=100,
        height=100,
        blocks=blocks,
        offsets_T=offsets_T,
        boxes_TC=np.tile(np.array([0, 0, size, size], np.float32), (frames, 1)),
        valid_T=np.ones(frames, np.bool_),
        filled_T=np.zeros(frames, np.bool_),
        sharpness_T=np.ones(frames, np.float32),
        face_share=1.0,
        mean_sharpness=1.0,
    )


def replace_mask(replaced_THW: npt.NDArray[np.bool_]) -> ReplaceMaskRecord:
    frames, height, width = replaced_THW.shape
    blocks, offsets_T = _blocks([bytes(compress(pack_bits(mask_HW))) for mask_HW in replaced_THW])
    return ReplaceMaskRecord(
        backend="drawn",
        compat="robust",
        iterations=3,
        kernel=7,
        w_len=1,
        h_len=1,
        frames=frames,
        width=width,
        height=height,
        blocks=blocks,
        offsets_T=offsets_T,
        source_T=np.full(frames, 2, np.uint8),
        coverage_T=replaced_THW.mean(axis=(1, 2)).astype(np.float32),
        mean_coverage=float(replaced_THW.mean()),
        frames_filled=0,
        frames_empty=0,
    )


def background(pictures_THWC: Pictures, codec: Any = "webp-lossless") -> BackgroundRecord:
    blocks, offsets_T = _blocks([encode_picture(picture_HWC, codec) for picture_HWC in pictures_THWC])
    frames, height, width = pictures_THWC.shape[:3]
    return BackgroundRecord(
        codec=codec, frames=frames, width=width, height=height, blocks=blocks, offsets_T=offsets_T
    )
