"""The stage mask with SAM2: prompts, chunks and what is remembered, on a tiny checkpoint and on a scripted tracker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from helpers.latent_clips import moving_THWC
from helpers.mask_clips import clip_of, skeleton

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


from schemas import MaskRecord, SkeletonRecord  # noqa: E402
from stages.person.mask import EMPTY, SEGMENTATION, Mask, MaskConfig  # noqa: E402
from stages.person.sam2.config import Sam2Config  # noqa: E402
from stages.person.sam2.fold import Sam2Fold, body_points  # noqa: E402
from stages.person.sam2.tracker import Sam2Tracker  # noqa: E402
from wanprep.animate.compat import OfficialFailure  # noqa: E402
from wanprep.animate.sam_prompts import Chunk, sam_chunks  # noqa: E402
from wanprep.key import stage_spec  # noqa: E402
from wanprep.media.geometry import Size  # noqa: E402
from wanprep.media.window import Window  # noqa: E402
from wanprep.stage import ClipContext, Skipped  # noqa: E402

WIDTH, HEIGHT, SIDE = 96, 64, 128
Frames = npt.NDArray[np.uint8]


def made_by(
    folder: Path,
    tracker: Sam2Tracker,
    frames_THWC: Frames,
    record: SkeletonRecord,
    cuts: tuple[int, ...] = (),
    **config: object,
) -> MaskRecord | Skipped:
    frames, height, width = frames_THWC.shape[:3]
    settings = Sam2Config.model_validate(config)
    context = ClipContext(clip_of(frames, width, height), {}, folder)
    fold = Sam2Fold(context, settings, 64, tracker, record)
    for start, stop in pairwise(sorted({0, frames, *cuts})):
        pictures = [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames_THWC[start:stop]]
        fold.add(Window(start, pictures, width=width, height=height))
    return fold.finish({})


class Scripted:
    """In the place of a tracker: the person is a column as wide as the frame's number, and lost in some frames."""

    side = SIDE

    def __init__(self, lost: range = range(0)) -> None:
        self.lost = lost
        self.chunks: list[Chunk] = []
        self.carried: list[bool] = []
        self.pictures: list[list[int]] = []

    def follow(
        self,
        chunk: Chunk,
        picture: Callable[[int], Frames],
        size: Size,
        carried: npt.NDArray[np.float32] | None,
    ) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        self.chunks.append(chunk)
        self.carried.append(carried is not None)
        self.pictures.append([int(picture(frame)[0, 0, 0]) for frame in range(chunk.frames)])
        for frame in reversed(range(chunk.frames)):
            logits_HW = np.full((64, 96), -1, np.float32)
            if chunk.start + frame not in self.lost:
                logits_HW[:, : chunk.start + frame + 1] = 1
            yield frame, logits_HW


