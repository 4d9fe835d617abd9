"""From files to a store and back: latents are found as typed records and decode to the pictures they were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from helpers.media import frame_HWC, write_video
from PIL import Image

import wanprep
from wanprep.models.vae_preview import decode_preview

RECIPE = {
    "stages": {
        "video_latents": {"size": {"short_side": 64}, "uneven": "trim"},
        "reference_latents": {"size": {"area": 64 * 64}, "backend": "dct-z48"},
    }
}


def test_latents_are_stored_read_and_not_made_again(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", 11, size=(192, 128))
    Image.fromarray(frame_HWC(0, 100, 100)).save(tmp_path / "person.png")
    manifest = tmp_path / "clips.csv"
    manifest.write_text("id,video,reference\none,clip.mp4,person.png\ntwo,clip.mp4,\n")
    store = tmp_path / "store"
    summary = wanprep.run(manifest, store=store, recipe=RECIPE, engine="inline")
    assert summary.failed == 0
    assert {name: stage.done for name, stage in summary.stages.items()} == {
        "video_latents": 1,  # two clips, one video
        "reference_latents": 1,
    }
    clips = {clip.id: clip for clip in wanprep.open(str(store)).clips()}
    record = clips["one"].video_latents
    assert (record.view, record.width, record.height) == ("video", 96, 64)
    assert (record.frames, record.frames_left_out) == (9, 2)
    shown_THWC = decode_preview(record)
    drawn_THWC = np.stack([frame_HWC(index, 192, 128)[::2, ::2] for index in range(9)])
    assert shown_THWC.shape == drawn_THWC.shape
    assert np.corrcoef(shown_THWC.ravel(), drawn_THWC.ravel())[0, 1] > 0.95
    reference = clips["one"].reference_latents
    assert (reference.vae, reference.latents_TCHW.shape) == ("dct-z48-v1", (1, 48, 4, 4))
    assert clips["two"].get("reference_latents") is None
    assert wanprep.run(manifest, store=store, recipe=RECIPE, engine="inline").nothing_to_do


def test_latents_of_before_the_weights_were_told_are_read_and_kept(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", 5, size=(64, 64))
    recipe = {"stages": {"video_latents": {"size": {"width": 64, "height": 64}}}}
    wanprep.run(video, store=tmp_path / "store", recipe=recipe, engine="inline")
    (file,) = (tmp_path / "store" / "artifacts" / "video_latents").glob("*.parquet")
    pq.write_table(pq.read_table(file).drop_columns(["vae_weights"]), file)
    (clip,) = wanprep.open(str(tmp_path / "store")).clips()
    assert clip.video_latents.vae_weights is None and clip.video_latents.frames == 5
    assert wanprep.run(video, store=tmp_path / "store", recipe=recipe, engine="inline").nothing_to_do
