"""From files to a store: masks and backgrounds of a drawn person, of one who leaves, and of nobody."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

import wanprep
from schemas.replace_mask import FROM_NEIGHBOURS, NOBODY, OWN
from wanprep.models.vae_preview import decode_preview
from wanprep.sample.clip import Look, plan_clip, render_frames

SIZE = (320, 240)
RECIPE = {
    "shared": {"size": {"width": 320, "height": 240}},
    "stages": {
        "mask": {"steady": False},
        "replace_mask": {"longest_gap": 1, "iterations": 1, "kernel": 5},
        "background_latents": {"segment_frames": 9},
    },
}


def write(path: Path, frames_THWC: list[npt.NDArray[np.uint8]]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "8", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for frame_HWC in frames_THWC:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replacement")
    _, poses = plan_clip(1.0, 25, 1, Look())
    person_HWC = np.ascontiguousarray(next(iter(render_frames(poses[:1], size=SIZE))))
    room_HWC = np.full_like(person_HWC, 120)
    write(folder / "leaves.mp4", [person_HWC, room_HWC, person_HWC, room_HWC, room_HWC])
    write(folder / "nobody.mp4", [room_HWC] * 5)
    summary = wanprep.run(folder / "*.mp4", store=folder / "store", recipe=RECIPE, engine="inline")
    assert summary.failed == 0
    assert {name: (stage.done, stage.skipped) for name, stage in summary.stages.items()} == dict.fromkeys(
        ("mask", "replace_mask", "background_latents"), (1, 1)
    )
    return folder / "store"


def test_what_is_generated_covers_the_person_and_is_black_in_the_background(store: Path) -> None:
    (clip,) = (clip for clip in wanprep.open(str(store)).clips() if clip.get("mask") is not None)
    mask, replaced, latents = clip.mask, clip.replace_mask, clip.background_latents
    assert replaced.source_T.tolist() == [OWN, FROM_NEIGHBOURS, OWN, NOBODY, NOBODY]
    assert (replaced.width, replaced.height) == (mask.width, mask.height) == SIZE
    replaced_THW = replaced.masks_THW()
    assert (replaced_THW | ~mask.masks_THW()).all() and replaced_THW[1].any()
    assert not replaced_THW[3:].any()
    assert (latents.view, latents.segment_starts, latents.frames, latents.frames_repeated) == (
        "background",
        [0],
        5,
        4,
    )
    shown_THWC = decode_preview(latents)
    everywhere_HW = replaced_THW[:3].all(axis=0)
    assert shown_THWC[0][everywhere_HW].mean() < 15
    # Frames 1 to 4 are one latent frame of a codec that loses detail.
    assert np.median(shown_THWC[4][everywhere_HW]) > 80


def test_without_a_person_each_stage_says_why_there_is_nothing(store: Path) -> None:
    outcomes = wanprep.open(str(store)).outcomes()
    reasons = {outcome.stage: outcome.reason for outcome in outcomes if outcome.outcome == "skipped"}
    assert reasons == {
        "mask": "the mask is empty",
        "replace_mask": "mask: the mask is empty",
        "background_latents": "replace_mask: mask: the mask is empty",
    }
