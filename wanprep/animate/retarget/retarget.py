"""Retargeting in one call, and its two steps, in either way."""

from __future__ import annotations

from wanprep.animate.compat import Compat
from wanprep.animate.pose import Pose
from wanprep.animate.retarget import official, robust
from wanprep.animate.retarget.fit import Fit, Retargeted


def fit(
    driving: Pose, reference: Pose, edited: tuple[Pose, Pose] | None = None, compat: Compat = "robust"
) -> Fit:
    """What holds for the whole clip: sizes, limb ratios, where the character stands.

    Args:
        driving: "robust" measures all its frames, "official" the first alone (which it finds in a run of its own).
        reference: the character, one frame.
        edited: poses of the driving person and of the character, one frame each, in pictures edited so that they
            stand straight; their limbs are measured instead.

    Raises:
        ValueError: a pose without frames.
    """
    _check(driving, reference, *(edited or ()))
    return (
        official.fit(driving, reference, edited)
        if compat == "official"
        else robust.fit(driving, reference, edited)
    )


def move(found: Fit, driving: Pose, compat: Compat = "robust") -> Retargeted:
    """The frames of `driving` as the character. A piece of a clip may be moved by the fit of the whole: "robust" then
    interpolates a missing neck within the piece, "official" takes the piece's first frame for the clip's.

    Raises:
        ValueError: a pose without frames.
    """
    _check(driving)
    return official.move(found, driving) if compat == "official" else robust.move(found, driving)


def retarget(
    driving: Pose, reference: Pose, edited: tuple[Pose, Pose] | None = None, compat: Compat = "robust"
) -> Retargeted:
    """`fit` and `move`."""
    return move(fit(driving, reference, edited, compat), driving, compat)


def _check(*poses: Pose) -> None:
    if not all(len(pose) for pose in poses):
        raise ValueError("a pose without frames cannot be retargeted")
