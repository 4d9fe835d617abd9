"""The loop over clips, with a generator without weights whose pictures show which sound they were given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers.media import write_picture  # noqa: E402
from helpers.s2v_conditioning import Hearing, Showing, conditioning, latents_record, pose_record  # noqa: E402

from wanprep.media.speech_frames import bucket  # noqa: E402
from wanprep_infer.conditioning.unfit import UnfitConditioning  # noqa: E402
from wanprep_infer.s2v import S2VPipeline, S2VSettings, plan_of  # noqa: E402

QUICK = {"steps": 2, "frames_per_clip": 12, "guidance": 1.0}


class Run:
    """A generation, and what was asked of model and VAE."""

    def __init__(
        self, seconds: float, seed: int = 7, given: Mapping[str, Any] | None = None, **settings: Any
    ):
        self.settings = S2VSettings.model_validate(QUICK | settings)
        self.conditioning = conditioning(seconds, settings=self.settings, **(given or {}))
        self.model, self.vae, self.progress = Hearing(), Showing(), Heard()
        pipeline = S2VPipeline(self.model, self.vae)
        self.parts = list(pipeline.generate(self.conditioning, self.settings, seed, self.progress))
        self.frames_CTHW = torch.cat(self.parts, 1)
        self.grey_T = self.frames_CTHW.mean((0, 2, 3)).numpy()


class Heard:
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


def states_of(run: Run, step: int) -> float:
    """The state frame that a video frame takes, scaled as the pictures are."""
    found = bucket(len(run.conditioning.audio_TLC), frames_per_clip=run.settings.frames_per_clip)
    return (
        float(run.conditioning.audio_TLC[found.indices_TN[step, 0], 0, 0]) if found.sounding_T[step] else 0.0
    )


@pytest.fixture
def ramp() -> dict[str, Any]:
    """Sound whose states rise slowly from 0 to less than 1."""
    values_T = np.linspace(0, 0.9, 58, dtype=np.float32)  # two seconds
    return {"audio_TLC": np.broadcast_to(values_T[:, None, None], (58, 25, 4)), "audio_seconds": 2.0}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"opening": "keep"},
        {"opening": "cut"},
        {"compat": "official"},
        {"drop_first_motion": False},
    ],
)
def test_every_frame_shows_the_sound_that_the_plan_says(
    settings: dict[str, Any], ramp: dict[str, Any]
) -> None:
    run = Run(2.0, given=ramp, **settings)
    plan = plan_of(run.conditioning, run.settings)
    assert len(run.grey_T) == run.conditioning.frames == plan.frames
    expected_T = [states_of(run, plan.step_of(frame)) for frame in range(plan.frames)]
    np.testing.assert_allclose(run.grey_T, expected_T, atol=0.01)


def test_starting_from_a_reference_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(UnfitConditioning, match="has no reference picture"):
        Run(1.0, start_from_reference=True)


def test_frames_come_as_float32_on_the_cpu_in_range_a_clip_at_a_time(ramp: dict[str, Any]) -> None:
    run = Run(2.0, given=ramp)
    assert [part.shape[1] for part in run.parts] == [12, 12, 8]
    assert all(part.dtype == torch.float32 and part.device.type == "cpu" for part in run.parts)
    assert run.frames_CTHW.abs().max() <= 1
    assert run.progress.said == [
        ("clip", 3, 2), "step", "step", 12, "step", "step", 12, "step", "step", 8, "end",
    ]  # fmt: skip


def test_noise_is_the_cpus_of_seed_and_clip() -> None:
    run = Run(2.0, seed=41)
    assert len(run.model.noises) == 3
    for clip, noise_CTHW in enumerate(run.model.noises):
        expected = torch.randn((16, 3, 8, 8), generator=torch.Generator().manual_seed(41 + clip))
        assert torch.equal(noise_CTHW, expected)


def test_first_clip_has_no_history_and_the_next_the_frames_before_it(ramp: dict[str, Any]) -> None:
    run = Run(2.0, given=ramp, compat="official")
    first, second = run.model.prepared[:2]
    assert first.drop_motion and first.motion_latents_CTHW is None
    assert not second.drop_motion and second.motion_latents_CTHW.shape == (16, 19, 8, 8)
    grey, greyer = run.vae.encoded  # nothing is encoded after the last clip
    assert len(run.model.prepared) == 3
    # 73 frames: mid-grey, then the 9 frames that the first clip shows, then 12 of the second.
    assert torch.equal(grey[:, :64], torch.zeros(3, 64, 64, 64))
    assert torch.equal(grey[:, 64:], run.parts[0])
    assert torch.equal(greyer[:, 52:61], run.parts[0]) and torch.equal(greyer[:, 61:], run.parts[1])


def test_held_frames_are_shown_and_never_remembered(ramp: dict[str, Any]) -> None:
    """History is what was decoded: copies would have the next clip continue from a still picture."""
    held, official = Run(2.0, given=ramp), Run(2.0, given=ramp, compat="official")
    assert torch.equal(held.vae.encoded[0], official.vae.encoded[0])
    assert torch.equal(held.parts[0][:, 0], held.parts[0][:, 3])
    assert torch.equal(held.parts[0][:, 3:], official.parts[0])


def test_first_history_is_grey_where_it_is_not_dropped() -> None:
    run = Run(0.5, drop_first_motion=False)
    assert torch.equal(run.vae.encoded[0], torch.zeros(3, 73, 64, 64))


def test_guidance_runs_a_second_branch_without_sound_and_with_the_negative_text() -> None:
    run = Run(2.0, guidance=4.5)
    for cond in run.model.prepared:
        (without,) = cond.branches
        assert cond.context_LC.shape == (3, 8) and without.context_LC.shape == (2, 8)
        assert cond.audio_LCT.any() and not without.audio_LCT.any()
        assert without.audio_LCT.shape == cond.audio_LCT.shape


def test_silence_and_texts_are_made_into_tokens_once_for_all_clips() -> None:
    model, vae = Hearing(), Showing()
    settings = S2VSettings.model_validate(QUICK | {"guidance": 4.5})
    pipeline = S2VPipeline(model, vae)
    for seed in (1, 2):
        for _ in pipeline.generate(conditioning(2.0, settings=settings), settings, seed):
            pass
    # Two texts a video, a sound for each of its three clips, and one silence.
    assert model.tokens == 2 * (2 + 3) + 1


def test_guidance_of_one_needs_no_negative_text() -> None:
    assert len(Run(0.5, given={"negative_LC": None}).model.prepared) == 1


def test_pose_advances_from_clip_to_clip_and_is_black_after_its_end() -> None:
    run = Run(2.0, given={"pose": pose_record(2, 12)})
    numbers = [list(tokens.pose_latents_CTHW[0, :, 0, 0]) for tokens in run.model.prepared]
    assert numbers[:2] == [
        [1, 2, 3],
        [5, 6, 7],
    ]  # of 0 to 3 and 4 to 7, the first each stands for a copied frame
    assert numbers[2] == [-1, -1, -1]  # the drawn VAE's latent of a black picture
    black = [pixels for pixels in run.vae.encoded if pixels.min() == -1]
    assert len(black) == 1 and black[0].shape[1] == 13


def test_without_a_pose_none_is_given() -> None:
    assert Run(0.5).model.prepared[0].pose_latents_CTHW is None


def test_clips_bound_the_video(ramp: dict[str, Any]) -> None:
    run = Run(2.0, given=ramp, clips=2)
    assert [part.shape[1] for part in run.parts] == [12, 12]


@pytest.mark.parametrize(
    ("given", "settings", "why"),
    [
        ({"text_LC": np.ones((3, 9), np.float32)}, {}, "text embedding has 9 channels and the model takes 8"),
        (
            {"negative_LC": np.ones((3, 9), np.float32)},
            {"guidance": 2.0},
            "negative_text embedding has 9 channels",
        ),
        ({"negative_LC": None}, {"guidance": 2.0}, "opened without a negative prompt"),
        ({"audio_TLC": np.zeros((30, 25, 6), np.float32)}, {}, "25 layers and 6 channels.*takes 25 and 4"),
        ({"audio_TLC": np.zeros((30, 13, 4), np.float32)}, {}, "13 layers and 4 channels"),
        (
            {"reference": latents_record(np.zeros((48, 1, 8, 8), np.float32))},
            {},
            "reference_latents have 48 channels and the model takes 16",
        ),
        (
            {"pose": pose_record(2, 12, vae="dct-z16-v1", backend="dct")},
            {},
            "s2v_pose_latents were made by dct-z16-v1.*--set s2v_pose_latents.backend=vae",
        ),
    ],
)
def test_what_does_not_fit_the_model_is_one_sentence(
    given: dict[str, Any], settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(UnfitConditioning, match=why) as raised:
        Run(1.0, given=given, **settings)
    assert "\n" not in str(raised.value) and str(raised.value).startswith("clip clip: ")


def test_latents_of_another_vae_are_refused() -> None:
    settings = S2VSettings.model_validate(QUICK)
    mine = conditioning(1.0, settings=settings)
    with pytest.raises(UnfitConditioning, match="made by another VAE"):
        S2VPipeline(Hearing(), Showing(), vae_digest="0" * 32).check(mine, settings)


def test_settings_that_give_other_frames_are_refused() -> None:
    mine = conditioning(1.0, settings=S2VSettings.model_validate(QUICK))
    pipeline = S2VPipeline(Hearing(), Showing())
    pipeline.check(mine, S2VSettings.model_validate(QUICK | {"steps": 5, "shift": 5.0}))
    with pytest.raises(UnfitConditioning, match="opened for other settings"):
        pipeline.generate(mine, S2VSettings.model_validate(QUICK | {"clips": 1}), 0)


def test_progress_ends_when_a_generation_is_broken_off() -> None:
    settings = S2VSettings.model_validate(QUICK)
    heard = Heard()
    frames = S2VPipeline(Hearing(), Showing()).generate(
        conditioning(2.0, settings=settings), settings, 0, heard
    )
    next(frames)
    frames.close()
    assert heard.said[-1] == "end"


def test_starting_from_the_reference_puts_it_into_the_first_history(tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "portrait.png", (64, 64))
    run = Run(1.0, given={"reference_uri": str(picture)}, start_from_reference=True)
    first = run.vae.encoded[0]
    expected_CHW = run.conditioning.reference_pixels_CHW()
    assert torch.equal(first[:, :67], torch.zeros(3, 67, 64, 64))
    for frame in range(67, 73):
        np.testing.assert_array_equal(first[:, frame].numpy(), expected_CHW)
    # No frame is dropped: the second history ends with all 12 frames, before them the reference.
    second = run.vae.encoded[1]
    assert torch.equal(second[:, 61:], run.parts[0])
    assert torch.equal(second[:, 55:61], first[:, 67:])
    assert not run.model.prepared[0].drop_motion
