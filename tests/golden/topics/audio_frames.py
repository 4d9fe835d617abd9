"""Rules that need no network: from encoder steps to video frames, and from sound to generation clips."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from golden.golden_file import GoldenFile
from golden.topic import Topic
from wanprep.media.speech_frames import (
    SAMPLE_RATE,
    bucket_TLC,
    clip_plan,
    encoder_steps,
    interpolate_TLC,
    sample_indices,
    video_frame_indices,
)


def _described(file: GoldenFile, case: str) -> dict[str, Any]:
    """What the file's metadata says about a case."""
    rows = [row for row in file.metadata["cases"] if row["index"] == int(case)]
    assert len(rows) == 1, f"{file.name} describes case {case} {len(rows)} times"
    return dict(rows[0])


def check_interpolation(file: GoldenFile, case: str) -> None:
    fields, about = file.case(case), _described(file, case)
    states_TLC = fields["in"].transpose(1, 0, 2)
    found_TLC = interpolate_TLC(states_TLC, about["input_fps"], about["output_fps"], about.get("output_len"))
    assert found_TLC.shape[0] == fields["out"].shape[1]
    np.testing.assert_allclose(found_TLC.transpose(1, 0, 2), fields["out"], rtol=0, atol=1e-5)


def check_bucket(file: GoldenFile, case: str) -> None:
    fields, about = file.case(case), _described(file, case)
    states_TLC = fields["in.hidden_states"].transpose(1, 0, 2)
    found_BLC = bucket_TLC(states_TLC, about["fps"], about["batch_frames"], about["m"])
    assert len(found_BLC) == int(fields["out.num_repeat"]) * about["batch_frames"]
    if found_BLC.shape[1] == 1:  # the reference drops the axis of a single layer
        found_BLC = found_BLC[:, 0]
    np.testing.assert_array_equal(found_BLC, fields["out.bucket"])
    np.testing.assert_array_equal(np.moveaxis(found_BLC, 0, -1)[None], fields["out.model_input"])


def check_sample_indices(file: GoldenFile, case: str) -> None:
    fields = file.case(case)
    found = sample_indices(
        fields["num_sample"],
        fields["original_fps"],
        fields["target_fps"],
        fields["total_frames"],
        start=fields["fixed_start"],
    )
    assert found.tolist() == fields["indices"]


def check_video_frame_indices(file: GoldenFile, case: str) -> None:
    fields = file.case(case)
    found = video_frame_indices(
        fields["source_frames"],
        fields["source_fps"],
        fields["n_frames"],
        fields["target_fps"],
        last=not fields["first"],
    )
    assert found.tolist() == fields["indices"]


def check_clip_plan(file: GoldenFile, case: str) -> None:
    fields = file.case(case)
    samples = fields.get("samples", round(fields.get("seconds", 0) * SAMPLE_RATE))
    plan = clip_plan(
        samples,
        frames_per_clip=fields["infer_frames"],
        most_clips=fields["num_clip_arg"],
        start_from_reference=fields["start_from_ref"],
    )
    assert encoder_steps(samples) == fields["wav2vec_frames"]
    names = {
        "features_30fps": plan.features,
        "available_clips": plan.available_clips,
        "clips": plan.clips,
        "latent_frames_per_clip": plan.latent_frames_per_clip,
        "video_frames": plan.video_frames,
        "bucket_frames": plan.bucket_frames,
    }
    assert names == {name: fields[name] for name in names}
    assert math.isclose(plan.video_seconds, fields["video_seconds"], rel_tol=1e-12)


TOPICS = [
    Topic(files=("s2v/audio_interp*.safetensors",), check=check_interpolation),
    Topic(files=("s2v/audio_bucket*.safetensors",), check=check_bucket),
    Topic(files=("s2v/audio_sample_indices*.json",), check=check_sample_indices),
    Topic(files=("s2v/video_frame_indices*.json",), check=check_video_frame_indices),
    Topic(files=("s2v/clip_plan*.json",), check=check_clip_plan),
]
