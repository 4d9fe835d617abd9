"""Conditioning out of a store: values, keys, and one sentence for whatever does not fit."""

from __future__ import annotations

import mmap
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from helpers.media import write_picture
from helpers.s2v_conditioning import latents_record, pose_record
from helpers.s2v_store import audio, make_clip, negative_text, records, text

from schemas import Record
from wanprep.media.image import read_image
from wanprep.media.speech_frames import bucket_TLC
from wanprep.store.clip import StoredClip
from wanprep_infer.conditioning.s2v import S2VConditioning
from wanprep_infer.conditioning.unfit import UnfitConditioning
from wanprep_infer.s2v.settings import S2VSettings

SMALL = "the video is only 64x64, by the size of its reference picture: a larger one shows more"


def settings(**fields: Any) -> S2VSettings:
    return S2VSettings.model_validate({"frames_per_clip": 12, **fields})


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> StoredClip:
    return make_clip(tmp_path_factory.mktemp("s2v"), records(2.0))


def test_values_are_those_of_the_store(clip: StoredClip) -> None:
    found = S2VConditioning.from_clip(clip, settings())
    assert (found.width, found.height, found.fps, found.frames) == (64, 64, 16, 32)
    assert found.text_LC.dtype == np.float32 and (found.text_LC == 0.5).all()
    assert found.negative_LC is not None and found.negative_LC.shape == (2, 8)
    np.testing.assert_array_equal(found.reference_latents_CTHW(), clip.reference_latents.segment_CTHW(0) / 2)
    assert (found.sound_uri, found.sound_start) == (clip.record.audio, 0.25)
    assert found.warnings == (SMALL,)


def test_clips_take_the_buckets_of_the_whole_sound(clip: StoredClip) -> None:
    found = S2VConditioning.from_clip(clip, settings())
    whole_TLC = bucket_TLC(np.asarray(clip.audio.states_TLC), frames_per_clip=12).astype(np.float32)
    parts = [found.audio_LCT(index) for index in range(3)]
    assert all(part.shape == (25, 4, 12) and part.dtype == np.float32 for part in parts)
    np.testing.assert_array_equal(np.concatenate(parts, 2), whole_TLC.transpose(1, 2, 0))
    assert not parts[2][..., 8:].any()  # two seconds are 32 frames


def test_keys_are_of_what_is_used(clip: StoredClip) -> None:
    keys = clip.record.keys
    assert S2VConditioning.from_clip(clip, settings()).keys == keys
    without = S2VConditioning.from_clip(clip, settings(guidance=1.0))
    assert without.negative_LC is None
    assert without.keys == {name: key for name, key in keys.items() if name != "negative_text"}


def test_reference_pixels_are_fitted_as_they_were_coded(clip: StoredClip) -> None:
    pixels_CHW = S2VConditioning.from_clip(clip, settings()).reference_pixels_CHW()
    assert pixels_CHW.shape == (3, 64, 64) and pixels_CHW.dtype == np.float32
    picture_HWC = read_image(str(clip.record.reference)).astype(np.float32)
    assert abs(pixels_CHW.mean() - (picture_HWC[:, 8:88].mean() / 127.5 - 1)) < 0.01
    assert -1 <= pixels_CHW.min() < pixels_CHW.max() <= 1


def test_a_reference_that_changed_is_not_taken_for_the_one_that_was_coded(tmp_path: Path) -> None:
    clip = make_clip(tmp_path, records())
    found = S2VConditioning.from_clip(clip, settings())
    write_picture(tmp_path / "portrait.png", (64, 64))
    with pytest.raises(
        UnfitConditioning, match=r"portrait\.png is not the picture that its latents were made of"
    ):
        found.reference_pixels_CHW()
    (tmp_path / "portrait.png").unlink()
    with pytest.raises(UnfitConditioning, match="clip talk: start_from_reference needs"):
        found.reference_pixels_CHW()


def test_pose_drops_the_copied_first_frame_of_each_clip(tmp_path: Path) -> None:
    clip = make_clip(tmp_path, records(2.0) | {"s2v_pose_latents": pose_record(3, 12)})
    found = S2VConditioning.from_clip(clip, settings())
    numbers = [found.pose_latents_CTHW(index) for index in range(4)]
    assert [list(part[0, :, 0, 0]) for part in numbers[:3] if part is not None] == [
        [1, 2, 3],
        [5, 6, 7],
        [9, 10, 11],
    ]
    assert numbers[3] is None
    assert "s2v_pose_latents" in found.keys
    without = S2VConditioning.from_clip(clip, settings(pose="none"))
    assert without.pose is None and "s2v_pose_latents" not in without.keys


def pose(**fields: Any) -> dict[str, Record | str]:
    return {"s2v_pose_latents": pose_record(3, 12, **fields)}


