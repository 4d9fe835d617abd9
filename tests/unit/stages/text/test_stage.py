"""The stages: which text a clip has, what becomes of clips without, negative prompts once for all clips."""

from __future__ import annotations

import gc
import hashlib
import json
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

import wanprep
from schemas import ClipRecord, NegativeTextRecord, Record, TextRecord
from schemas.tensor import BFLOAT16
from stages.text import NegativeText, NegativeTextConfig, Text, TextConfig
from stages.text.negative import negative_prompt
from wanprep.errors import UsageError
from wanprep.recipe import load_recipe
from wanprep.stage import ClipContext, Media, Skipped, Stage, StageConfig
from wanprep.store.verify import verify
from wanprep_infer.conditioning.text_check import UnfitText, check_text, unfit_text

CHINESE = "一个穿深色西装的男人对着镜头说话，挥动双手。"


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidRecord(Record):
    SCHEMA: ClassVar[pa.Schema] = pa.schema([pa.field("text", pa.string(), nullable=False)])

    text: str


class Caption(Stage[StageConfig]):
    """Says the clip's length, or nothing where there is no video."""

    name: ClassVar[str] = "caption"
    record: ClassVar[type[Record]] = SaidRecord
    Config: ClassVar[type[StageConfig]] = StageConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.VIDEO})

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> Record | Skipped:
        frames = context.clip.frames
        return SaidRecord(text=f"A clip of {frames} frames.") if frames else Skipped("no video", 0.0)


def stage(**config: Any) -> Text:
    made = Text(TextConfig(**config))
    made.setup()
    return made


def run(prompt: str | None, folder: Path, caption: str | None = None, **config: Any) -> Any:
    clip = ClipRecord(clip_id="clip", recipe="recipe", prompt=prompt)
    inputs = {} if caption is None else {"caption": SaidRecord(text=caption)}
    return stage(**config).run(ClipContext(clip, {}, folder), inputs)


@pytest.mark.parametrize(
    "prompt", ["A man&amp;nbsp;talks  to\nthe camera", CHINESE], ids=["English", "Chinese"]
)
def test_a_prompt_is_cleaned_and_encoded(tmp_path: Path, prompt: str) -> None:
    record = run(prompt, tmp_path)
    assert isinstance(record, TextRecord)
    assert record.backend == "hashed-ngram-v1" and record.model_digest is None and record.source == "prompt"
    assert record.text in ("A man talks to the camera", "一个穿深色西装的男人对着镜头说话,挥动双手。")
    assert record.states_LC.shape == (record.tokens, 512) and record.states_LC.dtype == BFLOAT16
    assert record.truncated == 0 and record.limit == 512
    padded_LC = record.padded_LC()
    np.testing.assert_array_equal(padded_LC[: record.tokens], record.states_LC)
    assert padded_LC.shape == (512, 512) and not padded_LC[record.tokens :].any()
    assert np.linalg.norm(record.pooled_C()) == pytest.approx(1)
    with pytest.raises(ValueError, match="do not fit in 3"):
        record.padded_LC(3)


def test_a_prompt_wins_over_a_caption(tmp_path: Path) -> None:
    assert run("a prompt", tmp_path, "a caption").text == "a prompt"
    for none in (None, "", " \n&nbsp;"):
        record = run(none, tmp_path, "a caption")
        assert (record.text, record.source) == ("a caption", "caption")


@pytest.mark.parametrize(
    ("prompt", "caption", "reason"),
    [
        (None, None, "no prompt and there is no caption"),
        ("", None, "the prompt is empty and there is no caption"),
        (" \n\t&nbsp;", None, "the prompt is empty and there is no caption"),
        (None, " ", "no prompt and the caption is empty"),
    ],
)
def test_a_clip_without_words_is_skipped_unless_told_otherwise(
    tmp_path: Path, prompt: str | None, caption: str | None, reason: str
) -> None:
    assert run(prompt, tmp_path, caption) == Skipped(reason, 0.0)
    record = run(prompt, tmp_path, caption, fallback="视频中的人在做动作")
    assert (record.text, record.source) == ("视频中的人在做动作", "fallback")
    empty = run(prompt, tmp_path, caption, fallback="")
    assert empty.text == "" and empty.tokens == 0 and empty.states_LC.shape == (0, 512)
    assert not empty.padded_LC(4).any() and not empty.pooled_C().any()


