"""What the figure does over time: speech moves the mouth, the hands gesture, the eyes wander and blink."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from wanprep.sample.pose import FigurePose, HandPose
from wanprep.sample.speech import CONTROL_RATE, Speech, loudness_by_frame

FloatArray = npt.NDArray[np.float32]

# Gestures of the left hand; the right one mirrors them. Wrists in the body's coordinates (cm).
OPEN_OUT = HandPose(
    (27.0, 12.0, 15.0), lean=16, nod=4, turn=4, curl=(0.05, 0.04, 0.02, 0.03, 0.05), spread=0.9
)
OFFER = HandPose(
    (23.0, 18.0, 19.0), lean=20, nod=14, turn=14, curl=(0.12, 0.14, 0.15, 0.17, 0.18), spread=0.65
)
HOLD = HandPose((20.0, 19.0, 18.0), lean=6, nod=10, turn=30, curl=(0.20, 0.34, 0.38, 0.42, 0.44), spread=0.4)
GATHER = HandPose(
    (19.5, 16.0, 18.0), lean=2, nod=6, turn=20, curl=(0.30, 0.50, 0.56, 0.60, 0.60), spread=0.25
)
COUNT = HandPose((24.0, 10.0, 16.0), lean=8, nod=4, turn=10, curl=(0.40, 0.02, 0.10, 0.52, 0.60), spread=0.45)
WIDE = HandPose((30.0, 15.0, 14.0), lean=24, nod=6, turn=2, curl=(0.06, 0.08, 0.06, 0.07, 0.10), spread=0.8)
GESTURES = (OFFER, OPEN_OUT, HOLD, COUNT, WIDE, GATHER)
AT_REST = HandPose(
    (20.5, 22.0, 17.0), lean=8, nod=12, turn=24, curl=(0.18, 0.28, 0.32, 0.36, 0.38), spread=0.4
)


def _eased(share: float) -> float:
    """Smooth start and stop."""
    share = min(1.0, max(0.0, share))
    return share * share * share * (share * (6 * share - 15) + 10)


def _between(first: HandPose, second: HandPose, share: float) -> HandPose:
    """A hand part of the way from one gesture to another."""

    def mixed(a: float, b: float) -> float:
        return a + (b - a) * share

    wrist = tuple(mixed(a, b) for a, b in zip(first.wrist_cm, second.wrist_cm, strict=True))
    curl = tuple(mixed(a, b) for a, b in zip(first.curl, second.curl, strict=True))
    return HandPose(
        wrist_cm=(wrist[0], wrist[1], wrist[2]),
        lean=mixed(first.lean, second.lean),
        nod=mixed(first.nod, second.nod),
        turn=mixed(first.turn, second.turn),
        curl=(curl[0], curl[1], curl[2], curl[3], curl[4]),
        spread=mixed(first.spread, second.spread),
    )


class _Gestures:
    """One hand's gestures in order: hold, travel, hold; the fingers open a little after the arm starts."""

    def __init__(self, seconds: float, random: np.random.Generator, late_s: float) -> None:
        self._moves: list[tuple[float, float, HandPose]] = [(0.0, 0.01, AT_REST)]
        clock = 0.25 + late_s
        order: list[int] = []
        while clock < seconds:
            if not order:
                order = [int(index) for index in random.permutation(len(GESTURES))]
            travel = float(random.uniform(0.45, 0.7))
            self._moves.append((clock, travel, GESTURES[order.pop()]))
            clock += travel + float(random.uniform(0.25, 0.75))

    def at(self, clock_s: float) -> HandPose:
        """The hand at a time."""
        hand, fingers = AT_REST, AT_REST
        for start, travel, goal in self._moves:
            if clock_s < start:
                break
            hand = _between(hand, goal, _eased((clock_s - start) / travel))
            fingers = _between(fingers, goal, _eased((clock_s - start - 0.08) / travel))
        return replace(hand, curl=fingers.curl, spread=fingers.spread)


def _smoothed(values_T: npt.NDArray[np.float64], frames: float) -> npt.NDArray[np.float64]:
    """Gaussian smoothing over time."""
    reach = max(1, int(np.ceil(3 * frames)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(frames, 1e-3)) ** 2)
    return np.convolve(np.pad(values_T, reach, mode="edge"), kernel / kernel.sum(), "valid")


