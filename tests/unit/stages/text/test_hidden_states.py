"""Other models of transformers as text encoders: the chosen layer, the chat template, nothing made up."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas import ClipRecord, TextRecord
from schemas.tensor import BFLOAT16, Tensor
from stages.text import Text, TextConfig
from stages.text.hidden_states import HiddenStateEncoder
from stages.text.layout import find_language_model
from wanprep.errors import UsageError
from wanprep.key import stage_spec
from wanprep.models.errors import ModelBroken, ModelMissing
from wanprep.stage import ClipContext

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ENGLISH = "A man talks to the camera."
CHINESE = "视频中的人在做动作，背景是夜晚的街道"
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="module")
def language_model(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder of four blocks with head and tokenizer, as language models are published."""
    from wanprep.models.tiny_components import pieces, tokenizer

    folder = tmp_path_factory.mktemp("language_model")
    tokenizer().save_pretrained(folder)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "pad_token": "<pad>"}))
    config = transformers.Qwen2Config(
        vocab_size=len(pieces()),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vision_language_model(language_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vision_language_model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(language_model / name, folder)
    text = {
        "vocab_size": 600,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "rope_scaling": {"rope_type": "default", "mrope_section": [1, 1, 2]},
    }
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32}
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    return folder


def encoder(folder: Path, **options: Any) -> HiddenStateEncoder:
    chosen = {"layer": -1, "chat": False, "system": None, "skip": 0, "device": "cpu", "precision": "float32"}
    return HiddenStateEncoder(
        *find_language_model(folder), **{**chosen, "storage": "float32", "limit": 512, "batch": 4, **options}
    )


def encoded(found: HiddenStateEncoder, *texts: str) -> list[Tensor]:
    return found.encode([found.tokens(text) for text in texts])


@pytest.mark.parametrize("layer", [-1, 4, 0, 2, -2])
def test_a_layer_is_the_bare_librarys(language_model: Path, layer: int) -> None:
    found = encoder(language_model, layer=layer)
    model = transformers.AutoModelForCausalLM.from_pretrained(language_model, dtype=torch.float32)
    for text, states_LC in zip([ENGLISH, CHINESE], encoded(found, ENGLISH, CHINESE), strict=True):
        with torch.inference_mode():
            out = model.model(torch.tensor([found.tokens(text).ids]), output_hidden_states=True)
        wanted = out.last_hidden_state if layer in (-1, 4) else out.hidden_states[layer]
        np.testing.assert_allclose(states_LC, wanted[0].numpy(), atol=2e-6)
    assert found.channels == 32


def test_tokens_are_those_of_the_tokenizers_file(language_model: Path) -> None:
    """Left to choose, transformers 5 takes the class of the model and rebuilds the tokenizer from its vocabulary."""
    from tokenizers import Tokenizer

    bare = Tokenizer.from_file(str(language_model / "tokenizer.json"))
    for text in (ENGLISH, CHINESE):
        assert encoder(language_model).tokens(text).ids == tuple(bare.encode(text).ids)


def test_layers_differ(language_model: Path) -> None:
    found = [encoded(encoder(language_model, layer=layer), ENGLISH)[0] for layer in (0, 1, 3, -1)]
    for number, states_LC in enumerate(found):
        assert all(np.abs(states_LC - other).max() > 1e-3 for other in found[number + 1 :])


def test_the_chat_template_is_around_the_text(language_model: Path) -> None:
    plain, chat = encoder(language_model), encoder(language_model, chat=True, system="Describe 视频")
    said = f"<|system|>Describe 视频\n<|user|>{ENGLISH}\n<|assistant|>"
    assert chat.tokens(ENGLISH).ids == plain.tokens(said).ids[:-1]  # a chat ends without the end mark
    without = encoder(language_model, chat=True)
    assert len(without.tokens(ENGLISH).ids) < len(chat.tokens(ENGLISH).ids)


def test_states_of_the_templates_beginning_are_left_out(language_model: Path) -> None:
    whole, part = encoder(language_model, chat=True), encoder(language_model, chat=True, skip=5)
    np.testing.assert_array_equal(encoded(part, ENGLISH)[0], encoded(whole, ENGLISH)[0][5:])
    assert encoded(encoder(language_model, skip=99), "a")[0].shape == (0, 32)


def test_a_long_text_is_cut_and_counted(language_model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    tokens = encoder(language_model, limit=100).tokens("word " * 2000)
    assert tokens.total > 2000 and len(tokens.ids) == 100 and tokens.ids[-1] == 1
    chat = encoder(language_model, limit=100, chat=True).tokens("word " * 2000)
    assert chat.total > 2000 and len(chat.ids) == 100
    assert "longer than" not in capfd.readouterr().err


def test_a_text_without_tokens(language_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(language_model, folder)
    document = json.loads((folder / "tokenizer.json").read_text())
    document["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(document))
    assert [states_LC.shape for states_LC in encoded(encoder(folder), "", "")] == [(0, 32)] * 2


def test_a_model_and_its_tokenizer_in_folders_of_a_pipeline(language_model: Path, tmp_path: Path) -> None:
    shutil.copytree(language_model, tmp_path / "text_encoder", ignore=shutil.ignore_patterns("token*"))
    shutil.copytree(
        language_model, tmp_path / "tokenizer", ignore=shutil.ignore_patterns("*.safetensors", "config.json")
    )
    for text in (ENGLISH, CHINESE):
        np.testing.assert_array_equal(
            encoded(encoder(tmp_path), text)[0], encoded(encoder(language_model), text)[0]
        )
    stage = Text(TextConfig(backend="transformers", model=str(tmp_path)))
    before = stage.models()
    (tmp_path / "tokenizer/tokenizer_config.json").write_text("{}")
    after = stage.models()
    assert before["encoder"] == after["encoder"] and before["tokenizer"] != after["tokenizer"]
    with pytest.raises(ModelMissing, match="has no language model"):
        find_language_model(tmp_path / "tokenizer")


def test_a_vision_language_model(vision_language_model: Path) -> None:
    found = encoder(vision_language_model, layer=1)
    together = encoded(found, ENGLISH, CHINESE, "a")
    for text, states_LC in zip((ENGLISH, CHINESE, "a"), together, strict=True):
        assert states_LC.shape == (len(found.tokens(text).ids), 32)
        np.testing.assert_allclose(states_LC, encoded(found, text)[0], atol=2e-6)


def test_an_encoder_with_a_decoder_gives_its_encoder(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "t5"
    shutil.copytree(tiny / "text_encoder", folder)
    for file in (tiny / "tokenizer").iterdir():
        shutil.copy(file, folder)
    from stages.text.layout import find_umt5
    from stages.text.umt5 import Umt5Encoder

    options: dict[str, Any] = {"device": "cpu", "precision": "float32", "storage": "float32", "limit": 512}
    umt5 = Umt5Encoder(find_umt5(folder), batch=1, **options)
    np.testing.assert_array_equal(
        encoded(encoder(folder), "a man")[0], umt5.encode([umt5.tokens("a man")])[0]
    )


def test_what_a_model_does_not_have(language_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"hidden.layer=7: .* has the layers 0 to 4"):
        encoder(language_model, layer=7)
    with pytest.raises(UsageError, match="takes 1024 tokens at most; set limit=1024"):
        encoder(language_model, limit=2000)
    folder = tmp_path / "other"
    shutil.copytree(language_model, folder)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(UsageError, match="has no chat template"):
        encoder(folder, chat=True)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelBroken, match=r"has no tokenizer.json"):
        encoder(folder)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"architectures": ["Tracer"]}, "names the architecture 'Tracer'"),
        ({"architectures": None}, "names the architecture None"),
        ({"model_type": "unheard"}, "its config.json cannot be loaded"),
        (
            {"model_type": "unheard", "auto_map": {"AutoConfig": "own.Config"}},
            "its config.json cannot be loaded",
        ),
        ({"num_hidden_layers": 5}, "lacks the tensors? model.layers.4"),
        ({"num_hidden_layers": 3}, "holds the tensors? model.layers.3"),
        ({"intermediate_size": 40}, "has the shape"),
    ],
)
def test_a_folder_that_does_not_fit_together(
    language_model: Path, tmp_path: Path, config: dict[str, Any], said: str
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(language_model, folder)
    document = json.loads((folder / "config.json").read_text())
    document.pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps({**document, **config}))
    (folder / "own.py").write_text("raise SystemExit('this ran')\n")
    with pytest.raises(ModelBroken, match=said) as caught:
        encoder(folder)
    assert "\n" not in str(caught.value)