def test_a_prompt_of_5000_words_says_how_much_was_cut(tmp_path: Path) -> None:
    record = run("word " * 5000, tmp_path)
    assert (record.tokens, record.truncated, len(record.states_LC)) == (5000, 4488, 512)
    assert len(record.text) == 24_999


def test_a_prompt_that_is_too_long_can_be_refused(tmp_path: Path) -> None:
    assert run("word " * 513, tmp_path, overlong="skip") == Skipped("the text has more than 512 tokens", 513)
    assert run("word " * 512, tmp_path, overlong="skip").tokens == 512


def test_published_negative_prompts() -> None:
    digest = hashlib.sha256(negative_prompt("wan").encode()).hexdigest()
    # As the shared config of Wan2.2's official code has it.
    assert digest == "ce96e0324e4b54ce4b6e867f669ca520952e1a34cc116543516b1897f0d3c47e"
    words = negative_prompt("s2v").split("，")
    assert len(words) == 21 and "手快速抖动" in words and not {"色调艳丽", "过曝"} & set(words)
    assert negative_prompt("empty") == ""


def test_negative_prompts_come_apart_again(tmp_path: Path) -> None:
    made = NegativeText(NegativeTextConfig(own={"mine": "blurry, 模糊"}))
    made.setup()
    record = made.run(ClipContext(ClipRecord(clip_id="clip", recipe="recipe"), {}, tmp_path), {})
    assert isinstance(record, NegativeTextRecord)
    assert record.names == ["wan", "s2v", "empty", "mine"] and record.texts[2:] == ["", "blurry, 模糊"]
    for name, text in zip(record.names, record.texts, strict=True):
        same = run(text, tmp_path, fallback="")
        np.testing.assert_array_equal(record.states_of(name), same.states_LC)
        np.testing.assert_array_equal(record.padded_LC(name), same.padded_LC())
    with pytest.raises(ValueError, match="no negative prompt is called 's2w'"):
        record.states_of("s2w")


def test_settings_that_cannot_be() -> None:
    for settings, said in (
        ({"own": {"wan": "blurry"}}, "published prompt"),
        ({"prompts": ["other"]}, "prompts"),
        ({"limit": 1}, "limit"),
        ({"hidden": {"layers": 3}}, "layers"),
    ):
        with pytest.raises(UsageError, match=said):
            load_recipe({"stages": {"negative_text": settings}})


def test_none_chosen_is_a_skip(tmp_path: Path) -> None:
    made = NegativeText(NegativeTextConfig(prompts=()))
    made.setup()
    context = ClipContext(ClipRecord(clip_id="clip", recipe="recipe"), {}, tmp_path)
    assert made.run(context, {}) == Skipped("no negative prompts are chosen", 0.0)


# Through the engine


