"""Skeleton, face and mask over the pair of networks: the same records as MediaPipe's, for painted people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from schemas import ClipRecord, Record
from schemas.skeleton import CROP, NO_BODY, UNVERIFIED
from stages.person.estimator import EstimatorConfig
from stages.person.face import Face, FaceConfig
from stages.person.mask import HULL, Mask, MaskConfig
from stages.person.skeleton import Skeleton, SkeletonConfig
from stages.person.vitpose.estimator import VitPoseEstimator
from stages.person.vitpose.network import Network
from stages.person.vitpose.pose_input import crop_of
from stages.person.vitpose.tiny import layout_KC
from wanprep.key import stage_spec
from wanprep.media.window import Window
from wanprep.models.needed import lacking
from wanprep.models.places import ModelPlaces
from wanprep.stage import ClipContext, Skipped

WIDTH, HEIGHT = 320, 240
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
Paint = Callable[[int], dict[tuple[int, int, int], tuple[int, int, int, int]]]


def picture(paint: dict[tuple[int, int, int], tuple[int, int, int, int]], ground: int = 40) -> np.ndarray:
    frame_HWC = np.full((HEIGHT, WIDTH, 3), ground, np.uint8)
    for colour, (x0, y0, x1, y1) in paint.items():
        frame_HWC[y0:y1, x0:x1] = colour
    return frame_HWC


@pytest.fixture
def config(models: Path) -> EstimatorConfig:
    given = EstimatorConfig(backend="vitpose", device="cpu", batch=3, long_side=WIDTH)
    return ModelPlaces(models).placed(given)


@pytest.fixture
def run(config: EstimatorConfig, tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    contexts = []

    def run(paint: Paint, frames: int, window: int = 5, ground: int = 40) -> dict[str, Any]:
        context = ClipContext(ClipRecord(clip_id="c", recipe="r"), {}, tmp_path)
        contexts.append(context)
        stages = (
            Skeleton(SkeletonConfig(estimator=config)),
            Face(FaceConfig(estimator=config)),
            Mask(MaskConfig(estimator=config, short_side=120)),
        )
        folds = {stage.name: stage.begin(context, {}) for stage in stages}
        for start in range(0, frames, window):
            pictures = [
                av.VideoFrame.from_ndarray(picture(paint(i), ground), format="rgb24")
                for i in range(start, min(start + window, frames))
            ]
            shared = Window(start, pictures, width=WIDTH, height=HEIGHT)
            for fold in folds.values():
                fold.add(shared)
        return {name: fold.finish({}) for name, fold in folds.items()}

    yield run
    for context in contexts:
        context.close()


def _walking(frame: int) -> dict[tuple[int, int, int], tuple[int, int, int, int]]:
    return {RED: (40 + 8 * frame, 30, 120 + 8 * frame, 220)}


def test_points_lie_in_the_frame_where_they_lie_in_the_crop(run: Callable[..., dict[str, Any]]) -> None:
    skeleton = run(_walking, 8)["skeleton"]
    keypoints_TKC = np.asarray(skeleton.keypoints_TKC)
    assert keypoints_TKC.shape == (8, 133, 3)
    assert keypoints_TKC.dtype == np.float32
    for frame in range(8):
        box_C = np.asarray(skeleton.boxes_TC)[frame]
        np.testing.assert_allclose(box_C, [40 + 8 * frame, 30, 120 + 8 * frame, 220], atol=1)
        crop = crop_of(box_C)
        corner = np.array(crop.centre) - np.array([crop.width, crop.height]) / 2
        wanted_KC = corner + layout_KC() * [crop.width, crop.height]
        np.testing.assert_allclose(keypoints_TKC[frame, :, :2], wanted_KC, atol=1.5)
    assert skeleton.status_T.tolist() == [CROP] * 8
    assert skeleton.backend == "vitpose"
    assert (skeleton.body_share, skeleton.face_share, skeleton.left_hand_share) == (1, 1, 1)
    assert len(skeleton.tracks) == 1


def test_the_records_have_the_form_that_mediapipes_have(run: Callable[..., dict[str, Any]]) -> None:
    records = run(_walking, 8)
    face = records["face"]
    assert face.mesh_TKC is None
    assert face.valid_T.all()
    forms = {
        "score_T": ((8,), "float32"),
        "boxes_TC": ((8, 4), "float32"),
        "points_TKC": ((8, 68, 2), "float32"),
        "head_pose_TC": ((8, 3), "float32"),
        "eye_openness_TC": ((8, 2), "float32"),
        "blink_T": ((8,), "bool"),
        "mouth_openness_T": ((8,), "float32"),
        "gaze_TC": ((8, 2), "float32"),
        "brow_height_TC": ((8, 2), "float32"),
        "crop_boxes_TC": ((8, 4), "int32"),
    }
    for name, (shape, dtype) in forms.items():
        column = np.asarray(getattr(face, name))
        assert (name, column.shape, str(column.dtype)) == (name, shape, dtype)
        assert np.isfinite(column).all()
    assert np.abs(np.asarray(face.head_pose_TC)[:, [0, 2]]).max() < 5
    assert (np.asarray(face.eye_openness_TC) > 0.1).all()
    crops = np.asarray(face.crop_boxes_TC)
    assert (crops[:, 2] > crops[:, 0]).all()
    for record in records.values():
        assert isinstance(record, Record)
        assert (record.backend, record.frames) == ("vitpose", 8)
    assert records["mask"].quality_T.tolist() == [HULL] * 8


def test_a_passer_by_is_counted_and_does_not_take_over(run: Callable[..., dict[str, Any]]) -> None:
    def crossing(frame: int) -> dict[tuple[int, int, int], tuple[int, int, int, int]]:
        passing = {GREEN: (230 - 8 * frame, 60, 290 - 8 * frame, 200)} if 2 <= frame < 5 else {}
        return {RED: (100, 30, 180, 220)} | passing

    skeleton = run(crossing, 8)["skeleton"]
    assert skeleton.people_max == 2
    assert len(skeleton.tracks) == 2
    np.testing.assert_allclose(np.asarray(skeleton.boxes_TC), [[100, 30, 180, 220]] * 8, atol=1)


def test_a_dog_is_nobody(run: Callable[..., dict[str, Any]]) -> None:
    records = run(lambda frame: {BLUE: (100, 30, 180, 220)}, 4)
    assert all(isinstance(record, Skipped) for record in records.values())


def test_a_body_that_the_detector_does_not_find_is_unverified(run: Callable[..., dict[str, Any]]) -> None:
    skeleton = run(lambda frame: {}, 3, ground=255)["skeleton"]  # bright: the pose network is sure of itself
    assert skeleton.status_T.tolist() == [UNVERIFIED] * 3
    assert skeleton.boxes_TC.tolist() == [[0, 0, WIDTH, HEIGHT]] * 3


def test_many_frames_at_a_time_give_what_each_gives_alone(config: EstimatorConfig) -> None:
    frames_THWC = np.stack([picture(_walking(i) | {GREEN: (5, 60, 35, 200)}) for i in range(7)])
    together, alone = VitPoseEstimator(config), VitPoseEstimator(config)
    together.look(frames_THWC)
    for frame_HWC in frames_THWC:
        one, other = together.people(frame_HWC), alone.people(frame_HWC.copy())
        assert len(one) == len(other) == 2
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a.keypoints_KC, b.keypoints_KC, atol=1e-3)
            np.testing.assert_array_equal(a.body_box_C, b.body_box_C)


def test_the_networks_run_once_a_batch(config: EstimatorConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    whole = Network.run

    def counted(self: Network, pictures: np.ndarray) -> np.ndarray:
        counts.append(len(pictures))
        return whole(self, pictures)

    monkeypatch.setattr(Network, "run", counted)
    estimator = VitPoseEstimator(config)
    frames_THWC = np.stack([picture(_walking(i)) for i in range(6)])
    estimator.look(frames_THWC)
    for frame_HWC in frames_THWC:
        assert len(estimator.people(frame_HWC)) == 1
    assert counts == [3, 3, 3, 3]  # detector and pose network, for three frames at a time


def test_people_without_a_face_or_a_body(config: EstimatorConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    frame_HWC = picture(_walking(0))
    whole = Network.run

    def blind(hidden: slice) -> Callable[..., np.ndarray]:
        def run(self: Network, pictures: np.ndarray) -> np.ndarray:
            output = whole(self, pictures).copy()
            if output.ndim == 4:
                output[:, hidden] *= 0.1
            return output

        return run

    monkeypatch.setattr(Network, "run", blind(slice(23, 91)))
    (turned,) = VitPoseEstimator(config).people(frame_HWC)
    assert (turned.status, turned.head.score) == (UNVERIFIED, 0)
    assert 0 < turned.head.width < 80
    strict = config.model_copy(update={"unverified": False})
    assert VitPoseEstimator(strict).people(frame_HWC) == []
    monkeypatch.setattr(Network, "run", blind(slice(0, 17)))
    (close,) = VitPoseEstimator(config).people(frame_HWC)
    assert close.status == NO_BODY
    assert close.head.score >= config.face_confidence
    monkeypatch.setattr(Network, "run", blind(slice(0, 133)))
    assert VitPoseEstimator(config).people(frame_HWC) == []


def test_the_networks_are_in_the_key_and_where_they_run_is_not(config: EstimatorConfig, models: Path) -> None:
    stage = Skeleton(SkeletonConfig(estimator=config))
    assert set(stage.models()) == {"detector", "pose"}
    assert stage.unavailable() is None
    moved = config.model_copy(update={"device": "auto", "batch": 7})
    assert stage_spec(Skeleton(SkeletonConfig(estimator=moved))) == stage_spec(stage)
    other = config.model_copy(update={"pose_model": config.detector_model})
    assert stage_spec(Skeleton(SkeletonConfig(estimator=other))) != stage_spec(stage)
    fields = stage_spec(Skeleton(SkeletonConfig()))["config"]["estimator"]
    assert not fields.keys() & {"detector_model", "pose_model", "device", "batch"}
    on_gpu = Skeleton(SkeletonConfig(estimator=config.model_copy(update={"device": "cuda"})))
    assert (stage.resources.gpus, on_gpu.resources.gpus) == (0, 1)


def test_networks_that_are_not_here_are_named_and_can_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("WANPREP_MODELS", raising=False)
    stage = Skeleton(SkeletonConfig(estimator=EstimatorConfig(backend="vitpose")))
    problem = stage.unavailable()
    assert problem is not None and "yolov10m" in problem and "wanprep models fetch" in problem
    assert lacking(stage) == "yolov10m"
    monkeypatch.setattr("stages.person.stage.util.find_spec", lambda name: None)
    assert stage.unavailable() == "skeleton: onnxruntime is not installed: pip install 'wanprep[onnx]'"
