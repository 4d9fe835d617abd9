"""A key is equal exactly where everything that determines the artifact is."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from schemas import ClipRecord
from wanprep.key import KeyMaker, canonical_json, config_fields, file_digest, text_digest
from wanprep.stage import Media, Stage, StageConfig


class Inner(BaseModel):
    sigma: float = 1.5
    threads: int = Field(default=1, json_schema_extra={"key": False})


class Config(StageConfig):
    size: int = 240
    rate: float = 1.0
    names: frozenset[str] = frozenset({"nose", "left eye", "right eye", "mouth"})
    inner: Inner = Inner()
    order: tuple[str, ...] = ("a", "b")
    batch: int = Field(default=8, json_schema_extra={"key": False})


def stage_of(
    reads: frozenset[Media] = frozenset(),
    *,
    version: int = 1,
    models: Mapping[str, str] | None = None,
    **config: Any,
) -> Stage[Config]:
    made = type(
        "Made",
        (Stage,),
        {"name": "made", "version": version, "reads": reads, "models": lambda self: models or {"net": "abc"}},
    )
    return made(Config(**config))


CLIP = ClipRecord(
    clip_id="clip",
    recipe="",
    video="a.mp4",
    video_digest="v" * 32,
    reference_digest="r" * 32,
    audio_digest="a" * 32,
    prompt="a dog",
    caption="a dog runs",
    start=0.5,
    end=2.0,
    fps=25.0,
    frames=38,
)
NO_KEYS: dict[str, str] = {}


def key_of(stage: Stage[Any], clip: ClipRecord = CLIP, upstream: Mapping[str, str] = NO_KEYS) -> str:
    return KeyMaker(stage, sorted(upstream)).key(clip, upstream)


def test_key_is_the_same_in_every_process() -> None:
    """Sets iterate in another order in each process: they entered the key in that order."""
    code = (
        "from test_keys import *; print(key_of(stage_of(frozenset(Media))), "
        "text_digest(canonical_json({'b': 1, 'a': [1.5, None, 'é']})))"
    )
    printed = set()
    for seed in ("0", "1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.path.dirname(__file__)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        printed.add(done.stdout)
    assert len(printed) == 1
    assert printed.pop().split()[0] == key_of(stage_of(frozenset(Media)))


@pytest.mark.parametrize(
    "changed",
    [
        {"size": 241},
        {"rate": 1.0000001},
        {"names": frozenset({"nose"})},
        {"inner": Inner(sigma=2)},
        {"order": ("b", "a")},
        {"version": 2},
        {"models": {"net": "abd"}},
        {"models": {"net2": "abc"}},
        {"models": {"net": "abc", "other": "def"}},
    ],
    ids=str,
)
def test_each_part_of_a_stage_changes_its_key(changed: dict[str, Any]) -> None:
    assert key_of(stage_of(**changed)) != key_of(stage_of())


@pytest.mark.parametrize(
    "changed",
    [{"batch": 9}, {"inner": Inner(threads=4)}, {"rate": 1}, {"size": 240}, {"order": ("a", "b")}],
    ids=str,
)
def test_what_cannot_change_the_result_does_not_change_the_key(changed: dict[str, Any]) -> None:
    assert key_of(stage_of(**changed)) == key_of(stage_of())


def _name(value: object) -> str:
    """The same in every process, which the order of a set is not."""
    return " ".join(sorted(media.name for media in value)) if isinstance(value, set) else str(value)


TIMED = {Media.VIDEO, Media.AUDIO}
CHANGES = [
    ({"video_digest": "w" * 32}, TIMED),
    ({"start": 0.25}, TIMED),
    ({"end": 2.5}, TIMED),
    ({"fps": 30.0}, TIMED),
    ({"frames": 39}, TIMED),
    ({"audio_digest": "b" * 32}, {Media.AUDIO}),
    ({"audio_digest": None}, {Media.AUDIO}),
    ({"reference_digest": "s" * 32}, {Media.REFERENCE}),
    ({"prompt": "a cat"}, {Media.PROMPT}),
    ({"prompt": None}, {Media.PROMPT}),
    ({"prompt": ""}, {Media.PROMPT}),
    ({"caption": "a cat runs"}, {Media.CAPTION}),
    ({"caption": None}, {Media.CAPTION}),
    ({"caption": None, "caption_error": "a dog runs"}, {Media.CAPTION}),
    ({"clip_id": "other"}, set()),
    ({"video": "elsewhere.mp4"}, set()),
    ({"recipe": "other", "created_ns": 5, "why_not": None}, set()),
]


@pytest.mark.parametrize("reads", Media)
@pytest.mark.parametrize(("changed", "readers"), CHANGES, ids=_name)
def test_a_change_of_media_reaches_those_who_read_it(
    changed: dict[str, Any], readers: set[Media], reads: Media
) -> None:
    stage = stage_of(frozenset({reads}))
    differs = key_of(stage, dataclasses.replace(CLIP, **changed)) != key_of(stage)
    assert differs == (reads in readers)


def test_reference_alone_is_read_where_there_is_no_video() -> None:
    """Ten references for one driving video are one caption, and ten references without video are ten."""
    stage = stage_of(frozenset({Media.REFERENCE_ALONE}))
    other = dataclasses.replace(CLIP, reference_digest="s" * 32)
    assert key_of(stage, other) == key_of(stage)
    bare, bare_other = (dataclasses.replace(clip, video=None, video_digest=None) for clip in (CLIP, other))
    assert key_of(stage, bare) != key_of(stage, bare_other)


def test_error_of_a_caption_is_not_a_caption_of_the_same_words() -> None:
    stage = stage_of(frozenset({Media.CAPTION}))
    wrong = dataclasses.replace(CLIP, caption=None, caption_error="it is empty")
    words = dataclasses.replace(CLIP, caption="error it is empty", caption_error=None)
    assert len({key_of(stage, clip) for clip in (CLIP, wrong, words)}) == 3


def test_keys_before_change_the_key() -> None:
    stage = stage_of()
    base = key_of(stage, upstream={"a": "1" * 32, "b": "2" * 32})
    assert base != key_of(stage)
    assert base != key_of(stage, upstream={"a": "1" * 32})
    assert base != key_of(stage, upstream={"a": "2" * 32, "b": "1" * 32})
    assert base == key_of(stage, upstream={"b": "2" * 32, "a": "1" * 32})


VALUES = st.fixed_dictionaries(
    {
        "size": st.integers(0, 3),
        "rate": st.floats(0, 2, width=16),
        "names": st.frozensets(st.sampled_from("abc"), max_size=2),
        "order": st.lists(st.sampled_from(["a", "b", 'a","b']), max_size=2),
    }
)


@given(VALUES, VALUES)
def test_keys_are_equal_exactly_where_configs_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (key_of(stage_of(**one)) == key_of(stage_of(**other))) == (Config(**one) == Config(**other))


CLIPS = st.builds(
    ClipRecord,
    clip_id=st.just("c"),
    recipe=st.just(""),
    video_digest=st.sampled_from([None, "None", "d"]),
    reference_digest=st.sampled_from([None, "d"]),
    audio_digest=st.sampled_from([None, "d"]),
    prompt=st.sampled_from([None, "", "None", "a", "a\x1fb"]),
    start=st.sampled_from([0.0, 1.0]),
    end=st.sampled_from([None, 2.0]),
    fps=st.sampled_from([None, 25.0]),
    frames=st.integers(0, 2),
)


@given(CLIPS, CLIPS)
def test_keys_of_different_clips_differ(one: ClipRecord, other: ClipRecord) -> None:
    stage = stage_of(frozenset(Media))
    # A digest is hex: the text "None" cannot be one.
    assume("None" not in (one.video_digest, other.video_digest))
    assert (key_of(stage, one) == key_of(stage, other)) == (one == other)


def test_config_fields_leave_out_what_says_so() -> None:
    fields = config_fields(Config())
    assert "batch" not in fields and fields["inner"] == {"sigma": 1.5}
    assert fields["names"] == sorted(["nose", "left eye", "right eye", "mouth"])


def test_a_field_that_came_later_enters_the_key_once_it_is_changed() -> None:
    class Later(Config):
        mode: str = Field(default="as before", json_schema_extra={"key": "changed"})

    assert config_fields(Later()) == config_fields(Config())
    assert config_fields(Later(mode="new")) == {**config_fields(Config()), "mode": "new"}


def test_canonical_json_has_one_text_for_a_value() -> None:
    assert canonical_json({"b": 1, "a": {"d": 2, "c": "é"}}) == '{"a":{"c":"é","d":2},"b":1}'
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


def test_digests_are_128_bits_of_the_content(tmp_path: Any) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    (tmp_path / "b").write_bytes(b"x" * 100_000)
    (tmp_path / "c").write_bytes(b"x" * 99_999 + b"y")
    digests = [file_digest(str(tmp_path / name)) for name in "abc"]
    assert digests[0] == digests[1] != digests[2]
    assert all(len(bytes.fromhex(digest)) == 16 for digest in digests)
    assert text_digest("\udcff") != text_digest("\udcfe")
