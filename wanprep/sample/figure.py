"""Puts the figure together: rig, surfaces, light, and the shadow it throws on the room."""

from __future__ import annotations

import cv2
import numpy as np

from wanprep.sample.clothes import (
    knit_relief,
    sleeve_box,
    sleeve_colour,
    sleeve_field,
    trunk_box,
    trunk_colour,
    trunk_field,
)
from wanprep.sample.face import face_colour
from wanprep.sample.field import FloatArray
from wanprep.sample.hair import hair_box, hair_field, hair_relief, light_hair
from wanprep.sample.hand import hand_colour
from wanprep.sample.head import head_box, head_field, neck_shelter
from wanprep.sample.look import Look
from wanprep.sample.pose import FigurePose
from wanprep.sample.rig import HAND_SIZE, Rig, build_rig
from wanprep.sample.shading import SKIN, WOOL, Ball, Canvas, light_surface, mix, tint
from wanprep.sample.surface import Surface, View, find_surface

PICTURE_HEIGHT_CM = 75.0  # head to waist at scale 1
NOTCH_HEIGHT = 0.492  # where the collarbones' notch lies, in picture heights from the top
NECK_SHADE_RGB = tint(0.58, 0.46, 0.44)


def view_for(size: tuple[int, int], look: Look) -> View:
    """The camera for a picture of (width, height) pixels."""
    width, height = size
    scale = look.scale * min(height / PICTURE_HEIGHT_CM, width / 80.0)
    return View(
        width, height, scale, width * (0.5 + look.offset_x), height * (1 - (1 - NOTCH_HEIGHT) * look.scale)
    )


def _ball(rig: Rig, x: float, y: float, z: float, radius: float) -> Ball:
    centre_3 = rig.head.to_world(np.array([x, y, z]))
    return Ball((float(centre_3[0]), float(centre_3[1]), float(centre_3[2])), radius)


def _sheltered(albedo_3N: FloatArray, part: Surface, rig: Rig) -> FloatArray:
    """The colour with the jaw's shade on the neck."""
    return mix(albedo_3N, albedo_3N * NECK_SHADE_RGB, neck_shelter(part.world, rig))


def draw_figure(pose: FigurePose, look: Look, size: tuple[int, int]) -> Canvas:
    """The figure alone on a transparent canvas of (width, height) pixels."""
    view, rig = view_for(size, look), build_rig(pose)
    canvas = Canvas(view)
    head_shadow = (_ball(rig, 0.0, -1.0, 0.0, 8.0), _ball(rig, 0.0, 5.0, 1.5, 5.5))
    hand_shadows: list[Ball] = []
    for arm in (rig.left_arm, rig.right_arm):
        for joint in (5, 9, 12):  # the palm and the fingers' middle
            x, y, z = (float(value) for value in arm.hand.joints_21x3[joint])
            hand_shadows.append(Ball((x, y, z), 2.6))
    shadows = (*head_shadow, *hand_shadows)
    for part in find_surface(trunk_field(rig, pose.breath), view, trunk_box(rig), rig.body, 2.6, knit_relief):
        albedo_3N = _sheltered(trunk_colour(part.local, look), part, rig)
        canvas.paint(part, light_surface(part, albedo_3N, WOOL, shadows))
    bald = head_field(rig, pose, ears=look.hair == "short")
    for part in find_surface(bald, view, head_box(rig), rig.head, 1.6):
        albedo_3N = _sheltered(face_colour(part.local, pose, look), part, rig)
        canvas.paint(part, light_surface(part, albedo_3N, SKIN), bias_cm=0.15)
    for part in find_surface(hair_field(look.hair), view, hair_box(rig), rig.head, 2.0, hair_relief):
        canvas.paint(part, light_hair(part, rig, look))
    arms = (rig.left_arm, rig.right_arm)
    for arm in arms:
        for part in find_surface(sleeve_field(arm), view, sleeve_box(arm), reach_cm=2.0):
            canvas.paint(part, light_surface(part, sleeve_colour(part.world, arm, look), WOOL))
    for arm in arms:
        for part in find_surface(arm.hand.field(), view, arm.hand.box(), arm.hand.axes):
            canvas.paint(part, light_surface(part, hand_colour(part.local, look.skin_rgb, HAND_SIZE), SKIN))
    canvas.soften_steps()
    return canvas


def stand_before(canvas: Canvas, room_HWC: FloatArray) -> FloatArray:
    """The figure in front of a room that it throws its shadow on; linear RGB, float32 of shape (H, W, 3)."""
    view = canvas.view
    behind_HW = (1 - canvas.cover_P).reshape(view.height, view.width) * wall_shadow(canvas)
    picture_HWC = cv2.merge(list(canvas.colour_3P.reshape(3, view.height, view.width)))
    picture_HWC += room_HWC * cv2.merge([behind_HW, behind_HW, behind_HW])
    return np.asarray(picture_HWC, np.float32)


def wall_shadow(canvas: Canvas) -> FloatArray:
    """Share of light that reaches the wall, float32 of shape (H, W): the figure's blurred shadow."""
    view = canvas.view
    cover_HW = canvas.cover_P.reshape(view.height, view.width)
    small = (max(1, view.width // 8), max(1, view.height // 8))
    thin_HW = cv2.resize(cover_HW, small, interpolation=cv2.INTER_AREA)
    across = 9.0 * view.pixels_per_cm / 8
    shift = np.array([[1, 0, 1.1 * across], [0, 1, 0.5 * across]], np.float32)
    moved_HW = cv2.warpAffine(thin_HW, shift, small, borderMode=cv2.BORDER_REPLICATE)
    soft_HW = cv2.GaussianBlur(moved_HW, (0, 0), max(0.6, 0.5 * across))
    return np.asarray(
        1 - 0.52 * cv2.resize(soft_HW, (view.width, view.height), interpolation=cv2.INTER_LINEAR)
    )
