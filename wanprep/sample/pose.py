"""How a figure holds itself at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class HandPose:
    """One hand. `wrist_cm` is in the body's coordinates, for the subject's left; the right one mirrors x.

    Angles in degrees: `lean` tips the fingers outwards, `nod` towards the viewer, `turn` rolls the palm
    from facing the viewer (0) towards the other hand (90). `curl` is thumb to little finger, 0 straight to
    1 a fist.
    """

    wrist_cm: tuple[float, float, float]
    lean: float = 12.0
    nod: float = 10.0
    turn: float = 20.0
    curl: tuple[float, float, float, float, float] = (0.2, 0.2, 0.2, 0.22, 0.25)
    spread: float = 0.5


RESTING_HAND = HandPose((21.0, 21.0, 17.0))


@dataclass(frozen=True)
class FigurePose:
    """The whole figure. Angles in degrees, lengths in cm, the rest 0..1 (gaze -1..1, picture right and down).

    Yaw turns to the picture's right, pitch nods down, roll tips to the picture's right. `mouth_open` is 0
    closed to 1 wide, `mouth_round` 0 spread to 1 pursed, `blink` 1 with the eyes shut.
    """

    sway_cm: tuple[float, float] = (0.0, 0.0)
    body_yaw: float = 0.0
    body_roll: float = 0.0
    head_yaw: float = 0.0
    head_pitch: float = 0.0
    head_roll: float = 0.0
    breath: float = 0.0
    mouth_open: float = 0.0
    mouth_round: float = 0.3
    smile: float = 0.4
    blink: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    brow: float = 0.3
    left_hand: HandPose = field(default=RESTING_HAND)
    right_hand: HandPose = field(default=RESTING_HAND)