def manifest(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_clips_share_negative_prompts_and_equal_prompts(tmp_path: Path) -> None:
    prompts = ["a man talks", CHINESE, "a man talks", "dance " * 600]
    rows = [{"id": f"clip{number}", "prompt": prompt} for number, prompt in enumerate(prompts)]
    recipe = {"stages": {"text": {}, "negative_text": {}}}
    inputs, path = (
        manifest(tmp_path / "clips.jsonl", *rows, {"id": "bare", "prompt": " "}),
        tmp_path / "store",
    )
    assert wanprep.run(inputs, store=path, recipe=recipe, engine="inline").failed == 0
    store = wanprep.open(str(path))
    clips = {clip.id: clip for clip in store.clips()}
    assert len({clip.record.keys["negative_text"] for clip in clips.values()}) == 1
    assert len(store.index("negative_text")) == 1 and len(store.index("text")) == 3
    assert clips["clip0"].text.text == clips["clip2"].text.text == "a man talks"
    assert clips["clip3"].text.truncated == 88
    assert [row.reason for row in store.outcomes()] == ["the prompt is empty and there is no caption"]
    assert verify(store).clean
    again = wanprep.run(inputs, store=path, recipe=recipe, engine="inline")
    assert again.clips_to_do == 0


def test_prompts_of_a_task_are_encoded_in_batches(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.text.umt5 import Umt5Encoder

    prompts = [f"a woman dances, {number} " * (1 + 9 * (number % 2)) for number in range(24)]
    rows = [{"id": f"clip{number:02d}", "prompt": prompt} for number, prompt in enumerate(prompts)]
    inputs = manifest(tmp_path / "clips.jsonl", *rows)
    encode = Umt5Encoder._encode
    lengths: list[list[int]] = []

    def noted(self: Umt5Encoder, texts: Any) -> Any:
        lengths.append([len(text.ids) for text in texts])
        return encode(self, texts)

    monkeypatch.setattr(Umt5Encoder, "_encode", noted)
    made = {}
    for batch in (1, 8):
        lengths.clear()
        settings = {"backend": "umt5", "model": str(tiny), "precision": "float32", "batch": batch}
        path = tmp_path / f"store{batch}"
        wanprep.run(inputs, store=path, recipe={"stages": {"text": settings}}, engine="inline", workers=1)
        assert sum(map(len, lengths)) == 24
        made[batch] = {clip.id: clip.text.states_LC for clip in wanprep.open(str(path)).clips()}
    # Four tasks of six clips, three short prompts and three long ones in each.
    assert [len(batch) for batch in lengths] == [3] * 8
    assert all(max(batch) <= 2 * min(batch) for batch in lengths)
    for name, states_LC in made[1].items():
        # A batch changes the last bits before they are rounded to bfloat16's eight.
        np.testing.assert_allclose(
            made[8][name].astype(np.float32), states_LC.astype(np.float32), rtol=2**-7, atol=2e-6
        )


def test_captions_are_taken_in_and_change_the_key(
    tmp_path: Path, videos: Path, add_stages: Callable[..., None]
) -> None:
    add_stages(Caption)
    rows = [
        {"id": "told", "video": str(videos / "one.mp4"), "prompt": "a prompt"},
        {"id": "seen", "video": str(videos / "two.mp4")},
        {"id": "none", "reference": str(picture(tmp_path))},
    ]
    inputs = manifest(tmp_path / "clips.jsonl", *rows)
    both = {"stages": {"caption": {}, "text": {}}}
    wanprep.run(inputs, store=tmp_path / "store", recipe=both, engine="inline")
    store = wanprep.open(str(tmp_path / "store"))
    assert (store.clip("told").text.source, store.clip("seen").text.text) == ("prompt", "A clip of 6 frames.")
    assert {row.stage: row.reason for row in store.outcomes()} == {
        "caption": "no video",
        "text": "no prompt and there is no caption",
    }


def picture(folder: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (32, 32), "red").save(folder / "red.png")
    return folder / "red.png"


# Refused for a real model


def test_hashed_words_are_refused_in_one_sentence(tmp_path: Path) -> None:
    record = run("a man", tmp_path, channels=4096)
    said = (
        "the text embedding was made by hashed-ngram-v1 and the model was trained with umt5: "
        "run again with --set text.backend=umt5"
    )
    assert unfit_text(record) == said
    with pytest.raises(UnfitText, match="hashed-ngram-v1"):
        check_text(record)
    made = NegativeText(NegativeTextConfig())
    made.setup()
    negative = made.run(ClipContext(ClipRecord(clip_id="clip", recipe="recipe"), {}, tmp_path), {})
    assert isinstance(negative, NegativeTextRecord)
    assert "--set negative_text.backend=umt5" in str(unfit_text(negative))


def test_states_of_the_right_encoder_pass(tiny: Path, tmp_path: Path) -> None:
    record = run(CHINESE, tmp_path, backend="umt5", model=str(tiny), precision="float32")
    assert record.backend == "umt5" and record.device == "cpu" and record.precision == "float32"
    assert record.states_LC.dtype == BFLOAT16 and record.tokens == len(record.states_LC)
    check_text(record)
    check_text(record, channels=32)
    assert "has 32 channels and the model takes 4096" in str(unfit_text(record, channels=4096))
    assert "trained with transformers" in str(unfit_text(record, backend="transformers"))


def test_coverage_counts_hashed_words_as_unfit(tmp_path: Path) -> None:
    from wanprep_infer.conditioning import coverage

    inputs = manifest(tmp_path / "clips.jsonl", {"id": "clip", "prompt": "a man"})
    wanprep.run(inputs, store=tmp_path / "store", recipe={"stages": {"text": {}}}, engine="inline")
    found = coverage(wanprep.open(str(tmp_path / "store")).clip("clip"), "s2v")
    assert found.unfit == ("text",) and not found.ready


def test_only_the_encoders_own_files_are_in_the_key(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pipeline"
    shutil.copytree(tiny, folder)
    (folder / "transformer").mkdir()
    # As a folder that is being fetched: its index names a shard that is not there yet.
    (folder / "transformer/diffusion_pytorch_model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "diffusion_pytorch_model-00001-of-00001.safetensors"}}'
    )
    bare, whole = (Text(TextConfig(backend="umt5", model=str(path))) for path in (tiny, folder))
    assert whole.unavailable() is None and bare.models() == whole.models()
    assert whole.resources.memory > bare.resources.memory - 1 > 700 << 20
    tokenizer = folder / "tokenizer/tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("</s>", "</S>"))
    assert bare.models()["encoder"] == whole.models()["encoder"]
    assert bare.models()["tokenizer"] != whole.models()["tokenizer"]


def test_a_model_that_is_not_there_is_said_and_nothing_is_loaded(tmp_path: Path) -> None:
    stage = Text(TextConfig(backend="umt5", model=str(tmp_path / "nowhere")))
    assert "there is no such folder or file" in str(stage.unavailable())
    with pytest.raises(UsageError, match="there is no such folder or file"):
        stage.models()
    assert stage.resources.gpus == 0


def test_a_gpu_that_is_asked_for_is_held_and_missed(tiny: Path) -> None:
    import torch

    settings = {"backend": "umt5", "model": str(tiny), "device": "cuda"}
    stage = Text(TextConfig(**settings))
    assert stage.resources.gpus == 1
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="device=cuda"):
            stage.setup()


def test_both_stages_share_one_encoder(tiny: Path) -> None:
    settings: dict[str, Any] = {"backend": "umt5", "model": str(tiny), "precision": "float32"}
    text, negative = Text(TextConfig(**settings)), NegativeText(NegativeTextConfig(**settings))
    other = NegativeText(NegativeTextConfig(**{**settings, "limit": 99}))
    for made in (text, negative, other):
        made.setup()
    assert text._encoder is negative._encoder is not other._encoder
    alive = weakref.ref(text._encoder)
    del text
    assert alive() is not None
    del negative, made
    gc.collect()
    assert alive() is None


def test_planning_loads_no_network(tiny: Path, tmp_path: Path) -> None:
    inputs = manifest(tmp_path / "clips.jsonl", {"id": "clip", "prompt": "a man"})
    settings = {"backend": "umt5", "model": str(tiny)}
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps({"stages": {"text": settings, "negative_text": settings}}))
    arguments = ["plan", str(inputs), "--store", str(tmp_path / "store"), "--recipe", str(recipe)]
    command = [sys.executable, "-X", "importtime", "-m", "wanprep", *arguments]
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0 and "1 clip to run" in made.stdout, made.stderr[-1000:]
    imported = {line.rpartition("|")[2].strip() for line in made.stderr.splitlines()}
    assert "stages.text.stage" in imported and not imported & {"torch", "transformers", "tokenizers", "ftfy"}
