"""The template's sentences are true of what was measured, say nothing else, and do not jump."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.media import write_picture, write_sound, write_video
from hypothesis import given
from hypothesis import strategies as st

from schemas import CaptionRecord, FaceRecord, FlowRecord, QualityRecord, Record, SkeletonRecord
from stages.caption import Caption, CaptionConfig, chinese, english
from stages.caption.facts import Facts, measure
from stages.caption.sampling import Sample
from stages.caption.wording import describe, shot
from wanprep.stage import Skipped

T, FPS = 60, 20.0
WIDTH, HEIGHT = 400, 300
BASE: Facts = {
    "width": 400.0,
    "height": 300.0,
    "seconds": 3.0,
    "brightness": 0.4,
    "contrast": 0.2,
    "colour": 0.2,
}
PERSON: Facts = BASE | {
    "face_share": 1.0,
    "face_height": 0.2,
    "face_height_start": 0.2,
    "face_height_end": 0.2,
    "face_x": 0.5,
    "face_x_start": 0.5,
    "face_x_end": 0.5,
    "face_turn": 3.0,
    "face_turn_range": 5.0,
    "mouth_motion": 0.01,
}


def say(facts: Facts, **changed: float) -> str:
    return describe(facts | changed, "en", sound=True)


def sample(red: int = 120, green: int = 120, blue: int = 120) -> Sample:
    frames_THWC = np.full((3, 30, 40, 3), (red, green, blue), np.uint8)
    return Sample("video", frames_THWC, np.arange(3) / 3, T / FPS, (WIDTH, HEIGHT))


def skeleton(move: Any = None, *, boxes_TC: Any = None, **more: Any) -> SkeletonRecord:
    """A standing person of 200 pixels; `move(points_TKC, time_T)` moves points."""
    points_TKC = np.zeros((T, 133, 3), np.float32)
    points_TKC[..., 2] = 0.9
    points_TKC[..., :2] = np.random.default_rng(0).uniform(100, 200, (133, 2))
    if move is not None:
        move(points_TKC, np.arange(T) / FPS)
    if boxes_TC is None:
        boxes_TC = np.tile(np.array([150, 50, 250, 250], np.float32), (T, 1))
    fields: dict[str, Any] = {
        "people_max": 1,
        "body_share": 1.0,
        "face_share": 1.0,
        "left_hand_share": 1.0,
        "right_hand_share": 1.0,
    }
    return SkeletonRecord(
        backend="test",
        frames=T,
        width=WIDTH,
        height=HEIGHT,
        keypoints_TKC=points_TKC,
        keypoints_smooth_TKC=points_TKC,
        boxes_TC=boxes_TC,
        status_T=np.ones(T, np.uint8),
        subject_track=0,
        tracks=[],
        **(fields | more),
    )


def face(heights_T: Any, mouth_T: Any = None, yaw_T: Any = None, centre_x_T: Any = None) -> FaceRecord:
    heights_T = np.broadcast_to(np.asarray(heights_T, np.float32), T)
    x_T = np.broadcast_to(np.asarray(200 if centre_x_T is None else centre_x_T, np.float32), T)
    zeros_TC = np.zeros((T, 2), np.float32)
    pose_TC = np.zeros((T, 3), np.float32)
    pose_TC[:, 0] = 0 if yaw_T is None else yaw_T
    return FaceRecord(
        backend="test",
        frames=T,
        width=WIDTH,
        height=HEIGHT,
        valid_T=np.ones(T, bool),
        score_T=np.ones(T, np.float32),
        boxes_TC=np.stack([x_T - 10, 50 + 0 * x_T, x_T + 10, 50 + heights_T], axis=1),
        points_TKC=np.zeros((T, 68, 2), np.float32),
        mesh_TKC=None,
        head_pose_TC=pose_TC,
        eye_openness_TC=zeros_TC,
        blink_T=np.zeros(T, bool),
        mouth_openness_T=np.zeros(T, np.float32) if mouth_T is None else np.asarray(mouth_T, np.float32),
        gaze_TC=zeros_TC,
        brow_height_TC=zeros_TC,
        crop_boxes_TC=np.zeros((T, 4), np.int32),
        face_share=1.0,
    )


def flow(shift_x: Any = 0.0, shift_y: Any = 0.0, zoom: Any = 1.0, cut_at: int | None = None) -> FlowRecord:
    camera_TC = np.zeros((T - 1, 3), np.float32)
    camera_TC[:, 0], camera_TC[:, 1], camera_TC[:, 2] = shift_x, shift_y, zoom
    cut_T = np.zeros(T - 1, bool)
    if cut_at is not None:
        cut_T[cut_at] = True
        camera_TC[cut_at] = (500, 0, 9)
    curve_T = np.zeros(T - 1, np.float32)
    return FlowRecord(
        backend="test",
        pairs=T - 1,
        width=200,
        height=150,
        blocks=np.zeros(0, np.uint8),
        offsets_T=np.zeros(T, np.int64),
        scale_T=curve_T,
        consistent_blocks=None,
        consistent_offsets_T=None,
        consistent_T=None,
        motion_T=curve_T,
        camera_TC=camera_TC,
        cut_T=cut_T,
        mean_motion=0.5,
        mean_camera=0.0,
        cuts=int(cut_T.sum()),
    )


def told(*records: Record, language: Any = "en") -> str:
    named = {str(number): record for number, record in enumerate(records)}
    return describe(measure(sample(), named), language, sound=True)


def test_languages_have_the_same_sentences_with_the_same_gaps() -> None:
    def gaps(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert english.PHRASES.keys() == chinese.PHRASES.keys()
    for name, text in english.PHRASES.items():
        assert gaps(text) == gaps(chinese.PHRASES[name]), name


def test_nothing_but_light_is_known_of_bare_pictures() -> None:
    assert told() == "The image has medium brightness with almost no colour and low contrast."


@pytest.mark.parametrize(
    ("colour", "said"),
    [
        ((10, 10, 10), "dark with almost no colour"),
        ((240, 240, 240), "bright with almost no colour"),
        ((255, 0, 0), "dark with strong colours"),
        ((140, 120, 120), "medium brightness with muted colours"),
    ],
)
def test_light_and_colour(colour: tuple[int, int, int], said: str) -> None:
    assert said in describe(measure(sample(*colour), {}), "en", sound=True)


def test_quality_knows_brightness_better() -> None:
    curve_T = np.zeros(T, np.float32)
    quality = QualityRecord(
        frames=T,
        brightness=0.9,
        contrast=0.3,
        sharpness=1.0,
        black_border=[0.0] * 4,
        brightness_T=curve_T,
        contrast_T=curve_T,
        sharpness_T=curve_T,
    )
    assert told(quality) == "The image is bright with almost no colour and strong contrast."


@pytest.mark.parametrize(
    ("share", "name"),
    [
        (0.9, "Extreme close-up"),
        (0.6, "Close-up"),
        (0.35, "Medium close-up"),
        (0.2, "Medium shot"),
        (0.12, "Medium long shot"),
        (0.08, "Full shot"),
        (0.02, "Wide shot"),
    ],
)
def test_shots_by_the_height_of_the_face(share: float, name: str) -> None:
    text = told(face(share * HEIGHT))
    assert text.startswith(f"{name} of one person in the centre of the frame, facing the camera.")


def test_face_that_crosses_a_limit_has_not_moved() -> None:
    """A face that went from 0.206 to 0.199 of the frame's height was told as a change of shot."""
    heights_T = np.linspace(0.31, 0.29, T) * HEIGHT
    assert shot(0.31) != shot(0.29)
    assert "moving to" not in told(face(heights_T))


