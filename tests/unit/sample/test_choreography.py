"""The figure's movement: the mouth follows the voice, the hands open and close, nothing jumps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from wanprep.sample.clip import plan_clip
from wanprep.sample.look import Look

FPS = 24
SECONDS = 5.0


@pytest.mark.parametrize("seed", [1, 7, 20])
def test_the_mouth_follows_the_loudness(seed: int) -> None:
    speech, poses = plan_clip(SECONDS, FPS, seed, Look())
    per_frame = speech.sample_rate / FPS
    edges = [round(index * per_frame) for index in range(len(poses) + 1)]
    power_S = speech.waveform_T.astype(np.float64) ** 2
    rms_T = [np.sqrt(power_S[start:stop].mean()) for start, stop in pairwise(edges)]
    open_T = [pose.mouth_open for pose in poses]
    assert np.corrcoef(open_T, rms_T)[0, 1] > 0.8
    assert max(open_T) > 0.7
    assert min(open_T) < 0.05


def test_hands_open_and_close_each_in_its_own_time() -> None:
    _, poses = plan_clip(SECONDS, FPS, 7, Look())
    left_T, right_T = (
        np.array([np.mean(hand.curl) for hand in hands])
        for hands in ([pose.left_hand for pose in poses], [pose.right_hand for pose in poses])
    )
    for curl_T in (left_T, right_T):
        assert curl_T.max() - curl_T.min() > 0.25
    assert np.corrcoef(left_T, right_T)[0, 1] < 0.8


def test_nothing_jumps_between_frames() -> None:
    _, poses = plan_clip(SECONDS, FPS, 7, Look())
    wrist_T3 = np.array([pose.left_hand.wrist_cm for pose in poses])
    assert np.linalg.norm(np.diff(wrist_T3, axis=0), axis=1).max() < 2.5  # cm a frame, 60 cm/s
    assert np.abs(np.diff([pose.head_yaw for pose in poses])).max() < 4.0  # degrees


def test_the_eyes_blink_and_mostly_look_ahead() -> None:
    _, poses = plan_clip(SECONDS, FPS, 7, Look())
    assert max(pose.blink for pose in poses) > 0.8
    assert np.mean([pose.blink > 0.5 for pose in poses]) < 0.2
    assert np.mean([abs(pose.gaze[0]) < 0.2 for pose in poses]) > 0.5


def test_a_still_figure_only_talks() -> None:
    _, poses = plan_clip(2.0, FPS, 7, Look(motion=0.0))
    assert len({pose.left_hand.wrist_cm for pose in poses}) == 1
    assert {pose.head_yaw for pose in poses} == {0.0}
    assert max(pose.mouth_open for pose in poses) > 0.5


def test_a_clip_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="no frames"):
        plan_clip(0.01, FPS, 7, Look())