LOGMEL = replace(audio(), backend="logmel-v1", states_TLC=None, states_rate=None)
REFERENCE = np.zeros((16, 1, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("changed", "chosen", "why"),
    [
        (
            {"audio": "no sound"},
            {},
            "audio was skipped: no sound; Wan2.2-S2V needs audio: mend that, then run.*--preset s2v",
        ),
        ({"audio": LOGMEL}, {}, "--set audio.backend=wav2vec2"),
        ({"audio": audio(states_rate=25.0)}, {}, "states come 25 times a second"),
        ({"audio": audio(0.02)}, {}, "its sound of 0.020 s is too short for a frame"),
        ({"audio": audio(0.15)}, {"opening": "cut"}, "too short for a frame.*or take opening hold"),
        ({"text": text(backend="hashed-ngram-v1")}, {}, "--set text.backend=umt5"),
        ({"negative_text": "nothing"}, {}, "negative_text was skipped: nothing.*or take guidance 1"),
        ({"negative_text": negative_text("wan")}, {}, r"no prompt 's2v' \(there are: wan\).*guidance 1"),
        ({"negative_text": negative_text(backend="hashed-ngram-v1")}, {}, "--set negative_text.backend=umt5"),
        (
            {"reference_latents": latents_record(REFERENCE, backend="dct", vae="dct-z16-v1")},
            {},
            "--set reference_latents.backend=vae",
        ),
        (
            {"reference_latents": latents_record(REFERENCE, fit="letterbox")},
            {},
            "fitted by the rule 'letterbox'.*--set reference_latents.fit=s2v",
        ),
        (
            {"reference_latents": latents_record(REFERENCE, width=48, height=80)},
            {},
            "for 48x80 and Wan2.2-S2V takes multiples of 64",
        ),
        (pose(width=128), {}, "s2v_pose_latents are for 128x64 and its reference_latents for 64x64"),
        (
            pose(),
            {"frames_per_clip": 80},
            "for clips of 12 frames and 80 are asked for: take frames_per_clip 12",
        ),
        (pose(segment_starts=[0, 13, 26]), {}, "do not follow each other clip by clip"),
        (pose(backend="dct", vae="dct-z16-v1"), {}, "--set s2v_pose_latents.backend=vae"),
        ({}, {"pose": "required"}, "no stage 's2v_pose_latents'.*or take pose none"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    changed: dict[str, Record | str], chosen: dict[str, Any], why: str, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path, records() | changed)
    with pytest.raises(UnfitConditioning, match=why) as raised:
        S2VConditioning.from_clip(clip, settings(**chosen))
    assert "\n" not in str(raised.value) and str(raised.value).startswith("clip talk: ")


@pytest.mark.parametrize(
    ("changed", "fields", "why"),
    [
        ({"audio": audio(2.0, mean_loudness=-100.0)}, {}, r"the sound is silent \(-100 dB on average\)"),
        (pose(frames=20), {}, r"the pose ends at 1.25 s and the sound at 2.00 s"),
        (pose(frames=80), {}, r"the pose lasts 5.00 s and the sound 2.00 s"),
        (
            {"s2v_pose_latents": "no person"},
            {"video": "dance.mp4"},
            "generated without pose: s2v_pose_latents was skipped: no person",
        ),
    ],
)
def test_what_a_user_should_hear_of_is_a_warning(
    changed: dict[str, Record | str], fields: dict[str, Any], why: str, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path, records(2.0) | changed, seconds=2.0, **fields)
    small, warning = S2VConditioning.from_clip(clip, settings()).warnings
    assert small == SMALL
    assert warning.startswith(why.replace("\\", ""))


@pytest.mark.parametrize(
    ("file_seconds", "frames", "warnings"),
    [
        (1.0, 12, ("the pose lasts 2.00 s and the sound 0.75 s: the rest of the pose is not used",)),
        (2.25, 32, ()),
        (
            9.25,
            32,
            ("its sound lasts 9.00 s and its video 2.00 s: the rest of the sound is not used",),
        ),
    ],
)
def test_a_pose_of_another_length_than_the_sound_is_said(
    file_seconds: float, frames: int, warnings: tuple[str, ...], tmp_path: Path
) -> None:
    """The stage fills sound up with silence to the video's length; no clips are made of that."""
    made = records(2.0) | {"s2v_pose_latents": pose_record(3, 12, frames=32)}
    clip = make_clip(tmp_path, made, seconds=file_seconds, video="pose.mp4")  # the clip starts at 0.25 s
    found = S2VConditioning.from_clip(clip, settings())
    assert (found.frames, found.warnings) == (frames, (SMALL, *warnings))


def test_a_reference_of_some_size_is_no_warning(tmp_path: Path) -> None:
    large = {"reference_latents": latents_record(np.zeros((16, 1, 16, 24), np.float32))}
    assert S2VConditioning.from_clip(make_clip(tmp_path, records() | large), settings()).warnings == ()


def test_ten_minutes_of_sound_are_read_a_clip_at_a_time(tmp_path: Path) -> None:
    """Measured as what Python and NumPy hold: the states of ten minutes are 29 MB here, of a clip 0.5 MB."""
    peaks = {}
    for seconds in (10, 600):
        states_TLC = np.zeros((seconds * 30 - 1, 25, 32), ml_dtypes.bfloat16)
        clip = make_clip(
            tmp_path / str(seconds), records() | {"audio": audio(seconds, states_TLC)}, seconds=0.6
        )
        tracemalloc.start()
        found = S2VConditioning.from_clip(clip, S2VSettings())
        for index in range(2):
            assert found.audio_LCT(index).shape == (25, 32, 80)
        peaks[seconds] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        base: Any = found.audio_TLC
        while not isinstance(base, mmap.mmap) and getattr(base, "base", None) is not None:
            base = base.base
        assert "map" in type(base).__name__.lower() or isinstance(getattr(base, "obj", None), mmap.mmap)
        assert found.frames == seconds * 16
    assert peaks[600] < peaks[10] + 3_000_000
