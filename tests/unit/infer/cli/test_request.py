"""What enters a generation's key, and what does not."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wanprep.key import config_fields
from wanprep_infer.generators.animate import AnimateGenerator
from wanprep_infer.generators.s2v import S2VGenerator
from wanprep_infer.jobs.request import Request, made_from
from wanprep_infer.memory.config import MemoryConfig
from wanprep_infer.output.soundtrack import Sound

SOUND = Sound("/a.mp4", start=1.0, seconds=2.0)


def request(**changes: Any) -> Request:
    facts: dict[str, Any] = {
        "generator": "animate",
        "version": 1,
        "keys": {"text": "aa", "pose_latents": "bb"},
        "models": {"transformer": "cc", "vae": "dd"},
        "loras": [("ee", 1.0)],
        "settings": {"steps": 20, "mode": "animate"},
        "seed": 1,
        "precision": "bfloat16",
        "memory": MemoryConfig(),
        "frames": 30,
        "sound": ("11", SOUND),
    }
    made = made_from(**{**facts, **changes})
    return Request("clip", "animate", changes.get("seed", 1), None, 2, 20, made)


def test_all_that_changes_frames_or_sound_changes_the_key() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"generator": "s2v"},
        {"version": 2},
        {"keys": {"text": "ab", "pose_latents": "bb"}},
        {"keys": {"text": "aa", "pose_latents": "bb", "face_crops": "cc"}},
        {"models": {"transformer": "cd", "vae": "dd"}},
        {"loras": [("ee", 0.5)]},
        {"loras": []},
        {"loras": [("ee", 1.0), ("ff", 1.0)]},
        {"settings": {"steps": 21, "mode": "animate"}},
        {"seed": 2},
        {"precision": "float32"},
        {"memory": MemoryConfig(tile=256)},
        {"memory": MemoryConfig(weights="fp8")},
        {"sound": None},
        {"sound": ("12", SOUND)},
        {"sound": ("11", dataclasses.replace(SOUND, start=1.5))},
        {"sound": ("11", dataclasses.replace(SOUND, seconds=None))},
        {"sound": ("11", dataclasses.replace(SOUND, delay=0.1875))},
        {"frames": 31},
    ]
    keys = [request(**change).key for change in changes]
    assert len(set(keys)) == len(keys)


def test_what_moves_the_same_arithmetic_elsewhere_does_not() -> None:
    assert request().key == request(memory=MemoryConfig(offload="group")).key
    assert request().key == request(memory=MemoryConfig(parallel="ulysses")).key
    assert request().key == request(sound=("11", dataclasses.replace(SOUND, uri="/b/c.mp4"))).key, (
        "a file may be moved"
    )


@given(
    st.dictionaries(st.text(min_size=1), st.text(), max_size=4),
    st.dictionaries(st.text(min_size=1), st.none() | st.integers() | st.floats(allow_nan=False), max_size=4),
    st.integers(0, 2**63 - 1),
)
def test_a_request_survives_its_way_to_a_worker(
    keys: dict[str, str], settings: dict[str, Any], seed: int
) -> None:
    import json

    made = request(keys=keys, settings=settings, seed=seed)
    again = Request.from_document(json.loads(json.dumps(made.to_document())))
    assert again == made and again.key == made.key and again.stem == made.stem


@given(st.permutations([("text", "aa"), ("face_crops", "bb"), ("pose_latents", "cc"), ("image_embed", "dd")]))
def test_the_order_in_which_artifacts_are_named_is_nothing(order: list[tuple[str, str]]) -> None:
    assert request(keys=dict(order)).key == request(keys=dict(sorted(order))).key


@pytest.mark.parametrize("generator", [AnimateGenerator(), S2VGenerator()])
def test_settings_left_out_of_the_key_exist_and_others_are_in_it(generator: Any) -> None:
    assert generator.unkeyed <= set(generator.Settings.model_fields)
    assert {"steps", "shift", "guidance", "solver", "compat"}.isdisjoint(generator.unkeyed)
    assert config_fields(generator.settings({})).keys() == generator.Settings.model_fields.keys()


def test_names_of_files() -> None:
    made = request()
    assert made.stem == f"clip--animate-s1-{made.key[:8]}" and len(made.key) == 32
