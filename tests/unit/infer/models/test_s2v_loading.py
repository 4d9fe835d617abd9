"""Three layouts of one checkpoint give one model; anything else is one line that names it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file  # noqa: E402

from wanprep.models.errors import ModelBroken  # noqa: E402
from wanprep_infer.models.folder import GeneratorFolder  # noqa: E402
from wanprep_infer.models.s2v.config import arguments  # noqa: E402
from wanprep_infer.models.s2v.names import official_name  # noqa: E402
from wanprep_infer.models.s2v_transformer import (  # noqa: E402
    WanS2VTransformer3DModel,
    load_s2v_transformer,
)
from wanprep_infer.tiny.s2v_weights import S2VGeometry, weights  # noqa: E402

torch.set_num_threads(1)
OFFICIAL = weights(S2VGeometry(), 0)
CONFIG = S2VGeometry().config()
Tensors = dict[str, Any]


def folder_of(path: Path, tensors: Tensors, config: dict[str, Any], shards: int = 1) -> GeneratorFolder:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    names = list(tensors)
    files = []
    for number in range(shards):
        files.append(path / f"diffusion_pytorch_model-{number + 1}.safetensors")
        save_file({name: tensors[name].contiguous() for name in names[number::shards]}, files[-1])
    return GeneratorFolder("mine", "s2v", "official", path, path, tuple(files), path, None)


def load(folder: GeneratorFolder, dtype: Any = torch.float32) -> Any:
    return load_s2v_transformer(folder, device="cpu", dtype=dtype)


def renamed(spelling: str = "causal") -> Tensors:
    """The names of diffusers' pull request."""
    with torch.device("meta"):
        ours = WanS2VTransformer3DModel(**arguments(CONFIG, "")).state_dict()
    return {name.replace("causal", spelling): OFFICIAL[official_name(name)] for name in ours}


def diffusers_config() -> dict[str, Any]:
    return {**arguments(CONFIG, ""), "_class_name": "WanS2VTransformer3DModel", "rope_max_seq_len": 1024}


LAYOUTS: dict[str, Callable[[Path], GeneratorFolder]] = {
    "official": lambda path: folder_of(path, OFFICIAL, CONFIG, shards=3),
    "FastVideo": lambda path: folder_of(path / "transformer", OFFICIAL, CONFIG),
    "diffusers": lambda path: folder_of(path / "transformer", renamed(), diffusers_config(), shards=2),
    "diffusers, first names": lambda path: folder_of(path, renamed("casual"), diffusers_config()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layouts_give_one_model(layout: str, dtype: Any, tmp_path: Path) -> None:
    model = load(LAYOUTS[layout](tmp_path), dtype)
    state = model.state_dict()
    assert len(state) == len(OFFICIAL)
    for name, tensor in state.items():
        assert torch.equal(tensor.float(), OFFICIAL[official_name(name)].float()), name
    assert not model.training and not any(tensor.requires_grad for tensor in model.parameters())
    kept = {name.split(".")[0] for name, tensor in state.items() if tensor.dtype == torch.float32}
    assert model.dtype == dtype
    if dtype == torch.bfloat16:
        assert kept == {
            *("blocks", "condition_embedder", "proj_out", "scale_shift_table", "trainable_condition_mask")
        }
        assert state["blocks.0.norm2.weight"].dtype == torch.float32
        assert state["blocks.0.attn1.to_q.weight"].dtype == torch.bfloat16


def test_saved_and_loaded_by_diffusers(tmp_path: Path) -> None:
    model = load(LAYOUTS["official"](tmp_path / "official"), torch.bfloat16)
    model.save_pretrained(tmp_path / "saved", max_shard_size="200kB")
    assert len(list((tmp_path / "saved").glob("*.safetensors"))) > 1
    again = WanS2VTransformer3DModel.from_pretrained(tmp_path / "saved", torch_dtype=torch.bfloat16)
    assert again.config.audio_inject_layers == CONFIG["audio_inject_layers"]
    for (name, tensor), other in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert tensor.dtype == other.dtype and torch.equal(tensor, other), name


def test_what_the_config_leaves_out_is_as_published() -> None:
    with torch.device("meta"):
        model = WanS2VTransformer3DModel(
            **arguments({"_class_name": "WanModel_S2V", "num_layers": 1, "audio_inject_layers": [0]}, "x")
        )
    assert model.config.text_dim == 4096 and model.config.text_len == 512
    assert model.blocks[0].ffn.net[0].proj.weight.shape == (13824, 5120)
    assert tuple(model.config.patch_size) == (1, 2, 2) and model.config.num_audio_token == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda it: it.pop("blocks.1.self_attn.q.bias"), r"lacks the tensor blocks\.1\.self_attn\.q\.bias$"),
        (
            lambda it: it.update({"blocks.9.norm3.bias": torch.zeros(48)}),
            r"holds the tensor blocks\.9\.norm3\.bias",
        ),
        (
            lambda it: it.update({"head.head.bias": torch.zeros(63)}),
            r"tensor head\.head\.bias has the shape \[63\], not \[64\]$",
        ),
        (
            lambda it: it.update({"head.head.bias": torch.zeros(64, dtype=torch.int8)}),
            r"tensor head\.head\.bias is of torch\.int8",
        ),
    ],
)
def test_a_tensor_amiss_is_named_as_the_files_name_it(
    change: Callable[[Tensors], Any], words: str, tmp_path: Path
) -> None:
    tensors = dict(OFFICIAL)
    change(tensors)
    with pytest.raises(ModelBroken, match=words) as raised:
        load(folder_of(tmp_path, tensors, CONFIG))
    assert "\n" not in str(raised.value)