def numbered_THWC(frames: int) -> Frames:
    return np.repeat(np.arange(frames, dtype=np.uint8), HEIGHT * WIDTH * 3).reshape(frames, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("cuts", [(), (1, 2, 9, 10, 11)])
def test_chunks_have_a_frame_in_common_and_every_frame_one_mask(
    tmp_path: Path, cuts: tuple[int, ...]
) -> None:
    scripted = Scripted()
    record = made_by(tmp_path, scripted, numbered_THWC(25), skeleton(25, WIDTH, HEIGHT), cuts, chunk=10)  # type: ignore[arg-type]
    assert isinstance(record, MaskRecord)
    assert [(chunk.start, chunk.frames, chunk.carried) for chunk in scripted.chunks] == [
        (0, 10, 0),
        (9, 10, 1),
        (18, 7, 1),
    ]
    assert scripted.carried == [False, True, True]
    assert scripted.pictures == [list(range(10)), list(range(9, 19)), list(range(18, 25))]
    assert (record.backend, record.frames, record.width, record.height) == ("sam2", 25, WIDTH, HEIGHT)
    assert record.masks_THW()[:, 0].sum(axis=1).tolist() == list(range(1, 26))
    assert (record.quality_T == SEGMENTATION).all()
    np.testing.assert_allclose(record.coverage_T, np.arange(1, 26) / WIDTH, rtol=1e-6)


def test_official_chunks_start_anew(tmp_path: Path) -> None:
    scripted = Scripted()
    made_by(tmp_path, scripted, numbered_THWC(9), skeleton(9, WIDTH, HEIGHT), chunk=4, compat="official")  # type: ignore[arg-type]
    ((chunk,),) = (scripted.chunks,)
    assert (chunk.frames, chunk.carried) == (9, 0)  # of 400
    assert [prompt.frame for prompt in chunk.prompts] == [0, 2, 4, 6, 8]


def test_someone_who_was_lost_is_looked_for_anew(tmp_path: Path) -> None:
    # Nobody in the first chunk's last frames, nor in the key frames of the second.
    record = skeleton(19, WIDTH, HEIGHT, absent=range(7, 18))
    scripted = Scripted(lost=range(7, 18))
    made = made_by(tmp_path, scripted, numbered_THWC(19), record, chunk=10)  # type: ignore[arg-type]
    assert isinstance(made, MaskRecord)
    assert scripted.carried == [False, False]
    assert [prompt.frame for prompt in scripted.chunks[1].prompts] == [9]  # frame 18
    assert made.quality_T.tolist() == [SEGMENTATION] * 7 + [EMPTY] * 11 + [SEGMENTATION]


def test_a_clip_without_a_mask_is_skipped_with_a_reason(tmp_path: Path) -> None:
    made = made_by(tmp_path, Scripted(range(9)), numbered_THWC(9), skeleton(9, WIDTH, HEIGHT))  # type: ignore[arg-type]
    assert made == Skipped("the mask is empty", 0.0)


def test_points_of_frames_without_a_body_are_not_given() -> None:
    record = skeleton(9, WIDTH, HEIGHT, absent=range(2))
    robust_TKC = body_points(record, Sam2Config())
    assert (robust_TKC[:2, :, 2] == 0).all() and (robust_TKC[2:, :, 2] > 0.8).all()
    (chunk,) = sam_chunks(robust_TKC, (WIDTH, HEIGHT))
    assert [prompt.frame for prompt in chunk.prompts] == [2, 4, 6, 8]
    record.keypoints_TKC[:2] = -1
    with pytest.raises(OfficialFailure, match="no person in the first frame"):
        body_points(record, Sam2Config(compat="official"))


def test_the_stage_needs_the_skeleton_and_says_which_model_it_lacks(tiny: Path, tmp_path: Path) -> None:
    plain, config = (
        Mask(MaskConfig()),
        MaskConfig(backend="sam2", model=str(tiny), device="cpu"),
    )
    stage = Mask(config)
    assert (plain.needs, stage.needs) == ((), ("skeleton",))
    assert set(stage.models()) == {"sam2"} and stage.unavailable() is None
    assert stage.models()["sam2"] in str(stage_spec(stage)) and str(tiny) not in str(stage_spec(stage))
    lacking = Mask(MaskConfig(backend="sam2", model=str(tmp_path / "none")))
    assert "none" in (lacking.unavailable() or "")
    assert Mask(MaskConfig(backend="sam2", device="cuda")).resources.gpus == 1
    stage.setup()
    context = ClipContext(clip_of(6, WIDTH, HEIGHT), {}, tmp_path)
    fold = stage.begin(context, {"skeleton": skeleton(6, WIDTH, HEIGHT)})
    pictures = [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in moving_THWC(6, WIDTH, HEIGHT)]
    fold.add(Window(0, pictures, width=WIDTH, height=HEIGHT))
    made = fold.finish({})
    assert isinstance(made, MaskRecord)
    assert made.masks_THW().shape == (6, HEIGHT, WIDTH) and (made.quality_T == SEGMENTATION).all()
