"""A pose estimator that knows people finds the drawn one: body, face, both hands and a sensible outline."""

from __future__ import annotations

from collections import Counter

import numpy as np

from wanprep.sample.clip import Look, plan_clip
from wanprep.sample.figure import draw_figure, stand_before
from wanprep.sample.rig import build_rig
from wanprep.sample.room import display, draw_room

SIZE = (832, 480)


def test_mediapipe_finds_body_face_and_hands() -> None:
    from mediapipe import solutions

    look = Look()
    _, poses = plan_clip(5.0, 24, 7, look)
    room_HWC = draw_room(SIZE, look.room_seed)
    found: Counter[str] = Counter()
    overlaps, wrist_errors = [], []
    sampled = poses[::8]
    with solutions.holistic.Holistic(
        static_image_mode=True, model_complexity=1, refine_face_landmarks=True, enable_segmentation=True
    ) as holistic:
        for pose in sampled:
            canvas = draw_figure(pose, look, SIZE)
            cover_HW = canvas.cover_P.reshape(SIZE[1], SIZE[0])
            result = holistic.process(display(stand_before(canvas, room_HWC)))
            for part in ("pose", "face", "left_hand", "right_hand"):
                found[part] += getattr(result, f"{part}_landmarks") is not None
            if result.segmentation_mask is not None:
                mask_HW, drawn_HW = result.segmentation_mask > 0.5, cover_HW > 0.5
                overlaps.append((mask_HW & drawn_HW).sum() / (mask_HW | drawn_HW).sum())
            if result.left_hand_landmarks is not None:
                wrist = result.left_hand_landmarks.landmark[0]
                x, y, _ = build_rig(pose).left_arm.wrist_3
                view = canvas.view
                wanted = (view.origin_x + x * view.pixels_per_cm, view.origin_y + y * view.pixels_per_cm)
                wrist_errors.append(np.hypot(wrist.x * SIZE[0] - wanted[0], wrist.y * SIZE[1] - wanted[1]))
    assert {part: count / len(sampled) >= 0.95 for part, count in found.items()} == dict.fromkeys(found, True)
    assert len(found) == 4
    assert np.median(overlaps) > 0.9
    assert np.median(wrist_errors) < 15  # pixels; a hand is about 110 long
