"""Sentences from facts: only what was measured, nothing about age, sex, clothes or things.

Limits are where sentences began to be true of the project's own drawn clips and of recorded ones; each is on one
number of `stages.caption.facts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stages.caption import chinese, english
from stages.caption.facts import Facts
from stages.caption.prompt import Language

VERSION = "template-v1"

_PHRASES = {"en": english.PHRASES, "zh": chinese.PHRASES}
# Height of the face over that of the frame, from which on a shot has this name: shoulders, chest, waist, knees and
# feet come into the picture one after the other. A face is a tenth of a standing figure.
_SHOTS = (
    (0.80, "extreme_close_up"),
    (0.50, "close_up"),
    (0.30, "medium_close_up"),
    (0.16, "medium"),
    (0.11, "medium_long"),
    (0.06, "full"),
    (0.0, "wide"),
)
_REAL_CHANGE = 1.25  # a face that merely crosses a limit between two names has not moved
_SIDES = (0.38, 0.62)
_REAL_SHIFT = 0.15  # of the frame's width
_STILL, _MOVES, _WIDE = 0.04, 0.12, 0.2  # heights of the person a second

Say = Callable[..., str]


def describe(facts: Facts, language: Language, *, sound: bool) -> str:
    """One paragraph. `sound`: whether it may speak of what is heard."""
    phrases = _PHRASES[language]
    if not sound:
        facts = {name: value for name, value in facts.items() if name not in ("loudness", "voiced_share")}

    def say(name: str, **values: object) -> str:
        return phrases[name].format(**values)

    parts = (_picture, _person, _mouth, _head, _arms, _hands, _body, _camera, _light, _sound)
    return phrases["separator"].join(sentence for part in parts for sentence in part(facts, say))


def shot(face_height: float) -> str:
    """The name of a shot in which the face has this share of the frame's height."""
    return next(name for least, name in _SHOTS if face_height >= least)


def _picture(facts: Facts, say: Say) -> Iterator[str]:
    if not facts["seconds"]:
        aspect = facts["width"] / facts["height"]
        yield say(f"picture.{'landscape' if aspect > 1.05 else 'portrait' if aspect < 0.95 else 'square'}")


def _person(facts: Facts, say: Say) -> Iterator[str]:
    seen = facts.get("face_share", 0.0)
    place = _place(facts, say)
    if place is not None and seen >= 0.5 and "face_height" in facts:
        turn = facts["face_turn"]
        facing = say(f"facing.{'camera' if turn < 25 else 'partly' if turn < 55 else 'profile'}")
        first, last = facts["face_height_start"], facts["face_height_end"]
        change = max(first, last) / max(min(first, last), 1e-6)
        if change > _REAL_CHANGE and shot(first) != shot(last):
            names = {"shot": say(f"shot.{shot(first)}"), "to": say(f"to.{shot(last)}")}
            yield say("shot.changing", place=place, facing=facing, **names)
        else:
            name = say(f"shot.{shot(facts['face_height'])}")
            yield say("shot.still", shot=name, place=place, facing=facing)
    elif place is not None:
        yield say("no_shot", place=place)
    if place is not None and "face_share" in facts and seen < 0.9:
        yield say("face.hidden" if seen < 0.1 else "face.sometimes")
    if facts.get("people", 0.0) > 1:
        yield say("people", count=round(facts["people"]))


def _place(facts: Facts, say: Say) -> str | None:
    """Where the person is, and where they go; None when nobody is there."""
    name = "face_x" if "face_x" in facts else "body_x"
    if name not in facts:
        return None
    first, last = facts[f"{name}_start"], facts[f"{name}_end"]
    if abs(last - first) > _REAL_SHIFT and _side(first) != _side(last):
        return say("place.moving", first=say(f"side.{_side(first)}"), last=say(f"side.{_side(last)}"))
    return say(f"place.{_side(facts[name])}")


def _side(x: float) -> str:
    return "left" if x < _SIDES[0] else "right" if x > _SIDES[1] else "centre"


