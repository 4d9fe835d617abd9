"""Conditioning out of a store: typed, mapped, and refused in one sentence where it does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.animate_clip import drawn, face_crops, memory_clip, records_of, replace_mask
from helpers.animate_store import FRAMES, make_store
from hypothesis import given
from hypothesis import strategies as st

from wanprep_infer.conditioning import CONDITIONING_SETS, AnimateConditioning, coverage
from wanprep_infer.conditioning.animate import PRESETS
from wanprep_infer.conditioning.unfit import UnfitConditioning

SIZE = (48, 32)


@pytest.fixture(scope="module")
def records(generator_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """A clip of 21 frames in three segments, for both modes."""
    folder = tmp_path_factory.mktemp("records")
    return records_of(
        drawn(FRAMES, SIZE),
        folder,
        generator_folder / "vae",
        length=9,
        overlap=1,
        replaces=True,
        rounding="bfloat16",
        rule="replace",
    )


def refused(records: Mapping[str, Any], mode: Any = "replace", **more: Any) -> str:
    """Why a clip with these records is refused."""
    with pytest.raises(UnfitConditioning) as error:
        AnimateConditioning.from_clip(memory_clip(records, **more), mode)
    text = str(error.value)
    assert text.startswith("clip dance: ") and "\n" not in text
    assert any(
        word in text for word in ("run again with", "prepare the clip with", "run both stages", "run the")
    )
    return text


@pytest.mark.parametrize("mode", ["animate", "replace"])
def test_a_stored_clip_is_mapped_and_typed(records: Mapping[str, Any], tmp_path: Path, mode: Any) -> None:
    store = make_store(tmp_path, records, fps=30000 / 1001)
    clip = store.clip("dance")
    made = AnimateConditioning.from_clip(clip, mode)
    assert (made.width, made.height, made.frames, made.fps) == (*SIZE, FRAMES, Fraction(30000, 1001))
    assert (made.segment_frames, made.segment_overlap) == (9, 1)
    assert made.segments.windows == ((0, 9), (8, 17), (16, 25))
    mapped: Any = made.image_embed.embed_TC  # smaller tensors lie in their rows
    while not isinstance(mapped, np.memmap):
        mapped = mapped.base
    assert not mapped.flags.writeable
    only_replace = {"replace_mask", "background_latents", "background"}
    names = set(records) - (set() if mode == "replace" else only_replace)
    assert made.keys == {name: clip.record.keys[name] for name in sorted(names)}
    unguided = AnimateConditioning.from_clip(clip, mode, guided=False)
    assert unguided.negative_text is None and unguided.keys.keys() == names - {"negative_text"}
    for segment in range(3):
        pose_CTHW = made.pose_latents_CTHW(segment)
        assert pose_CTHW.shape == (16, 3, 4, 6) and pose_CTHW.dtype == np.float32
        raw_CTHW = records["pose_latents"].segment_CTHW(segment)
        norm = (records["pose_latents"].latent_mean_C, records["pose_latents"].latent_std_C)
        mean, std = (values[:, None, None, None] for values in norm)
        assert np.allclose(pose_CTHW, (raw_CTHW - mean) / std)
        known_CTHW = made.mask_channels_CTHW(segment)
        assert known_CTHW.shape == (4, 3, 4, 6) and set(np.unique(known_CTHW)) <= {0.0, 1.0}
        assert (known_CTHW[:, 0] == 1).all() == (segment > 0)
    assert made.reference_latents_CTHW().shape == (16, 1, 4, 6)
    assert made.shown_T(2).tolist() == [16, 17, 18, 19, 20, 19, 18, 17, 16]
    if mode == "replace":
        assert made.background_latents_CTHW().shape == (16, 3, 4, 6)
        keep_THW = ~drawn(FRAMES, SIZE).replaced_THW[made.shown_T(2)][:, ::8, ::8]
        assert np.array_equal(made.mask_channels_CTHW(2)[:, 1], keep_THW[1:5])
        assert len(list(made.later_backgrounds())) == 2
    else:
        assert not made.mask_channels_CTHW(0).any()
        for ask in (made.background_latents_CTHW, made.later_backgrounds):
            with pytest.raises(ValueError, match="only replacement"):
                ask()


def test_of_one_segment_the_stored_background_is_neither_taken_nor_keyed(
    generator_folder: Path, tmp_path: Path
) -> None:
    """Named after the bug: keeping backgrounds gave clips of one segment, which show none of them, another key."""
    records = records_of(
        drawn(9, SIZE), tmp_path, generator_folder / "vae", length=9, overlap=1, replaces=True, rule="replace"
    )
    made = AnimateConditioning.from_clip(memory_clip(records), "replace")
    assert made.ground is None and "background" not in made.keys and "background_latents" in made.keys


@pytest.mark.parametrize("mode", ["animate", "replace"])
def test_what_coverage_asks_for_is_what_is_taken(records: Mapping[str, Any], mode: Any) -> None:
    names = CONDITIONING_SETS[PRESETS[mode]]
    least = {name: records[name] for name in names}
    assert coverage(memory_clip(least), PRESETS[mode]).ready
    AnimateConditioning.from_clip(memory_clip(least if mode == "animate" else records), mode)
    for name in names:
        text = refused({stage: record for stage, record in least.items() if stage != name}, mode)
        assert f"its recipe has no stage '{name}'" in text and f"--preset {PRESETS[mode]}" in text
        text = refused(
            {stage: record for stage, record in least.items() if stage != name},
            mode,
            reasons={name: "no person"},
        )
        assert f"{name} was skipped: no person" in text


def test_stored_motion_vectors_make_crops_unnecessary(records: Mapping[str, Any]) -> None:
    from schemas import FaceMotionRecord

    motion = FaceMotionRecord(
        model="tiny",
        encoder_digest="0" * 32,
        precision="float32",
        device="cpu",
        pixel_rounding="bfloat16",
        size=16,
        frames=FRAMES,
        motion_TC=np.zeros((FRAMES, 4), np.float32),
    )
    without = {name: record for name, record in records.items() if name != "face_crops"}
    made = AnimateConditioning.from_clip(memory_clip({**without, "face_motion": motion}), "animate")
    assert made.face_crops is None and "face_motion" in made.keys
    assert "face_motion has 3 frames" in refused({**without, "face_motion": replace(motion, frames=3)})


def _latents(name: str, **changed: Any) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda records: {name: replace(records[name], **changed)}


CASES: dict[str, tuple[Callable[[Mapping[str, Any]], dict[str, Any]], str, str]] = {
    "codec": (
        _latents("pose_latents", backend="dct", vae="dct-z16-v1"),
        "pose_latents were made by dct-z16-v1, a codec without weights",
        "--set pose_latents.backend=vae",
    ),
    "background codec": (
        _latents("background_latents", backend="dct", vae="dct-z16-v1"),
        "background_latents were made by dct-z16-v1",
        "--set background_latents.backend=vae",
    ),
    "hashed words": (
        _latents("text", backend="hashed-ngram-v1"),
        "the text embedding was made by hashed-ngram-v1",
        "--set text.backend=umt5",
    ),
    "reference of another size": (
        _latents("reference_latents", width=64),
        "reference_latents are of 64x32 pixels and pose_latents of 48x32",
        "--set reference_latents.size_of=video",
    ),
    "mask of another size": (
        _latents("replace_mask", height=64),
        "replace_mask are of 48x64 pixels and pose_latents of 48x32",
        "shared.size.area",
    ),
    "background of another size": (
        _latents("background", width=64),
        "background are of 64x32 pixels",
        "shared.size.area",
    ),
    "size of no patches": (
        _latents("pose_latents", width=56),
        "pose_latents are of 56x32 pixels, and Animate takes multiples of 16",
        "pose_latents.size",
    ),
    "retargeted": (
        _latents("pose_latents", fit="retarget"),
        "pose_latents were retargeted to the reference picture",
        "--set pose_latents.mode=replace",
    ),
    "overlap": (
        _latents("pose_latents", segment_starts=[0, 6, 12]),
        "segments of pose_latents share 3 frames, and Animate carries over 1 or 5",
        "--set pose_latents.segment_overlap=1",
    ),
    "segments of another rule": (
        _latents("pose_latents", segment_starts=[0, 8, 17]),
        "pose_latents are not cut into segments by Animate's rule for 21 frames",
        "run the stage pose_latents again",
    ),
    "background in other segments": (
        _latents("background_latents", segment_frames=13, segment_starts=[0, 12]),
        "background_latents and pose_latents are cut into different segments",
        "shared.segment_overlap",
    ),
    "faces of another timeline": (
        lambda records: {"face_crops": face_crops(drawn(20).faces_THWC)},
        "face_crops has 20 frames and pose_latents 21",
        "run both stages again on one timeline",
    ),
    "masks of another timeline": (
        lambda records: {"replace_mask": replace_mask(drawn(22, SIZE).replaced_THW)},
        "replace_mask has 22 frames and pose_latents 21",
        "run both stages again on one timeline",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused(records: Mapping[str, Any], case: str) -> None:
    change, why, remedy = CASES[case]
    text = refused({**records, **change(records)})
    assert why in text and remedy in text


@given(frames=st.integers(1, 400), length=st.sampled_from([9, 21, 77]), overlap=st.sampled_from([1, 5]))
def test_the_overlap_is_read_from_the_segments(frames: int, length: int, overlap: int) -> None:
    from types import SimpleNamespace

    from wanprep.animate.segments import segments
    from wanprep_infer.conditioning.animate_rules import overlap_of

    starts = [start for start, _ in segments(frames, length, overlap).windows]
    pose: Any = SimpleNamespace(frames=frames, segment_frames=length, segment_starts=starts)
    assert overlap_of("dance", pose) == (overlap if len(starts) > 1 else 1)
