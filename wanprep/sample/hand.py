"""A five-finger hand: bones from a pose, flesh as a distance field, colour from the palm's coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wanprep.sample.field import (
    Cones,
    Field,
    FloatArray,
    Points,
    RoundCone,
    Vector,
    bump,
    cone,
    melt,
    ramp,
    within,
)
from wanprep.sample.pose import HandPose
from wanprep.sample.shading import flat, mix, tint
from wanprep.sample.surface import Axes, Box

# A grown hand in cm: x towards the thumb, y towards the fingertips, z out of the palm, the wrist at 0.
KNUCKLES = ((2.75, 8.5, 0.0), (0.95, 8.9, -0.15), (-0.95, 8.5, -0.1), (-2.65, 7.6, 0.1))
BONES = ((3.9, 2.5, 2.0), (4.4, 2.8, 2.1), (4.0, 2.7, 2.1), (3.1, 2.0, 1.8))
THICKNESS = (1.0, 1.03, 0.98, 0.87)
FAN_DEG = (9.0, 1.5, -6.0, -14.0)
FULL_CURL_DEG = (74.0, 92.0, 55.0)
THUMB_ROOT = (2.0, 1.7, 0.5)
THUMB_BONES = (4.0, 2.9, 2.4)
THUMB_THICKNESS = (1.5, 1.14, 1.08, 0.88)


@dataclass(frozen=True)
class Hand:
    """One posed hand, ready to draw. `axes` are its coordinates in the world; `joints_21x3` are world
    positions in the 21-point order wrist, thumb, index, middle, ring, little (root to tip)."""

    axes: Axes
    palm: tuple[RoundCone, ...]
    fingers: tuple[tuple[RoundCone, ...], ...]
    joints_21x3: Vector

    def field(self) -> Field:
        """Distance in the hand's own coordinates; fingers melt into the palm but not into each other."""

        flesh = Cones((*self.palm, *(part for finger in self.fingers for part in finger)))
        first, bones = len(self.palm), len(self.fingers[0])

        def distance(points: Points) -> FloatArray:
            gap_PN = flesh.distances(points)
            palm_N = gap_PN[0]
            for part_N in gap_PN[1:first]:
                palm_N = melt(palm_N, part_N, 1.3)
            gap_FBN = gap_PN[first:].reshape(len(self.fingers), bones, -1)
            finger_FN = gap_FBN[:, 0]
            for bone in range(1, bones):
                finger_FN = melt(finger_FN, gap_FBN[:, bone], 0.25)
            return np.asarray(melt(palm_N, finger_FN, 0.8).min(0))

        return distance

    def box(self) -> Box:
        """World bounds."""
        return Box.around(self.joints_21x3, 4.2)


def _turned(bone_3: Vector, axis_3: Vector, degrees: float) -> Vector:
    """Rodrigues' rotation of a vector around a unit axis."""
    angle = np.deg2rad(degrees)
    return np.asarray(
        bone_3 * np.cos(angle)
        + np.cross(axis_3, bone_3) * np.sin(angle)
        + axis_3 * (axis_3 @ bone_3) * (1 - np.cos(angle))
    )


def _finger(index: int, pose: HandPose) -> tuple[list[Vector], tuple[RoundCone, ...]]:
    """Joints (knuckle to tip) and flesh of one of the four long fingers."""
    curl = pose.curl[index + 1]
    fan = np.deg2rad(FAN_DEG[index] * (0.35 + 1.1 * pose.spread))
    out_3 = np.array([np.sin(fan), np.cos(fan), 0.0])
    joint_3 = np.array(KNUCKLES[index])
    joints, flesh, bent = [joint_3], [], -4.0 * (1 - curl)
    for bone, (length, full) in enumerate(zip(BONES[index], FULL_CURL_DEG, strict=True)):
        bent += full * curl
        angle = np.deg2rad(bent)
        next_3 = joint_3 + length * (out_3 * np.cos(angle) + np.array([0.0, 0.0, 1.0]) * np.sin(angle))
        thick = THICKNESS[index]
        flesh.append(cone(joint_3, next_3, thick * (1 - 0.07 * bone), thick * (0.93 - 0.09 * bone)))
        joints.append(next_3)
        joint_3 = next_3
    return joints, tuple(flesh)


def _thumb(pose: HandPose) -> tuple[list[Vector], tuple[RoundCone, ...]]:
    """Joints and flesh of the thumb, which folds across the palm instead of down on it."""
    curl = pose.curl[0]
    away = np.deg2rad(24 + 26 * pose.spread - 16 * curl)
    rise = np.deg2rad(14 + 30 * curl)
    out_3 = np.array([np.sin(away) * np.cos(rise), np.cos(away) * np.cos(rise), np.sin(rise)])
    axis_3 = np.array([-0.35, 0.25, 0.9])  # bending swings it up and over the palm
    axis_3 /= np.linalg.norm(axis_3)
    joint_3 = np.array(THUMB_ROOT)
    joints, flesh = [joint_3], []
    for bone, length in enumerate(THUMB_BONES):
        if bone:
            out_3 = _turned(out_3, axis_3, (-6 if bone == 1 else -4) + 44 * curl)
        next_3 = joint_3 + length * out_3
        flesh.append(cone(joint_3, next_3, THUMB_THICKNESS[bone], THUMB_THICKNESS[bone + 1]))
        joints.append(next_3)
        joint_3 = next_3
    return joints, tuple(flesh)