def _mouth(facts: Facts, say: Say) -> Iterator[str]:
    if (motion := facts.get("mouth_motion")) is None:
        return
    if motion >= 0.25:
        yield say("mouth.speech" if facts.get("voiced_share", 0.0) >= 0.2 else "mouth.open")
    else:
        yield say("mouth.slight" if motion >= 0.1 else "mouth.still")


def _head(facts: Facts, say: Say) -> Iterator[str]:
    if facts.get("face_turn_range", 0.0) >= 30:
        yield say("head.turns")
    elif (motion := facts.get("head_motion")) is not None:
        if motion < _STILL:
            yield say("head.still")
        elif motion >= _MOVES:
            yield say("head.moves")


def _arms(facts: Facts, say: Say) -> Iterator[str]:
    left, right = facts.get("left_arm_motion"), facts.get("right_arm_motion")
    if left is None or right is None:
        return
    if _much(left) == _much(right):
        yield say(f"arms.{_much(left)}")
    else:
        yield say("arms.left" if left > right else "arms.right")


def _much(motion: float) -> str:
    return "still" if motion < _STILL else "some" if motion < _WIDE else "wide"


def _hands(facts: Facts, say: Say) -> Iterator[str]:
    if "left_hand_share" not in facts or facts.get("body_share", 0.0) < 0.1:
        return
    shares = (facts["left_hand_share"], facts["right_hand_share"])
    often = sum(share >= 0.8 for share in shares)
    sometimes = sum(0.2 <= share < 0.8 for share in shares)
    names = {
        (2, 0): "both",
        (1, 1): "one_and_sometimes",
        (1, 0): "one",
        (0, 2): "both_sometimes",
        (0, 1): "one_sometimes",
    }
    yield say(f"hands.{names.get((often, sometimes), 'none')}")


def _body(facts: Facts, say: Say) -> Iterator[str]:
    if (motion := facts.get("body_motion")) is not None:
        yield say(f"body.{'still' if motion < _STILL else 'sways' if motion < _MOVES else 'moves'}")
    if (motion := facts.get("legs_motion")) is not None:
        yield say(f"legs.{_much(motion)}")


def _camera(facts: Facts, say: Say) -> Iterator[str]:
    if "camera_zoom" in facts:
        pan, tilt, zoom = facts["camera_pan"], facts["camera_tilt"], facts["camera_zoom"]
        # A way to and fro is no pan: half of it at least goes in one direction.
        path = max(0.15, facts["camera_speed"] * facts["seconds"] / 2)
        said = []
        if max(zoom, 1 / zoom) >= 1.1:
            said.append("camera.in" if zoom > 1 else "camera.out")
        if abs(pan) >= path:
            said.append("camera.right" if pan > 0 else "camera.left")
        if abs(tilt) >= path:
            said.append("camera.up" if tilt > 0 else "camera.down")
        if not said:
            speed = facts["camera_speed"]
            said.append(f"camera.{'still' if speed < 0.02 else 'slight' if speed < 0.1 else 'unsteady'}")
        yield from map(say, said)
    if cuts := round(facts.get("cuts", 0.0)):
        yield say("cuts.one") if cuts == 1 else say("cuts.more", count=cuts)


def _light(facts: Facts, say: Say) -> Iterator[str]:
    colour, contrast, light = facts["colour"], facts["contrast"], facts["brightness"]
    shade = (
        "none" if colour < 0.03 else "muted" if colour < 0.12 else "moderate" if colour < 0.3 else "strong"
    )
    yield say(
        f"light.{'dark' if light < 0.3 else 'medium' if light < 0.6 else 'bright'}",
        colour=say(f"colour.{shade}"),
        contrast=say("contrast.low") if contrast < 0.1 else say("contrast.high") if contrast > 0.28 else "",
    )


def _sound(facts: Facts, say: Say) -> Iterator[str]:
    if "loudness" not in facts:
        return
    if facts["loudness"] < -60:
        yield say("sound.silent")
    else:
        voiced = facts["voiced_share"]
        yield say(f"sound.{'voiced' if voiced >= 0.3 else 'some' if voiced >= 0.05 else 'unvoiced'}")
