"""SAM2's video model frame by frame, on a tiny checkpoint: what the library makes of a whole chunk, in less memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from helpers.latent_clips import moving_THWC
from helpers.mask_clips import skeleton

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402

from stages.person.sam2.config import Sam2Config  # noqa: E402
from stages.person.sam2.fold import body_points  # noqa: E402
from stages.person.sam2.tiny import write_tiny  # noqa: E402
from stages.person.sam2.tracker import Sam2Tracker, fill_holes  # noqa: E402
from wanprep.animate.sam_prompts import Chunk, sam_chunks  # noqa: E402
from wanprep.models.errors import ModelBroken  # noqa: E402

WIDTH, HEIGHT, SIDE = 96, 64, 128
Frames = npt.NDArray[np.uint8]


def whole_chunk(tiny: Path, frames_THWC: Frames, chunk: Chunk) -> list[npt.NDArray[np.float32]]:
    """The library's own way: all frames at hand, prompts first, then forward through the clip."""
    transformers = pytest.importorskip("transformers")
    model = transformers.Sam2VideoModel.from_pretrained(str(tiny), local_files_only=True).eval()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    video = ((torch.tensor(frames_THWC).float() / 255 - mean) / std).permute(0, 3, 1, 2)
    session = transformers.Sam2VideoInferenceSession(
        video=video, video_height=SIDE, video_width=SIDE, dtype=torch.float32
    )
    session.obj_id_to_idx(1)
    with torch.inference_mode():
        for prompt in chunk.prompts:
            points = torch.tensor(prompt.points_KC / (WIDTH, HEIGHT) * SIDE, dtype=torch.float32)
            labels = torch.tensor(prompt.labels_K)
            inputs = {"point_coords": points[None, None], "point_labels": labels[None, None]}
            session.add_point_inputs(0, prompt.frame, inputs)
            session.obj_with_new_inputs = [1]
            model(session, frame_idx=prompt.frame)
        made = model.propagate_in_video_iterator(session, start_frame_idx=0)
        return [fill_holes(each.pred_masks[0, 0].numpy()) for each in made]


@pytest.mark.parametrize("frames", [1, 3, 24])
def test_with_little_memory_the_result_is_the_librarys(tiny: Path, tracker: Sam2Tracker, frames: int) -> None:
    frames_THWC = moving_THWC(frames, SIDE, SIDE)
    (chunk,) = sam_chunks(body_points(skeleton(frames, WIDTH, HEIGHT), Sam2Config()), (WIDTH, HEIGHT))
    made = dict(tracker.follow(chunk, frames_THWC.__getitem__, (WIDTH, HEIGHT)))
    assert sorted(made) == list(range(frames))
    wanted = whole_chunk(tiny, frames_THWC, chunk)
    assert len({wanted_HW.tobytes() for wanted_HW in wanted}) == frames
    assert any(0 < (wanted_HW > 0).mean() < 1 for wanted_HW in wanted)
    for frame, wanted_HW in enumerate(wanted):
        np.testing.assert_array_equal(made[frame], wanted_HW)


def test_of_the_past_only_what_is_looked_at_is_kept(
    tracker: Sam2Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = []
    begin = Sam2Tracker._session

    def watched(self: Sam2Tracker, frames: int) -> object:
        sessions.append(begin(self, frames))
        return sessions[-1]

    monkeypatch.setattr(Sam2Tracker, "_session", watched)
    frames_THWC = moving_THWC(48, SIDE, SIDE)
    (chunk,) = sam_chunks(body_points(skeleton(48, WIDTH, HEIGHT), Sam2Config()), (WIDTH, HEIGHT))
    for _ in tracker.follow(chunk, frames_THWC.__getitem__, (WIDTH, HEIGHT)):
        kept = sessions[0].output_dict_per_obj[0]
        assert len(kept["non_cond_frame_outputs"]) <= 17 and len(kept["cond_frame_outputs"]) <= 4
        assert len(sessions[0].processed_frames) == 1
        assert not any("high_res_masks" in output for outputs in kept.values() for output in outputs.values())


def test_frames_before_the_first_sure_point_are_followed_backwards(tracker: Sam2Tracker) -> None:
    frames_THWC = moving_THWC(8, SIDE, SIDE)
    record = skeleton(8, WIDTH, HEIGHT, absent=range(5))
    (chunk,) = sam_chunks(body_points(record, Sam2Config()), (WIDTH, HEIGHT))
    assert chunk.prompts[0].frame == 6
    made = [frame for frame, _ in tracker.follow(chunk, frames_THWC.__getitem__, (WIDTH, HEIGHT))]
    assert made == [5, 4, 3, 2, 1, 0, 6, 7]
    nobody = Chunk(0, 8, 0, ())
    assert not list(tracker.follow(nobody, frames_THWC.__getitem__, (WIDTH, HEIGHT)))


def test_a_mask_that_is_carried_over_is_the_chunks_first(tracker: Sam2Tracker) -> None:
    frames_THWC = moving_THWC(3, SIDE, SIDE)
    carried = np.full((32, 32), -3, np.float32)
    carried[8:24, 4:20] = 3
    made = dict(tracker.follow(Chunk(0, 3, 1, ()), frames_THWC.__getitem__, (WIDTH, HEIGHT), carried))
    assert sorted(made) == [0, 1, 2]
    agree = (made[0] > 0) == (carried > 0)
    assert agree.mean() > 0.98


def test_small_holes_are_filled_and_large_ones_stay() -> None:
    logits_HW = np.ones((20, 30), np.float32)
    logits_HW[2:4, 2:6] = -1  # 8
    logits_HW[10:13, 10:13] = -1  # 9
    filled_HW = fill_holes(logits_HW)
    assert (filled_HW[2:4, 2:6] == np.float32(0.1)).all()
    np.testing.assert_array_equal(filled_HW[8:], logits_HW[8:])
    np.testing.assert_array_equal(fill_holes(-np.ones((9, 9), np.float32)), -np.ones((9, 9), np.float32))
    np.testing.assert_array_equal(fill_holes(np.ones((9, 9), np.float32)), np.ones((9, 9), np.float32))


def test_a_broken_checkpoint_is_named(tiny: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny / "model.safetensors")
    name = next(name for name in tensors if name.startswith("memory_encoder"))
    del tensors[name]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((tiny / "config.json").read_text())
    with pytest.raises(ModelBroken, match=f"lacks the tensor {name}"):
        Sam2Tracker(Sam2Config(model=str(tmp_path), device="cpu"))


def test_the_tiny_checkpoint_is_the_same_for_the_same_seed(tiny: Path, tmp_path: Path) -> None:
    write_tiny(tmp_path / "again", 0)
    write_tiny(tmp_path / "other", 1)
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tiny / name).read_bytes()
    assert (tmp_path / "other" / "model.safetensors").read_bytes() != (
        tiny / "model.safetensors"
    ).read_bytes()
    assert json.loads((tiny / "config.json").read_text())["architectures"] == ["Sam2VideoModel"]