def build_hand(pose: HandPose, wrist_3: Vector, elbow_3: Vector, side: int, size: float) -> Hand:
    """The hand of a pose at a world wrist. `side` is 1 for the subject's left hand (the picture's right),
    -1 for the right; `size` scales it."""
    lean, nod, turn = (float(np.deg2rad(angle)) for angle in (pose.lean, pose.nod, pose.turn))
    wanted_3 = np.array([side * np.sin(lean) * np.cos(nod), -np.cos(lean) * np.cos(nod), np.sin(nod)])
    forearm_3 = (wrist_3 - elbow_3) / np.linalg.norm(wrist_3 - elbow_3)
    fingers_3 = 0.72 * wanted_3 + 0.28 * forearm_3  # a wrist follows its forearm part of the way
    fingers_3 /= np.linalg.norm(fingers_3)
    palm_3 = np.array([0.0, 0.0, 1.0]) - fingers_3 * fingers_3[2]
    palm_3 /= np.linalg.norm(palm_3)
    thumb_3 = side * np.cross(fingers_3, palm_3)
    palm_3, thumb_3 = (
        palm_3 * np.cos(turn) + thumb_3 * np.sin(turn),
        thumb_3 * np.cos(turn) - palm_3 * np.sin(turn),
    )
    axes = Axes(wrist_3, np.stack([thumb_3, fingers_3, palm_3], axis=1))
    chains = [_thumb(pose), *(_finger(index, pose) for index in range(4))]
    joints = np.concatenate([np.zeros((1, 3)), *(np.stack(chain) for chain, _ in chains)]) * size
    towards_elbow_3 = axes.rotation_33.T @ -forearm_3
    roots = ((1.45, 0.9, 0.0), (0.55, 0.7, -0.05), (-0.45, 0.7, -0.05), (-1.35, 0.9, 0.0))
    palm = [
        cone(np.array(root), np.array(knuckle), 1.25, 1.02)
        for root, knuckle in zip(roots, KNUCKLES, strict=True)
    ]
    palm.append(
        cone(np.array([1.7, 2.2, 0.65]), np.array([2.9, 4.8, 0.75]), 1.25, 1.0)
    )  # the ball of the thumb
    palm.append(cone(np.array([-1.7, 2.0, 0.4]), np.array([-2.2, 5.4, 0.4]), 1.0, 0.85))  # the outer edge
    for shift in (-0.75, 0.75):
        start_3, end_3 = np.array([shift, 0.6, 0.0]), np.array([shift, 0.0, 0.0]) + 7.5 * towards_elbow_3
        palm.append(cone(start_3, end_3, 1.65, 1.85))

    return Hand(
        axes=axes,
        palm=tuple(part.scaled(size) for part in palm),
        fingers=tuple(tuple(part.scaled(size) for part in flesh) for _, flesh in chains),
        joints_21x3=wrist_3 + joints @ axes.rotation_33.T,
    )


def hand_colour(local: Points, skin_rgb: tuple[int, int, int], size: float) -> FloatArray:
    """Linear albedo of shape (3, N): a paler palm, warm fingertips, and the palm's lines."""
    x, y, z = local.x / size, local.y / size, local.z / size
    skin_31 = flat(skin_rgb)
    colour_3N = skin_31
    palmar_N = ramp(z, -0.2, 0.9)
    paler_31 = np.minimum(skin_31 * tint(1.06, 1.04, 1.05) + 0.02, 1)
    colour_3N = mix(colour_3N, paler_31, palmar_N)
    rosy_N = 0.45 * ramp(y, 12.6, 16.0) + 0.22 * bump(y, 8.6, 1.3) * palmar_N + 0.25 * ramp(x, 4.0, 6.5)
    colour_3N = mix(colour_3N, colour_3N * tint(1.0, 0.80, 0.74), within(rosy_N))
    heart_N = bump(np.asarray(y - 6.9 - 0.10 * x + 0.05 * x * x), 0.0, 0.17) * ramp(x, 2.6, 1.6)
    head_N = bump(y - 5.6 - 0.28 * x, 0.0, 0.15) * ramp(x, -2.6, -1.2)
    life_N = bump(np.hypot(x - 3.6, y - 2.2) - 3.1, 0.0, 0.17) * ramp(x, 3.0, 2.2) * ramp(y, 0.6, 1.6)
    lines_N = within(heart_N + head_N + life_N) * ramp(z, 0.55, 0.9) * ramp(y, 8.2, 7.4)
    return mix(colour_3N, colour_3N * tint(0.80, 0.64, 0.58), 0.55 * lines_N)