def _blinks(
    clock_T: npt.NDArray[np.float64], seconds: float, random: np.random.Generator
) -> npt.NDArray[np.float64]:
    """0 open to 1 shut: a blink every one and a half to three seconds, about 0.2 s long."""
    shut_T = np.zeros_like(clock_T)
    moment = float(random.uniform(0.7, 1.3))
    while moment < seconds:
        shut_T = np.maximum(shut_T, np.exp(-(((clock_T - moment) / 0.075) ** 4)))
        moment += float(random.uniform(1.5, 3.0))
    return shut_T


def _glances(
    clock_T: npt.NDArray[np.float64], seconds: float, random: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Gaze (T, 2): mostly into the camera, now and then a quick look aside."""
    gaze_T2 = np.zeros((clock_T.size, 2))
    moment, aside = float(random.uniform(0.9, 1.5)), True
    while moment < seconds:
        goal = (
            (random.choice([-1, 1]) * random.uniform(0.5, 0.9), random.uniform(-0.4, 0.3))
            if aside
            else (0.0, 0.0)
        )
        share_T = np.clip((clock_T - moment) / 0.06, 0, 1)[:, None]
        gaze_T2 = gaze_T2 + (np.array(goal) - gaze_T2) * share_T
        moment += float(random.uniform(0.45, 0.8) if aside else random.uniform(1.0, 1.8))
        aside = not aside
    return gaze_T2


def choreograph(
    speech: Speech, frame_count: int, fps: float, seed: int, motion: float = 1.0
) -> list[FigurePose]:
    """One pose a frame for a figure that says `speech`. The same arguments give the same poses."""
    random = np.random.default_rng([seed, 1])
    seconds = frame_count / fps
    clock_T = np.arange(frame_count) / fps
    loud_T = loudness_by_frame(speech.waveform_T, speech.sample_rate, fps, frame_count).astype(np.float64)
    mouth_T = np.clip(0.95 * _smoothed(loud_T, 0.45 * fps / 24) ** 1.15, 0, 1)
    stress_T = _smoothed(loud_T, 3.0 * fps / 24)
    rounding_T = np.interp(
        clock_T + 0.5 / fps, np.arange(speech.rounding_T.size) / CONTROL_RATE, speech.rounding_T
    )
    blink_T, gaze_T2 = _blinks(clock_T, seconds, random), _glances(clock_T, seconds, random)
    phases = random.uniform(0, 2 * np.pi, 12)

    def wave(index: int, period_s: float, clock: float) -> float:
        return float(np.sin(2 * np.pi * clock / period_s + phases[index]))

    left, right = (
        _Gestures(seconds, random, 0.0),
        _Gestures(seconds, random, float(random.uniform(0.25, 0.5))),
    )
    poses: list[FigurePose] = []
    for index, clock in enumerate(float(value) for value in clock_T):
        hands = []
        for side, line in enumerate((left, right)):
            hand = _between(AT_REST, line.at(clock), motion)
            x, y, z = hand.wrist_cm
            drift = (
                0.5 * wave(2 * side, 1.9, clock),
                0.6 * wave(2 * side + 1, 1.5, clock) - 1.2 * stress_T[index],
            )
            lean = hand.lean + motion * 3 * wave(4 + side, 1.3, clock)
            hands.append(replace(hand, wrist_cm=(x + motion * drift[0], y + motion * drift[1], z), lean=lean))
        yaw = 6.0 * wave(6, 4.3, clock)
        poses.append(
            FigurePose(
                sway_cm=(motion * 1.2 * wave(7, 3.9, clock), motion * 0.3 * wave(8, 2.1, clock)),
                body_yaw=motion * yaw,
                body_roll=motion * 1.0 * wave(7, 3.9, clock),
                head_yaw=motion * (0.7 * yaw + 6.5 * wave(9, 2.9, clock) + 3.0 * gaze_T2[index, 0]),
                head_pitch=motion * (1.5 * wave(10, 2.3, clock) + 4.0 * (stress_T[index] - 0.45)),
                head_roll=motion * 3.5 * wave(11, 3.1, clock),
                breath=0.5 + 0.5 * wave(8, 3.4, clock),
                mouth_open=float(mouth_T[index]),
                mouth_round=float(rounding_T[index]),
                smile=float(0.80 - 0.35 * min(1.0, 1.4 * stress_T[index])),
                blink=float(blink_T[index]),
                gaze=(float(motion * gaze_T2[index, 0]), float(motion * gaze_T2[index, 1])),
                brow=float(np.clip(0.08 + 0.5 * stress_T[index], 0, 1)),
                left_hand=hands[0],
                right_hand=hands[1],
            )
        )
    return poses