def test_face_that_grows_by_much_has() -> None:
    text = told(face(np.linspace(0.2, 0.5, T) * HEIGHT))
    assert text.startswith("Medium shot moving to a medium close-up of one person")


def test_place_and_way() -> None:
    assert "on the left of the frame" in told(face(60, centre_x_T=100))
    assert "on the right of the frame" in told(face(60, centre_x_T=300))
    assert "who goes from the left to the right of the frame" in told(
        face(60, centre_x_T=np.linspace(50, 350, T))
    )
    assert "who goes" not in told(face(60, centre_x_T=np.linspace(145, 155, T))), "across a limit by little"


def test_facing() -> None:
    assert "facing the camera" in told(face(60, yaw_T=10))
    assert "turned partly to the side" in told(face(60, yaw_T=-40))
    assert "in profile" in told(face(60, yaw_T=70))
    assert "turns from side to side" in told(face(60, yaw_T=30 * np.sin(np.arange(T) / 5)))


def test_mouth() -> None:
    talking_T = 0.3 + 0.3 * np.sin(np.arange(T))
    assert "The mouth stays mostly still." in told(face(60))
    assert "The mouth opens and closes." in told(face(60, talking_T))
    assert "as in speech" not in told(face(60, talking_T)), "nothing was heard"
    assert "as in speech" in say(PERSON, mouth_motion=0.5, voiced_share=0.6, loudness=-20.0)
    assert "as in speech" not in describe(
        PERSON | {"mouth_motion": 0.5, "voiced_share": 0.6, "loudness": -20.0}, "en", sound=False
    )


