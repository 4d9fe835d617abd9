"""The segment loop: which frames come, what segments hand on, and that nothing is held that need not be."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.animate_clip import drawn, memory_clip, records_of
from hypothesis import given
from hypothesis import strategies as st

from wanprep_infer.animate import AnimateSettings
from wanprep_infer.conditioning import AnimateConditioning
from wanprep_infer.conditioning.unfit import UnfitConditioning

torch = pytest.importorskip("torch")

from wanprep_infer.animate.denoise import decode, noise_CTHW  # noqa: E402
from wanprep_infer.animate.history import carried_frames  # noqa: E402
from wanprep_infer.animate.pipeline import AnimatePipeline  # noqa: E402


class Heard:
    """Keeps what a pipeline tells of its progress."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def begin(self, label: str, segments: int, steps: int) -> None:
        self.said.append((label, segments, steps))

    def step(self) -> None:
        self.said.append("step")

    def segment(self, frames: int) -> None:
        self.said.append(frames)

    def end(self) -> None:
        self.said.append("end")


def conditioning_of(
    folder: Path, vae_folder: Path, frames: int, *, length: int = 9, overlap: int = 1, mode: Any = "animate"
) -> AnimateConditioning:
    records = records_of(
        drawn(frames),
        folder,
        vae_folder,
        length=length,
        overlap=overlap,
        replaces=mode == "replace",
        rounding="bfloat16",
        rule=mode,
    )
    return AnimateConditioning.from_clip(memory_clip(records), mode)


@pytest.mark.parametrize(
    ("frames", "length", "overlap", "parts"),
    [(1, 9, 1, [1]), (9, 9, 1, [9]), (10, 9, 1, [9, 1]), (19, 9, 1, [9, 8, 2]), (14, 13, 5, [13, 1])],
)
def test_frames_together_are_the_clips(
    flow: Any,
    vae: Any,
    generator_folder: Path,
    tmp_path: Path,
    frames: int,
    length: int,
    overlap: int,
    parts: list[int],
) -> None:
    conditioning = conditioning_of(tmp_path, generator_folder, frames, length=length, overlap=overlap)
    heard = Heard()
    made = list(AnimatePipeline(flow, vae).generate(conditioning, AnimateSettings(steps=2), 0, heard))
    assert [part.shape for part in made] == [(3, count, 32, 48) for count in parts]
    assert all(part.dtype == torch.float32 and part.abs().max() <= 1 for part in made)
    said = [("dance", len(parts), 2)]
    for count in parts:
        said += ["step", "step", count]  # type: ignore[list-item]
    assert heard.said == [*said, "end"]


