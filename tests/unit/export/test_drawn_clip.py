"""The whole way: a drawn clip through the real stages, out and in again."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from wanprep.export.export import export
from wanprep.export.importer import import_clips
from wanprep.runner import run
from wanprep.sample.clip import plan_clip, render_frames, varied_look, write_sample_clip
from wanprep.store.store import Store

AREA = 256 * 256
RECIPE = {
    "timeline": {"fps": 30},
    "stages": {
        "skeleton": {},
        "face": {},
        "face_crops": {},
        "reference_skeleton": {},
        "retarget": {"size": {"area": AREA}},
        "mask": {},
        "replace_mask": {"size": {"area": AREA}},
    },
}


@pytest.mark.slow
def test_both_modes_of_a_drawn_clip_come_back_exactly(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    video = write_sample_clip(tmp_path / "dance.mp4", seconds=0.4, fps=30, size=(416, 240))
    look = varied_look(3)
    character_HWC = next(render_frames(plan_clip(0.2, 10, 3, look)[1], size=(240, 320), look=look))
    cv2.imwrite(str(tmp_path / "character.png"), character_HWC[:, :, ::-1])
    run(
        video,
        store=tmp_path / "store",
        recipe=RECIPE,
        reference=tmp_path / "character.png",
        engine="inline",
    )
    (before,) = Store.open(str(tmp_path / "store")).clips()
    for mode, size in (("animate", (208, 288)), ("replace", (336, 192))):
        summary = export(tmp_path / "store", "wan22", tmp_path / mode, options={"mode": mode})
        assert summary.left_out == {}
        assert summary.frames == 12
        imported = import_clips("wan22", tmp_path / mode, tmp_path / "back")
        (clip_id,) = imported.clips
        clip = Store.open(str(tmp_path / "back")).clip(clip_id)
        assert (clip.record.width, clip.record.height) == size
        for name in ("keypoints_TKC", "keypoints_smooth_TKC", "boxes_TC", "status_T"):
            assert (
                np.asarray(getattr(clip.skeleton, name)) == np.asarray(getattr(before.skeleton, name))
            ).all()
        assert (clip.mask.masks_THW() == before.mask.masks_THW()).all()
        assert (clip.replace_mask.masks_THW() == before.replace_mask.masks_THW()).all()
        assert (clip.face_crops.crops_THWC() == before.face_crops.crops_THWC()).all()
