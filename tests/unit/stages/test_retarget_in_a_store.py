"""From a drawn clip and a drawn reference picture to latents of the retargeted skeleton, through a store."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import wanprep
from wanprep.errors import UsageError
from wanprep.models.vae_preview import decode_preview
from wanprep.recipe import load_recipe
from wanprep.sample.clip import Look, plan_clip, render_frames

SIZE = {"size": {"area": 256 * 256}}
RECIPE = {
    "timeline": {"fps": 25},
    "stages": {
        "skeleton": {},
        "reference_skeleton": {},
        "retarget": SIZE,
        "pose_latents": {"mode": "retarget", "segment_frames": 9},
    },
}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    _, drawn = plan_clip(1.0, 25, 1, Look())
    frames = list(render_frames(drawn[:12:2], size=(480, 360)))
    with av.open(str(tmp_path / "clip.mp4"), "w") as video:
        stream = video.add_stream("h264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 480, 360, "yuv420p"
        for frame_HWC in frames:
            video.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame_HWC), format="rgb24")))
        video.mux(stream.encode())
    Image.fromarray(frames[3]).save(tmp_path / "reference.png")
    Image.new("RGB", (64, 48)).save(tmp_path / "nobody.png")
    path = tmp_path / "clips.csv"
    path.write_text(
        "id,video,reference\none,clip.mp4,reference.png\nnobody,clip.mp4,nobody.png\nalone,clip.mp4,\n"
    )
    return path


def test_retargeted_latents_are_stored_and_read(tmp_path: Path, manifest: Path) -> None:
    store = tmp_path / "store"
    summary = wanprep.run(manifest, store=store, recipe=RECIPE, engine="inline")
    assert summary.failed == 0
    assert {name: (stage.done, stage.skipped) for name, stage in summary.stages.items()} == {
        "skeleton": (1, 0),  # three clips, one video
        "reference_skeleton": (1, 2),
        "retarget": (1, 2),
        "pose_latents": (1, 2),
    }
    clips = {clip.id: clip for clip in wanprep.open(str(store)).clips()}
    reference, moved = clips["one"].reference_skeleton, clips["one"].retarget
    assert (reference.width, reference.height, reference.keypoints_KC.shape) == (480, 360, (133, 3))
    assert (moved.width, moved.height, moved.frames) == (288, 208, 6)
    # The reference is a frame of the video: nothing has to change but the size.
    np.testing.assert_allclose(np.median(moved.ratios_N), 1, atol=0.1)
    latents = clips["one"].pose_latents
    assert (latents.view, latents.fit, latents.width, latents.height) == ("pose", "retarget", 288, 208)
    assert (latents.frames, latents.frames_repeated, latents.segment_frames) == (6, 3, 9)
    shown_HWC = decode_preview(latents)[0]
    x, y, confidence = np.asarray(moved.body_TKC)[0, 1]  # the neck
    assert confidence > 0.5
    assert shown_HWC[int(y) - 4 : int(y) + 5, int(x) - 4 : int(x) + 5].max() > 100
    assert np.median(shown_HWC) < 12, "lines on black"
    assert wanprep.run(manifest, store=store, recipe=RECIPE, engine="inline").nothing_to_do


def test_a_recipe_without_the_stage_it_needs_is_refused() -> None:
    stages = {"skeleton": {}, "pose_latents": {"mode": "retarget"}}
    with pytest.raises(UsageError, match=r"stages\.pose_latents: needs stage 'retarget'"):
        load_recipe({"stages": stages})
