"""From a pose to joints in the world: body and head turned, arms solved so that the wrists get there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wanprep.sample.field import Vector
from wanprep.sample.hand import Hand, build_hand
from wanprep.sample.pose import FigurePose
from wanprep.sample.surface import Axes

UPPER_ARM_CM = 25.0
FOREARM_CM = 23.5
SHOULDER_3 = (14.6, 4.8, -1.5)  # in the body's coordinates: the origin is the notch between the collarbones
NECK_PIVOT_3 = (0.0, -5.0, -1.5)
HEAD_ABOVE_PIVOT_3 = (0.0, -13.0, 2.0)  # the head's origin lies between the eyes' height and the ears
HAND_SIZE = 0.96


@dataclass(frozen=True)
class Arm:
    """One arm's joints in the world."""

    shoulder_3: Vector
    elbow_3: Vector
    wrist_3: Vector
    hand: Hand


@dataclass(frozen=True)
class Rig:
    """The figure's parts in place."""

    body: Axes
    head: Axes
    left_arm: Arm
    right_arm: Arm


def rotation(yaw: float, pitch: float, roll: float) -> Vector:
    """Rotation matrix from degrees: roll first, then pitch, then yaw."""
    yaw, pitch, roll = np.deg2rad([yaw, pitch, roll])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return np.asarray(about_y @ about_x @ about_z)


def _elbow(shoulder_3: Vector, wrist_3: Vector, outwards_3: Vector) -> tuple[Vector, Vector]:
    """Elbow and (possibly pulled in) wrist: the two bones' triangle, hanging to the side of `outwards_3`."""
    reach_3 = wrist_3 - shoulder_3
    length = float(np.linalg.norm(reach_3))
    reach = min(length, 0.985 * (UPPER_ARM_CM + FOREARM_CM))
    direction_3 = reach_3 / length
    wrist_3 = shoulder_3 + reach * direction_3
    along = (UPPER_ARM_CM**2 - FOREARM_CM**2 + reach**2) / (2 * reach)
    height = np.sqrt(max(UPPER_ARM_CM**2 - along**2, 0.0))
    hang_3 = outwards_3 - direction_3 * (outwards_3 @ direction_3)
    hang_3 /= np.linalg.norm(hang_3)
    return shoulder_3 + along * direction_3 + height * hang_3, wrist_3


def build_rig(pose: FigurePose) -> Rig:
    """Every joint of the pose, in the world's coordinates (cm)."""
    turn = rotation(pose.body_yaw, 0.0, pose.body_roll)
    body = Axes(np.array([pose.sway_cm[0], pose.sway_cm[1], 0.0]), turn)
    head_turn = rotation(pose.head_yaw, pose.head_pitch, pose.head_roll)
    pivot_3 = body.to_world(np.array(NECK_PIVOT_3))
    head = Axes(pivot_3 + head_turn @ np.array(HEAD_ABOVE_PIVOT_3), head_turn)
    arms: list[Arm] = []
    for side, hand_pose in ((1, pose.left_hand), (-1, pose.right_hand)):
        mirror_3 = np.array([side, 1.0, 1.0])
        shoulder_3 = body.to_world(np.array(SHOULDER_3) * mirror_3 + [0.0, -0.25 * pose.breath, 0.0])
        wanted_3 = body.to_world(np.array(hand_pose.wrist_cm) * mirror_3)
        elbow_3, wrist_3 = _elbow(shoulder_3, wanted_3, turn @ np.array([0.42 * side, 0.95, -0.35]))
        arms.append(
            Arm(shoulder_3, elbow_3, wrist_3, build_hand(hand_pose, wrist_3, elbow_3, side, HAND_SIZE))
        )
    return Rig(body, head, arms[0], arms[1])