def test_movement_of_each_part() -> None:
    def wave(*points: int) -> Any:
        def move(points_TKC: Any, time_T: Any) -> None:
            for point in points:
                points_TKC[:, point, 0] += 60 * np.sin(2 * np.pi * time_T)

        return move

    assert "Both arms are almost still." in told(skeleton())
    assert "Both arms move widely." in told(skeleton(wave(7, 8, 9, 10)))
    assert "The left arm moves more than the right one." in told(skeleton(wave(7, 9)))
    assert "The right arm moves more than the left one." in told(skeleton(wave(8, 10)))
    assert "The legs move widely." in told(skeleton(wave(13, 14, 15, 16)))
    assert "The head moves." in told(skeleton(wave(0)))
    text = told(skeleton(wave(*range(17))))
    assert "The upper body moves." in text and "Both arms are almost still." in text, "they go with the body"


def test_movement_is_the_same_at_any_cut_of_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    def move(points_TKC: Any, time_T: Any) -> None:
        points_TKC[..., :2] += np.random.default_rng(1).normal(0, 5, (T, 133, 2)).cumsum(axis=0)

    record = skeleton(move)
    whole = measure(sample(), {"skeleton": record})
    for size in (1, 7, 59, 60):
        monkeypatch.setattr("stages.caption.facts._CHUNK", size)
        assert measure(sample(), {"skeleton": record}) == pytest.approx(whole)


def test_points_that_are_not_seen_move_nothing() -> None:
    def hide(points_TKC: Any, time_T: Any) -> None:
        points_TKC[:, 13:17] = 0

    facts = measure(sample(), {"skeleton": skeleton(hide)})
    assert "legs_motion" not in facts and "left_arm_motion" in facts
    assert "legs" not in describe(facts, "en", sound=True)


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        (0.9, 0.9, "Both hands are visible."),
        (0.9, 0.0, "One hand is visible."),
        (0.5, 0.9, "One hand is visible, the other part of the time."),
        (0.5, 0.3, "Both hands are visible part of the time."),
        (0.0, 0.3, "One hand is visible part of the time."),
        (0.1, 0.0, "The hands are hardly visible."),
    ],
)
def test_hands(left: float, right: float, said: str) -> None:
    assert said in told(skeleton(left_hand_share=left, right_hand_share=right))


def test_people() -> None:
    assert "Up to 3 people are in the frame." in told(skeleton(people_max=3))
    assert "people are" not in told(skeleton())
    assert "One person is in the centre of the frame." in told(skeleton())


@pytest.mark.parametrize(
    ("camera", "said"),
    [
        ({}, "The camera is almost still."),
        ({"zoom": 1.005}, "The camera comes closer or zooms in."),
        ({"zoom": 0.995}, "The camera draws back or zooms out."),
        ({"shift_x": -1.5}, "The camera pans to the right."),
        ({"shift_x": 1.5}, "The camera pans to the left."),
        ({"shift_y": 1.5}, "The camera tilts upwards."),
        ({"shift_y": -1.5}, "The camera tilts downwards."),
        ({"shift_x": 3 * np.sin(np.arange(T - 1))}, "The camera moves to and fro."),
        ({"shift_x": 0.4 * np.sin(np.arange(T - 1))}, "The camera moves slightly."),
    ],
)
def test_camera(camera: dict[str, Any], said: str) -> None:
    """A push-in was told as a camera that is almost still."""
    (found,) = re.findall(r"The camera [^.]*\.", told(flow(**camera)))
    assert found == said