def test_the_stage_records_the_layer_and_keys_all_that_matters(language_model: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"backend": "transformers", "model": str(language_model), "device": "cpu"}
    stage = Text(TextConfig(**options, hidden={"layer": 2, "chat": True}))
    stage.setup()
    clip = ClipRecord(clip_id="clip", recipe="recipe", prompt=CHINESE)
    record = stage.run(ClipContext(clip, {}, tmp_path), {})
    assert isinstance(record, TextRecord) and record.layer == 2 and record.backend == "transformers"
    assert record.states_LC.dtype == BFLOAT16 and record.precision == "bfloat16"
    assert record.model_digest == stage.models()["encoder"]
    copy = tmp_path / "copy"
    shutil.copytree(language_model, copy)
    moved = {**options, "model": str(copy)}
    settings: list[dict[str, Any]] = [
        options,
        {**options, "hidden": {"layer": 1}},
        {**options, "hidden": {"layer": 1, "chat": True}},
        {**options, "hidden": {"layer": 1, "chat": True, "system": "x"}},
        {**options, "hidden": {"layer": 1, "chat": True, "skip": 1}},
        {**options, "limit": 99},
        {**options, "precision": "float32"},
    ]
    specs = [json.dumps(stage_spec(Text(TextConfig(**chosen)))) for chosen in settings]
    assert len(set(specs)) == len(specs)
    for same in (moved, {**options, "batch": 3}, {**options, "device": "auto"}):
        assert json.dumps(stage_spec(Text(TextConfig(**same)))) == specs[0]
