"""Whom a clip is about, said in the manifest: read strictly, in the key, above the recipe, in pixels of the video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.media import write_video
from hypothesis import given
from hypothesis import strategies as st

import wanprep
from schemas import ClipRecord
from stages.person.coco_wholebody import TORSO
from stages.person.mask import Mask
from stages.person.reference import ReferenceSkeleton
from stages.person.skeleton import Skeleton
from stages.person.subject import given_subject
from wanprep.errors import UsageError
from wanprep.inputs import read_inputs
from wanprep.key import KeyMaker
from wanprep.stage import Skipped
from wanprep.subject import canonical_subject, outside, subject_numbers


def _two(frame):
    return [(40.0, 22.0), (120.0, 16.0)]


@pytest.mark.parametrize(
    ("subject", "x"), [("1", 40), ("2", 120), ("120,24", 120), ("32,12,48,30", 40), ("112,36,136,114", 120)]
)
@pytest.mark.parametrize("scale", [1, 2])
def test_the_clips_subject_comes_before_the_recipes(run, subject, x, scale):
    if "," in subject:
        subject = ",".join(f"{number * scale:g}" for number in subject_numbers(subject))
    recipe = {"subject": 2 if x == 40 else 1}
    records, _ = run(_two, 6, settings=recipe, subject=subject, scale=scale)
    skeleton = records["skeleton"]
    assert np.asarray(skeleton.keypoints_TKC)[:, list(TORSO), 0].mean() / scale == pytest.approx(x, rel=0.02)
    assert np.asarray(records["face"].points_TKC)[..., 0].mean() / scale == pytest.approx(x, abs=3)


def test_without_one_the_recipe_decides(run):
    records, _ = run(_two, 4, settings={"subject": 2})
    assert np.asarray(records["skeleton"].keypoints_TKC)[:, list(TORSO), 0].mean() == pytest.approx(120)


def test_a_subject_that_nobody_is_skips_as_it_was_said(run):
    records, _ = run(_two, 4, subject="80,110")
    assert records["skeleton"] == Skipped("nobody is at subject 80,110", 0.0)
    records, _ = run(lambda frame: [(60.0, 20.0)], 4, subject="2")
    assert records["skeleton"] == Skipped("subject 2, and fewer people were found", 0.0)


def test_a_number_above_max_people_is_refused(run):
    with pytest.raises(UsageError, match=r"subject 3 of this clip needs estimator\.max_people=3 or more"):
        run(_two, 4, settings={"max_people": 2}, subject="3")


POSITIVE = st.floats(0, 8192, allow_nan=False)


@given(st.one_of(st.integers(1, 1000).map(str), st.lists(POSITIVE, min_size=2, max_size=2)))
def test_equal_subjects_have_one_text(value):
    text = value if isinstance(value, str) else ",".join(map(repr, value))
    once = canonical_subject(text)
    assert canonical_subject(once) == once == canonical_subject(" " + text.replace(",", " , "))
    assert subject_numbers(once) == tuple(float(part) for part in text.split(","))


@given(st.lists(POSITIVE, min_size=4, max_size=4))
def test_a_box_spans_something(corners):
    text = ",".join(map(repr, corners))
    if corners[0] < corners[2] and corners[1] < corners[3]:
        assert subject_numbers(canonical_subject(text)) == tuple(corners)
    else:
        with pytest.raises(ValueError, match="is a number from 1"):
            canonical_subject(text)


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "1.5", "left", "1,", "1,2,3", "nan", "1,inf", "-3,4", "9,9,9,12", "1;2", "[1,2]", "1e9"],
)
def test_malformed_ones_are_refused_in_one_line(text):
    with pytest.raises(ValueError, match="a subject is a number from 1") as refusal:
        canonical_subject(text)
    assert "\n" not in str(refusal.value)


def test_pixels_become_shares_of_the_frame():
    def clip(subject: str | None) -> ClipRecord:
        return ClipRecord(clip_id="c", recipe="r", width=640, height=360, subject=subject)

    assert given_subject(clip(None)) is None
    assert given_subject(clip("3")) == 3
    assert given_subject(clip("320,90")) == (0.5, 0.25)
    assert given_subject(clip("0,0,640,360")) == (0, 0, 1, 1)
    assert outside("640,360", 640, 360) is None
    assert (
        outside("10,10,641,20", 640, 360) == "subject 10,10,641,20 lies outside the frame of 640x360 pixels"
    )


def test_it_is_in_the_keys_of_who_looks_for_people_and_only_where_it_is_given():
    def key(stage, subject: str | None) -> str:
        clip = ClipRecord(clip_id="c", recipe="r", video_digest="d", reference_digest="e", subject=subject)
        return KeyMaker(stage, ()).key(clip, {})

    for stage in (Skeleton(Skeleton.Config()), Mask(Mask.Config())):
        assert len({key(stage, subject) for subject in (None, "1", "2", "20,30")}) == 4
    reference = ReferenceSkeleton(ReferenceSkeleton.Config())
    assert key(reference, None) == key(reference, "2")


def manifest(folder: Path, rows: str) -> Path:
    path = folder / "clips.csv"
    path.write_text("video,prompt,subject\n" + rows)
    return path


def test_two_people_of_one_video_are_two_clips(tmp_path: Path):
    write_video(tmp_path / "a.mp4", 3)
    clips = read_inputs([manifest(tmp_path, 'a.mp4,,2\na.mp4,,"20, 30.0"\na.mp4,,\n')]).clips
    assert [clip.subject for clip in clips] == ["2", "20,30", None]
    assert len({clip.clip_id for clip in clips}) == 3
    plain = tmp_path / "plain.csv"
    plain.write_text("video\na.mp4\n")
    assert read_inputs([plain]).clips[0].clip_id == clips[2].clip_id


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("a.mp4,,left", r"row 1: subject 'left': a subject is a number from 1"),
        ('a.mp4,,"3,"', r"row 1: subject '3,': a subject is"),
        (",a dog,2", "row 1: subject says whom of a video's people is meant, and there is no video"),
    ],
)
def test_a_malformed_one_is_one_line_with_its_row(tmp_path: Path, row: str, told: str):
    with pytest.raises(UsageError, match=told) as refusal:
        read_inputs([manifest(tmp_path, row + "\n")])
    assert "\n" not in str(refusal.value)


def test_one_outside_the_frame_makes_its_clip_unusable_and_no_other(tmp_path: Path):
    write_video(tmp_path / "a.mp4", 3, size=(64, 48))
    path = manifest(tmp_path, 'a.mp4,,"65,10"\na.mp4,,"64,10"\n')
    recipe = {"stages": {"flow": {"short_side": 32}}}
    summary = wanprep.run(path, store=tmp_path / "store", recipe=recipe, engine="inline", workers=1)
    assert [failure.cause for failure in summary.failures] == [
        "subject 65,10 lies outside the frame of 64x48 pixels"
    ]
    assert summary.stages["flow"].done == 1
    stored = {record.subject for record in wanprep.open(tmp_path / "store").clip_records()}
    assert stored == {"65,10", "64,10"}