def test_cut_is_no_movement_of_the_camera() -> None:
    text = told(flow(cut_at=20))
    assert "The camera is almost still." in text and "There is one cut." in text


@pytest.mark.parametrize(
    ("loudness", "voiced", "said"),
    [
        (-20.0, 0.6, "There is voiced sound."),
        (-20.0, 0.1, "There is some voiced sound."),
        (-20.0, 0.0, "There is sound, hardly any of it voiced."),
        (-90.0, 0.0, "It is almost silent."),
    ],
)
def test_sound(loudness: float, voiced: float, said: str) -> None:
    assert say(BASE, loudness=loudness, voiced_share=voiced).endswith(said)
    assert "sound" not in describe(BASE | {"loudness": loudness, "voiced_share": voiced}, "en", sound=False)


NUMBERS = st.floats(0, 1)


@given(
    st.fixed_dictionaries(
        {name: NUMBERS for name in (*PERSON, "mouth_motion") if name not in ("width", "height")},
        optional={
            **dict.fromkeys(("people", "cuts"), st.floats(0, 9)),
            **dict.fromkeys(("left_arm_motion", "right_arm_motion", "body_motion", "legs_motion"), NUMBERS),
        },
    ),
    st.booleans(),
)
def test_any_facts_make_sentences(facts: Facts, sound: bool) -> None:
    facts = facts | {"width": 100.0, "height": 50.0}
    text = describe(facts, "en", sound=sound)
    assert text.endswith(".") and "{" not in text and "  " not in text
    chinese_text = describe(facts, "zh", sound=sound)
    assert chinese_text.endswith("。") and not re.search(r"[A-Za-z{]", chinese_text)
    forbidden = r"\b(man|woman|boy|girl|he|she|young|old|dress|shirt|happy|sad|beautiful)\b"
    assert not re.search(forbidden, text, re.IGNORECASE)


# The stage


def test_record_of_a_video(run: Any, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", 50)
    record = run({"video": video}, {"flow": flow(zoom=1.005)})
    assert isinstance(record, CaptionRecord)
    assert "zooms in" in record.text and record.source == "template" and record.model == "template-v1"
    assert (record.medium, record.language, record.template, record.truncated) == ("video", "en", None, False)
    assert record.facts["camera_zoom"] > 1.3 and len(record.times_T) == 6
    assert (record.width, record.height) == (64, 48)


def test_reference_is_described_where_there_is_no_video(run: Any, tmp_path: Path) -> None:
    media = {
        "reference": write_picture(tmp_path / "a.png", (64, 96)),
        "audio": write_sound(tmp_path / "a.wav"),
    }
    record = run(media, {"skeleton": skeleton()})
    assert record.text.startswith("A still picture in portrait format. The image")
    assert record.medium == "reference" and "people" not in record.facts


def test_animate_is_told_no_sounds(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "stages.caption.stage.measure",
        lambda sample, records: BASE | {"loudness": -20.0, "voiced_share": 1.0},
    )
    media = {"video": write_video(tmp_path / "a.mp4", 5)}
    assert "sound" in run(media).text
    assert "sound" not in run(media, template="animate").text


def test_nothing_to_look_at(run: Any, tmp_path: Path) -> None:
    assert run({"audio": write_sound(tmp_path / "a.wav")}) == Skipped(
        "neither a video nor a reference picture to describe", 0.0
    )
    tiny = write_picture(tmp_path / "a.png", (1, 1))
    assert run({"reference": tiny}) == Skipped("a picture of 1x1 pixels shows nothing", 1.0)


def test_what_the_stage_depends_on() -> None:
    assert Caption(CaptionConfig()).uses == ("audio", "face", "flow", "quality", "skeleton")
    assert Caption(CaptionConfig(backend="server")).uses == ()
    assert Caption(CaptionConfig(backend="transformers")).uses == ()
    assert Caption(CaptionConfig()).unavailable() is None