def test_a_tensor_in_two_shards(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, OFFICIAL, CONFIG, shards=2)
    second = load_file(folder.weights[1]) | {"patch_embedding.weight": OFFICIAL["patch_embedding.weight"]}
    save_file(second, folder.weights[1])
    with pytest.raises(ModelBroken, match=r"-2\.safetensors holds patch_embedding\.weight once more"):
        load(folder)


def test_a_shard_cut_short(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, OFFICIAL, CONFIG)
    folder.weights[0].write_bytes(folder.weights[0].read_bytes()[:-100])
    with pytest.raises(ModelBroken, match="is cut short"):
        load(folder)


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["patch_embedding.weight", "blocks.0.self_attn.q.weight"], "a Wan transformer without sound input"),
        (
            ["patch_embedding.weight", "face_adapter.fuser_blocks.0.q_norm.weight"],
            "a Wan2.2-Animate transformer",
        ),
        (["motion_encoder.dec.direction.weight"], "a Wan2.2-Animate transformer"),
        (["patch_embedding.weight", "img_emb.proj.0.weight"], "an image-to-video transformer"),
        (["patch_embedding.weight", "vace_blocks.0.norm3.weight"], "a VACE transformer"),
        (["lm_head.weight"], "no Wan transformer"),
    ],
)
def test_a_checkpoint_of_another_model_is_one_sentence(names: list[str], what: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {name: torch.zeros(1) for name in names}, CONFIG)
    with pytest.raises(ModelBroken) as raised:
        load(folder)
    message = str(raised.value)
    assert message.startswith(f"model {tmp_path}: ")
    assert what in message and "not an S2V model; give one such as wan2.2-s2v-14b" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"enable_motioner": True}, "enable_motioner True, of which there is no published model"),
        ({"enable_tsm": True}, "enable_tsm True"),
        ({"cross_attn_norm": False}, "cross_attn_norm False"),
        ({"num_heads": 7}, "dim 48, which 7 heads do not divide"),
        ({"num_heads": 0}, "which 0 heads"),
        ({"adain_mode": "linear"}, "makes no S2V transformer .*adain_mode"),
        ({"audio_inject_layers": [0, 7]}, "makes no S2V transformer .*blocks 0 to 3"),
        ({"ffn_dim": "wide"}, "makes no S2V transformer"),
        ({"ffn_dim": 100}, r"tensor blocks\.0\.ffn\.0\.bias has the shape \[96\], not \[100\]"),
    ],
)
def test_a_config_amiss(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelBroken, match=words):
        load(folder_of(tmp_path, OFFICIAL, CONFIG | change))


MODULES = st.sampled_from(sorted({name.rpartition(".")[0] for name in renamed()}))


@given(MODULES, MODULES)
@settings(deadline=None)
def test_unlike_modules_have_unlike_official_names(one: str, other: str) -> None:
    assert (one == other) == (official_name(one) == official_name(other))
    assert not re.search(r"to_|attn\d|condition", official_name(one))
