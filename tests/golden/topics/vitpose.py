"""The official pair of networks: what goes into them and what is made of what comes out."""

from __future__ import annotations

import numpy as np

from golden.golden_file import GoldenFile
from golden.topic import Topic

_ROWS = 300  # of the detector's output; those that a case does not give are zeros


def check_detector(file: GoldenFile, case: str) -> None:
    from stages.person.vitpose.detector import people, select_person

    fields = file.case(case)
    rows_NC = np.zeros((_ROWS, 6), np.float32)
    if fields["detections"]:
        rows_NC[: len(fields["detections"])] = fields["detections"]
    width, height = fields["w"], fields["h"]
    found_PC = people(rows_NC, width, height, "official")
    person_C = select_person(found_PC, width, height)
    assert person_C[:4].tolist() == fields["bbox"][:4]
    assert abs(person_C[4] - fields["bbox"][4]) < 1e-6


def check_inputs(file: GoldenFile, case: str) -> None:
    from stages.person.vitpose.detector import detector_input, people, pose_box, select_person
    from stages.person.vitpose.pose_input import crop_of, pose_input

    fields = file.case(case)
    width, height = fields["frame_w"], fields["frame_h"]
    frame_HWC = np.full((height, width, 3), fields["frame_rgb"], np.uint8)
    seen_BCHW = detector_input([frame_HWC])
    assert list(seen_BCHW.shape) == fields["det_shape"]
    assert seen_BCHW.dtype == np.float32
    np.testing.assert_allclose(seen_BCHW.max(axis=(0, 2, 3)), fields["det_channel_value"], atol=1e-5)
    np.testing.assert_allclose(seen_BCHW.min(axis=(0, 2, 3)), fields["det_channel_value"], atol=1e-5)
    nobody_PC = people(np.zeros((_ROWS, 6), np.float32), width, height, "official")
    box_C = pose_box(select_person(nobody_PC, width, height), (width, height))
    (pixels_CHW,) = pose_input([frame_HWC], [crop_of(box_C)])
    assert list(pixels_CHW.shape) == fields["vit_shape"]
    _, rows, columns = pixels_CHW.shape
    np.testing.assert_allclose(
        pixels_CHW[:, rows // 2, columns // 2], fields["vit_centre_channel_value"], atol=1e-5
    )
    np.testing.assert_allclose(pixels_CHW[:, 0, 0], fields["vit_corner_channel_value"], atol=1e-5)


def check_pose_input(file: GoldenFile, case: str) -> None:
    from stages.person.vitpose.detector import pose_box
    from stages.person.vitpose.pose_input import crop_of, cut, pose_input

    fields = file.case(case)
    height, width = fields["image"].shape[:2]
    crop = crop_of(pose_box(fields["bbox"], (width, height)))
    np.testing.assert_allclose(crop.centre, fields["center"], rtol=1e-12)
    np.testing.assert_allclose([crop.width, crop.height], fields["scale"] * 200, rtol=1e-6)
    x0, y0, x1, y1 = crop.corners
    taken_HWC = cut(fields["image"], crop)
    assert list(taken_HWC.shape[:2]) == fields["crop_hw"].tolist() == [y1 - y0, x1 - x0]
    source = [max(x0, 0), min(x1, width), max(y0, 0), min(y1, height)]
    assert source == [*fields["src_x"], *fields["src_y"]]
    placed = [source[0] - x0, source[1] - x0, source[2] - y0, source[3] - y0]
    assert placed == [*fields["dst_x"], *fields["dst_y"]]
    (pixels_CHW,) = pose_input([fields["image"]], [crop], channels="rgb")
    assert list(pixels_CHW.shape) == fields["input_shape"].tolist()
    np.testing.assert_allclose(pixels_CHW[:, ::4, ::4], fields["input_sub4"], atol=1e-4)
    # The vectors' means were summed over channels-last memory, whose float32 rounding is larger than the tolerance.
    pixels_HWC = np.ascontiguousarray(pixels_CHW.transpose(1, 2, 0))
    np.testing.assert_allclose(pixels_HWC.mean(axis=(0, 1)), fields["input_mean"], atol=1e-4)
    np.testing.assert_allclose(pixels_HWC.std(axis=(0, 1)), fields["input_std"], atol=1e-4)


def check_heatmaps(file: GoldenFile, case: str) -> None:
    from stages.person.vitpose.heatmaps import decode
    from stages.person.vitpose.pose_input import Crop

    fields = file.case(case)
    crops = [
        Crop((float(x), float(y)), float(wide) * 200, float(tall) * 200)
        for (x, y), (wide, tall) in zip(fields["center"], fields["scale"], strict=True)
    ]
    keypoints_BKC = decode(fields["heatmaps"].astype(np.float32), crops, "official")
    np.testing.assert_allclose(keypoints_BKC[..., :2], fields["points"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(keypoints_BKC[..., 2:], fields["prob"], rtol=0, atol=1e-6)


TOPICS = [
    Topic(files=("animate/detector_select*.json",), check=check_detector),
    Topic(files=("animate/pose2d_inputs*.json",), check=check_inputs),
    Topic(files=("animate/vitpose_input*.npz",), check=check_pose_input),
    Topic(files=("animate/heatmap_decode*.npz",), check=check_heatmaps),
]