def test_same_seed_same_frames(flow: Any, vae: Any, generator_folder: Path, tmp_path: Path) -> None:
    conditioning = conditioning_of(tmp_path, generator_folder, 15)
    pipeline, settings = AnimatePipeline(flow, vae), AnimateSettings(steps=2, shift=1.0, solver="dpm++")
    first, again, other = (
        torch.cat(list(pipeline.generate(conditioning, settings, seed)), 1) for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    noises = [
        noise_CTHW(torch.Generator().manual_seed(seed), torch.zeros(20, 4, 4, 6), 16) for seed in (3, 4)
    ]
    assert not torch.equal(*noises)
    assert other.shape == first.shape


@pytest.mark.parametrize("mode", ["animate", "replace"])
@pytest.mark.parametrize("compat", ["official", "diffusers"])
def test_later_segments_begin_with_the_frames_before(
    flow: Any, vae: Any, generator_folder: Path, tmp_path: Path, mode: Any, compat: Any
) -> None:
    """Decoded again, a later segment's condition shows what the segment before ended with, in float."""
    conditioning = conditioning_of(tmp_path, generator_folder, 15, mode=mode)
    rounds = compat == "official"
    settings = AnimateSettings(mode=mode, compat=compat, steps=2)
    pipeline = AnimatePipeline(flow, vae)
    first, _ = pipeline._segments(conditioning, settings, 0, Heard())
    y = flow.conditions[-1]
    assert y.dtype == (torch.bfloat16 if rounds else torch.float32)
    # What the VAE is given by rights, made in one go.
    last_CHW = first[:, -1].bfloat16().float() if rounds else first[:, -1]
    shown_CTHW = torch.zeros(3, 9, 32, 48)
    if mode == "replace":
        grounds = next(iter(conditioning.later_backgrounds()))
        for place, frame in enumerate(conditioning.shown_T(1)[1:], start=1):
            shown_CTHW[:, place] = torch.from_numpy(grounds[int(frame)]).permute(2, 0, 1) / 127.5 - 1
        if rounds:
            shown_CTHW = shown_CTHW.bfloat16().float()
    shown_CTHW[:, 0] = last_CHW
    wanted_CTHW = vae.whiten(vae.encode(shown_CTHW))
    wanted_CTHW = wanted_CTHW.bfloat16().float() if rounds else wanted_CTHW
    torch.testing.assert_close(y[4:, 1:].float(), wanted_CTHW, rtol=2**-7, atol=1e-5)
    assert (y[:4, 1] == 1).all() and (y[:4, :1] == 1).all()
    assert np.array_equal(y[:4, 1:].float().numpy(), conditioning.mask_channels_CTHW(1))
    # 8-bit numbers would have been seen: the frames before lie between them.
    levels = (first[:, -1] + 1) * 127.5
    assert (levels - levels.round()).abs().max() > 0.1


@given(
    new=st.integers(1, 12),
    overlap=st.sampled_from([1, 5]),
    before=st.booleans(),
    rounds=st.booleans(),
)
def test_carried_frames_are_the_last_of_all(new: int, overlap: int, before: bool, rounds: bool) -> None:
    every_CTHW = torch.rand(3, overlap + new, 2, 2, generator=torch.Generator().manual_seed(new)) * 2 - 1
    given_CTHW, new_CTHW = every_CTHW[:, :overlap], every_CTHW[:, overlap:]
    carried_CTHW = carried_frames(new_CTHW, overlap, given_CTHW if before else None, rounds=rounds)
    wanted_CTHW = (every_CTHW if before else new_CTHW)[:, -overlap:]
    assert torch.equal(carried_CTHW, wanted_CTHW.bfloat16().float() if rounds else wanted_CTHW)
    if carried_CTHW.numel():
        assert carried_CTHW.untyped_storage().nbytes() == carried_CTHW.numel() * 4, "frames are kept alive"


def test_segments_shorter_than_twice_the_overlap_carry_enough(
    flow: Any, vae: Any, generator_folder: Path, tmp_path: Path
) -> None:
    """Segments of 9 frames that share 5 add 4: the fifth frame that the next one begins with is an older one."""
    conditioning = conditioning_of(tmp_path, generator_folder, 15, length=9, overlap=5)
    made = list(AnimatePipeline(flow, vae).generate(conditioning, AnimateSettings(steps=1), 0))
    assert [part.shape[1] for part in made] == [9, 4, 2]


def test_grey_condition_is_encoded_once_a_size(
    flow: Any, vae: Any, generator_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditioning = conditioning_of(tmp_path, generator_folder, 9)
    pipeline = AnimatePipeline(flow, vae)
    encoders: list[Any] = []
    make = type(vae).encoder
    monkeypatch.setattr(type(vae), "encoder", lambda *given: encoders.append(given) or make(*given))
    for seed in range(3):
        list(pipeline.generate(conditioning, AnimateSettings(steps=1), seed))
    assert len(encoders) == 1


def test_guidance_leads_away_from_a_black_face_and_the_negative_prompt(
    flow: Any, vae: Any, generator_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditioning = conditioning_of(tmp_path, generator_folder, 15)
    without: list[Any] = []
    make = flow.other_branch
    monkeypatch.setattr(
        flow, "other_branch", lambda tokens, **more: without.append(more) or make(tokens, **more)
    )
    pipeline = AnimatePipeline(flow, vae)
    faces = []
    for guidance in (1.0, 3.0):
        list(pipeline.generate(conditioning, AnimateSettings(steps=1, guidance=guidance), 0))
        faces.append(flow.faces)
    # The second segment shows frames 8 to 14 and 13 again; a black face is encoded once.
    assert faces == [9 + 7, 2 * (9 + 7) + 1]
    negative_LC = conditioning.negative_text.states_of("wan")
    assert len(without) == 2
    for branch in without:
        assert branch["motion_TC"].shape == (9, 3) and (branch["motion_TC"] == -1).all()
        assert np.array_equal(branch["context_LC"].numpy(), negative_LC)


def test_stored_motion_vectors_take_the_place_of_faces(
    flow: Any, vae: Any, generator_folder: Path, tmp_path: Path
) -> None:
    from types import SimpleNamespace

    conditioning = conditioning_of(tmp_path, generator_folder, 15)
    pipeline = AnimatePipeline(flow, vae, motion_digest="mine")
    settings = AnimateSettings(steps=1)
    by_pixels = list(pipeline.generate(conditioning, settings, 0))
    vectors_TC = np.empty((15, 3), np.float32)
    for segment in (0, 1):
        vectors_TC[conditioning.shown_T(segment)] = flow.prepared[segment]["motion_TC"].numpy()
    seen = flow.faces

    def motion(digest: str, rounding: str, precision: str) -> Any:
        return SimpleNamespace(
            encoder_digest=digest, pixel_rounding=rounding, precision=precision, motion_TC=vectors_TC
        )

    stored = replace(conditioning, face_motion=motion("mine", "bfloat16", "float32"), face_crops=None)
    pairs = zip(by_pixels, pipeline.generate(stored, settings, 0), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert flow.faces == seen
    list(pipeline.generate(replace(stored, face_motion=motion("mine", "float32", "bfloat16")), settings, 0))
    assert flow.faces == seen, "in bfloat16 the rounding of pixels makes no difference"
    for face_motion in (motion("another", "bfloat16", "float32"), motion("mine", "float32", "float32")):
        list(pipeline.generate(replace(conditioning, face_motion=face_motion), settings, 0))
        assert flow.faces == (seen := seen + 9 + 7)
        with pytest.raises(UnfitConditioning, match="run again with the stage face_crops"):
            pipeline.generate(replace(stored, face_motion=face_motion), settings, 0)


class Recorded:
    """A background that says when it is closed and how much of it was read."""

    def __init__(self, frames_THWC: Any) -> None:
        self.frames_THWC = frames_THWC
        self.closed = False
        self.read = 0

    def pictures(self, start: int) -> Any:
        try:
            for frame in range(start, len(self.frames_THWC), 3):
                part_THWC = self.frames_THWC[frame : frame + 3]
                self.read = frame + len(part_THWC)
                yield part_THWC
        finally:
            self.closed = True


def test_closing_frees_a_generation(flow: Any, vae: Any, generator_folder: Path, tmp_path: Path) -> None:
    frames = 33
    conditioning = conditioning_of(tmp_path, generator_folder, frames, mode="replace")
    ground = Recorded(drawn(frames).background_THWC)
    conditioning = replace(conditioning, ground=ground)
    heard = Heard()
    parts = AnimatePipeline(flow, vae).generate(
        conditioning, AnimateSettings(mode="replace", steps=1), 0, heard
    )
    next(parts)
    assert not ground.read, "the first segment's background is in the store"
    frames_CTHW = next(parts)
    assert 17 <= ground.read <= 20 and not ground.closed
    held = weakref.ref(frames_CTHW)
    del frames_CTHW
    flow.prepared.clear()
    flow.conditions.clear()
    parts.close()
    gc.collect()
    assert ground.closed and held() is None
    assert heard.said[-1] == "end"


def test_a_taker_may_free_frames_while_the_next_are_made(
    flow: Any, vae: Any, generator_folder: Path, tmp_path: Path
) -> None:
    conditioning = conditioning_of(tmp_path, generator_folder, 25)
    alive: list[int] = []
    seen: list[Any] = []
    velocity = flow.velocity

    def counted(*given: Any) -> Any:
        alive.append(sum(ref() is not None for ref in seen))
        return velocity(*given)

    flow.velocity = counted
    for part in AnimatePipeline(flow, vae).generate(conditioning, AnimateSettings(steps=1), 0):
        seen.append(weakref.ref(part))
        del part
    assert alive == [0, 0, 0]


@pytest.mark.parametrize(("frames", "skip"), [(3, 0), (3, 1), (3, 5), (1, 0)])
def test_decoding_in_pieces_is_decoding(vae: Any, frames: int, skip: int) -> None:
    latents_CTHW = torch.randn(16, frames, 4, 6, generator=torch.Generator().manual_seed(2))
    wanted_CTHW = vae.decode(vae.unwhiten(latents_CTHW))[:, skip:]
    assert torch.equal(decode(vae, latents_CTHW, skip), wanted_CTHW)
    assert torch.equal(decode(replace(vae, streams=False), latents_CTHW, skip), wanted_CTHW)
