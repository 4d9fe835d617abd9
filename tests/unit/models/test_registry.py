"""The registry is data that is right in itself."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from wanprep.models.registry import ModelEntry, entries, is_below, is_hub_id, is_revision

NAMES = (
    *("wav2vec2-large-xlsr-53-english", "umt5-xxl", "clip-vit-h-14", "wan2.1-vae", "wan2.2-vae"),
    *(
        "qwen3-vl-8b",
        "qwen2.5-vl-7b",
        "yolov10m",
        "vitpose-h-wholebody",
        "sam2.1-hiera-large",
        "wan2.2-animate-14b",
        "wan2.2-s2v-14b",
    ),
    *("wan2.2-t2v-a14b", "wan2.2-i2v-a14b", "wan2.2-ti2v-5b"),
)


def test_every_model_that_is_promised_is_there() -> None:
    assert list(entries()) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_whole(name: str) -> None:
    entry = entries()[name]
    assert entry.about and entry.licence
    assert entry.layout == "onnx" or any(file.endswith("config.json") for file in entry.files)
    endings = (".onnx",) if entry.layout == "onnx" else (".safetensors", ".pth", ".index.json")
    weights = [file for file in entry.files if file.endswith(endings)]
    assert weights and len(set(entry.files)) == len(entry.files)
    for place in entry.components.values():
        inside = [file for file in entry.files if file == place or file.startswith(f"{place}/")]
        assert place == "." or inside, f"component at {place} has no file"
    if entry.layout == "diffusers":
        folders = {file.partition("/")[0] for file in entry.files if "/" in file}
        assert folders == set(entry.components.values())


def test_which_are_not_pinned_to_a_commit() -> None:
    floating = [entry.name for entry in entries().values() if not entry.pinned]
    assert floating == ["yolov10m", "vitpose-h-wholebody", "sam2.1-hiera-large", "wan2.2-animate-14b"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"files": ["../config.json"]},
        {"files": ["/etc/passwd"]},
        {"files": []},
        {"repository": "../x"},
        {"revision": "a/../b"},
        {"bytes": 0},
        {"layout": "pickle"},
        {"new": 1},
    ],
)
def test_a_wrong_entry_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ModelEntry.model_validate({**entries()["wan2.1-vae"].model_dump(), **wrong})


def test_what_leads_elsewhere() -> None:
    assert is_hub_id("google/umt5-xxl") and is_hub_id("Qwen/Qwen2.5-VL-7B-Instruct")
    for text in ("umt5", "a/b/c", "a/..", "../b", "a/b\n", "/a/b", "a//b", "-a/b", ".a/b", "a/b--c"):
        assert not is_hub_id(text), text
    assert is_revision("main") and is_revision("v1.0") and is_revision("a" * 40)
    for text in ("", "..", "a..b", "a/b", "-x", "main\n"):
        assert not is_revision(text), text
    assert is_below("a/b.json")
    for text in ("", ".", "a/../b", "/a", "a\\b", "a/", "./a", "a//b", "a\0"):
        assert not is_below(text), text
