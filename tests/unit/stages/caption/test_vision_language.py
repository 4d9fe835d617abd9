"""Captions by Qwen-VL models on this machine, with tiny checkpoints in the layout of the real ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.media import write_picture, write_video

from schemas import CaptionRecord
from stages.caption import Caption, CaptionConfig
from stages.caption.sampling import Sample
from stages.caption.writer import CaptionError
from wanprep.errors import UsageError
from wanprep.key import canonical_json, stage_spec
from wanprep.models.errors import ModelBroken

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402

from stages.caption.tiny import qwen2_5_vl, qwen3_vl  # noqa: E402
from stages.caption.vision_language import VisionLanguageWriter  # noqa: E402

MAKERS: dict[str, Callable[[Path, int], None]] = {"qwen3-vl-8b": qwen3_vl, "qwen2.5-vl-7b": qwen2_5_vl}
SMALL = {"precision": "float32", "max_tokens": 16, "max_pixels": 112 * 112, "device": "cpu"}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, make in MAKERS.items():
        made[name] = tmp_path_factory.mktemp("models") / name
        made[name].mkdir()
        make(made[name], 0)
    return made


@pytest.fixture(params=list(MAKERS))
def model(request: pytest.FixtureRequest, models: dict[str, Path]) -> Path:
    return models[request.param]


def writer(model: Path, **more: Any) -> VisionLanguageWriter:
    config = {"backend": "transformers", "model": str(model), **SMALL, **more}
    return VisionLanguageWriter(CaptionConfig.model_validate(config))


def sample(pictures: int, size: tuple[int, int], seed: int = 0, every: float = 0.5) -> Sample:
    frames_THWC = np.random.default_rng(seed).integers(
        0, 256, (pictures, size[1], size[0], 3), dtype=np.uint8
    )
    return Sample("video", frames_THWC, np.arange(pictures) * every, pictures * every, size)


@pytest.mark.parametrize("name", MAKERS)
def test_tiny_checkpoints_are_reproducible_and_in_the_real_layout(
    tmp_path: Path, models: dict[str, Path], name: str
) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    for folder, seed in ((again, 0), (other, 1)):
        folder.mkdir()
        MAKERS[name](folder, seed)
    files = {file.name: file.read_bytes() for file in models[name].iterdir()}
    assert files == {file.name: file.read_bytes() for file in again.iterdir()}
    weights = [file for file in files if file.endswith(".safetensors")]
    assert len(weights) > 1 and any((other / file).read_bytes() != files[file] for file in weights)
    assert {
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.json",
        "model.safetensors.index.json",
    } <= files.keys()


def test_any_text_comes_back_from_the_tokenizer(model: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(model), local_files_only=True)
    for text in ("A hand, raised: 100%!", "左手抬起。", "naïve 🙂 \t x"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer("<|im_start|>user<|video_pad|>")["input_ids"]) < 8


def test_video_with_its_real_times(model: Path) -> None:
    made = writer(model)
    size = made.size(320, 180)
    inputs = made._inputs("Describe it.", sample(5, size, every=0.5))
    text = made._processor.tokenizer.decode(inputs["input_ids"][0])
    assert "Describe it." in text and text.rstrip().endswith("assistant")
    patch = 16 if "qwen3" in model.name else 14
    # Five pictures are three pairs, the last one shown twice; none is resized or dropped.
    assert inputs["video_grid_thw"].tolist() == [[3, size[1] // patch, size[0] // patch]]
    if "qwen3" in model.name:
        # Pairs at 0 and 0.5, 1 and 1.5, 2 and 2 seconds, told by their means.
        assert [f"<{time} seconds>" in text for time in ("0.2", "1.2", "2.0")] == [True] * 3
        assert text.count(" seconds>") == 3
    else:
        assert float(inputs["second_per_grid_ts"][0]) == pytest.approx(1.0)


def test_pictures_are_those_that_were_given(model: Path) -> None:
    """The first patch's values, put back from the normalised ones, are the first picture's pixels."""
    made = writer(model)
    size = made.size(320, 180)
    given = sample(2, size)
    video = made._processor.video_processor
    patches = made._inputs("x", given)["pixel_values_videos"]
    first = patches[0].reshape(3, 2, video.patch_size, video.patch_size)[:, 0]
    mean, std = (torch.tensor(values)[:, None, None] for values in (video.image_mean, video.image_std))
    pixels_CHW = ((first * std + mean) * 255).round().to(torch.uint8)
    wanted_HWC = given.frames_THWC[0, : video.patch_size, : video.patch_size]
    np.testing.assert_array_equal(pixels_CHW.permute(1, 2, 0).numpy(), wanted_HWC)


def test_greedy_captions_are_repeatable_and_see_the_pictures(model: Path) -> None:
    made = writer(model)
    size = made.size(320, 180)
    first = made.write("Describe it.", sample(4, size))
    made.write("Describe it.", sample(2, size, seed=9))
    assert made.write("Describe it.", sample(4, size)) == first
    assert first.text.strip() and first.truncated
    logits = [
        made._model(**made._inputs("Describe it.", sample(4, size, seed=seed))).logits[0, -1]
        for seed in (0, 1)
    ]
    assert not torch.equal(*logits)


def test_temperature_varies_and_the_seed_repeats(model: Path) -> None:
    size = writer(model).size(320, 180)
    state = torch.random.get_rng_state()

    def write(seed: int) -> str:
        return writer(model, temperature=1.5, seed=seed).write("x", sample(2, size)).text

    assert write(1) == write(1) != write(2)
    assert torch.equal(torch.random.get_rng_state(), state), "others' random numbers go on as before"


def test_record(run: Any, model: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", 50, size=(160, 90))
    record = run({"video": video}, backend="transformers", model=str(model), language="zh", **SMALL)
    assert isinstance(record, CaptionRecord)
    assert record.source == "model" and record.model == model.name and record.device == "cpu"
    assert record.precision == "float32" and record.language == "zh" and record.template == "s2v"
    assert record.model_digest and len(record.times_T) == 6 and record.medium == "video"
    assert (record.width or 0) * (record.height or 0) <= 112 * 112


def test_reference(run: Any, model: Path, tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "a.png", (160, 90))
    record = run({"reference": picture}, backend="transformers", model=str(model), **SMALL)
    assert record.medium == "reference" and record.text


def test_half_precision(run: Any, model: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", 5)
    settings = {**SMALL, "precision": "bfloat16"}
    assert run({"video": video}, backend="transformers", model=str(model), **settings).precision == "bfloat16"


def test_weights_and_place_in_the_key(model: Path, tmp_path: Path) -> None:
    def spec(folder: Path, **more: Any) -> str:
        config = CaptionConfig.model_validate({"backend": "transformers", "model": str(folder), **more})
        return canonical_json(stage_spec(Caption(config)))

    moved, changed = tmp_path / "moved", tmp_path / "changed"
    shutil.copytree(model, moved)
    shutil.copytree(model, changed)
    config = json.loads((changed / "generation_config.json").read_text())
    (changed / "generation_config.json").write_text(json.dumps(config | {"repetition_penalty": 1.1}))
    assert spec(model) == spec(moved) == spec(model, device="cpu") != spec(changed)
    assert spec(model) != spec(model, precision="float32")


def test_too_many_pictures_for_the_model(model: Path) -> None:
    made = writer(model)
    made._model.config.get_text_config().max_position_embeddings = 100
    try:
        with pytest.raises(
            CaptionError, match=r"the model takes 100 with its answer; lower caption\.max_frames"
        ):
            made.write("x", sample(40, made.size(320, 180)))
    finally:
        made._model.config.get_text_config().max_position_embeddings = 32768


def damaged(model: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy in which the shard with the first layer's norm is changed."""
    shutil.copytree(model, folder)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    name = next(name for name in index["weight_map"] if name.endswith("layers.0.input_layernorm.weight"))
    shard = folder / index["weight_map"][name]
    tensors = load_file(shard)
    tensors["norm"] = tensors.pop(name)
    change(tensors)
    if "norm" in tensors:
        tensors[name] = tensors.pop("norm")
    else:
        del index["weight_map"][name]
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file(tensors, shard, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("norm"), "lacks the tensor"),
        (lambda tensors: tensors.update(norm=torch.zeros(7)), "has the shape [7], not [32]"),
    ],
    ids=["missing", "misshapen"],
)
def test_damaged_checkpoints_are_refused(
    model: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    with pytest.raises(ModelBroken) as caught:
        writer(damaged(model, tmp_path / "damaged", change))
    message = str(caught.value)
    assert said in message and "layers.0.input_layernorm.weight" in message and "\n" not in message


def test_checkpoint_cut_short(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "cut")
    shard = min((tmp_path / "cut").glob("model-*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(ModelBroken, match="cut short"):
        writer(tmp_path / "cut")


@pytest.mark.parametrize("file", ["chat_template.json", "preprocessor_config.json"])
def test_checkpoint_without_its_processor(model: Path, tmp_path: Path, file: str) -> None:
    shutil.copytree(model, tmp_path / "bare")
    (tmp_path / "bare" / file).unlink()
    with pytest.raises(ModelBroken) as caught:
        writer(tmp_path / "bare")
    assert "\n" not in str(caught.value)


def test_model_that_is_not_here() -> None:
    stage = Caption(CaptionConfig(backend="transformers", model="/no/such/model"))
    problem = stage.unavailable()
    assert problem is not None and "/no/such/model" in problem and "\n" not in problem


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_that_is_not_here(model: Path) -> None:
    with pytest.raises(UsageError, match="device=cuda"):
        writer(model, device="cuda")


def test_gpu_is_declared_where_it_is_wanted() -> None:
    assert Caption(CaptionConfig(backend="transformers", device="cuda")).resources.gpus == 1.0
    assert Caption(CaptionConfig(backend="transformers", device="cpu")).resources.gpus == 0.0
