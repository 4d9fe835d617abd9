"""LoRAs on a tiny Animate transformer: what is attached where, and by what weights change."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytest.importorskip("peft")

from safetensors.torch import save_file  # noqa: E402

from wanprep.models.errors import ModelBroken, ModelMissing  # noqa: E402
from wanprep_infer.lora import Lora, attach, attach_tensors  # noqa: E402
from wanprep_infer.lora.files import LoraSettings  # noqa: E402
from wanprep_infer.models.animate_model import AnimateModel  # noqa: E402
from wanprep_infer.models.animate_transformer import AnimateTransformer  # noqa: E402
from wanprep_infer.models.s2v_transformer import WanS2VTransformer3DModel  # noqa: E402

RANK = 3
# Wan's official names of the twelve linear layers of a block, and diffusers' names.
LAYERS = {
    "self_attn.q": "attn1.to_q",
    "self_attn.k": "attn1.to_k",
    "self_attn.v": "attn1.to_v",
    "self_attn.o": "attn1.to_out.0",
    "cross_attn.q": "attn2.to_q",
    "cross_attn.k": "attn2.to_k",
    "cross_attn.v": "attn2.to_v",
    "cross_attn.o": "attn2.to_out.0",
    "cross_attn.k_img": "attn2.add_k_proj",
    "cross_attn.v_img": "attn2.add_v_proj",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}
BLOCKS = 2


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """More threads wait for each other on tensors of this size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model() -> Any:
    """Two blocks, width 24, the layers of 14B."""
    torch.manual_seed(0)
    made = AnimateModel(
        num_attention_heads=2,
        attention_head_dim=12,
        text_dim=16,
        freq_dim=16,
        ffn_dim=40,
        num_layers=BLOCKS,
        image_dim=16,
        added_kv_proj_dim=24,
        motion_encoder_channel_sizes={"4": 8, "8": 8, "16": 8},
        motion_encoder_size=16,
        motion_style_dim=8,
        motion_dim=4,
        motion_encoder_dim=8,
        face_encoder_hidden_dim=8,
        face_encoder_num_heads=2,
        inject_face_latents_blocks=2,
    )
    return made.eval().requires_grad_(False)


def noise(*shape: int, seed: int = 1) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def factors(model: Any, names: Callable[[int, str], str], rank: int = RANK, seed: int = 1) -> dict[str, Any]:
    """down and up of every layer of every block, by `names(block, official layer)`."""
    made: dict[str, Any] = {}
    for block in range(BLOCKS):
        for number, (official, own) in enumerate(LAYERS.items()):
            out, into = model.get_submodule(f"blocks.{block}.{own}").weight.shape
            one = seed + 100 * block + number
            made[f"{names(block, official)}.lora_A.weight"] = noise(rank, into, seed=one)
            made[f"{names(block, official)}.lora_B.weight"] = noise(out, rank, seed=one + 50)
    return made


def official(block: int, layer: str) -> str:
    return f"blocks.{block}.{layer}"


def effective(model: Any, name: str) -> Any:
    """A layer's weight as its output shows it: the layer on unit vectors, its bias out."""
    layer = model.get_submodule(name)
    units = torch.eye(layer.in_features)
    with torch.inference_mode():
        return (layer(units) - layer(torch.zeros(1, layer.in_features))).T


def inputs(frames: int = 5) -> dict[str, Any]:
    latent = (frames - 1) // 4 + 1
    return {
        "hidden_states": noise(1, 36, latent + 1, 4, 4),
        "encoder_hidden_states": noise(1, 512, 16),
        "encoder_hidden_states_image": noise(1, 5, 16),
        "pose_hidden_states": noise(1, 16, latent, 4, 4),
        "face_pixel_values": noise(1, 3, frames, 16, 16).clamp(-1, 1),
        "timestep": torch.tensor([500]),
    }


def velocity(model: Any) -> Any:
    with torch.inference_mode():
        return model(**inputs(), return_dict=False)[0]


def saved(path: Path, tensors: dict[str, Any], metadata: dict[str, str] | None = None) -> str:
    save_file(tensors, path, metadata)
    return str(path)


def flat(block: int, layer: str) -> str:
    return f"lora_unet_blocks_{block}_{layer.replace('.', '_')}"


NAMINGS: dict[str, Callable[[int, str], str]] = {
    "bare official": official,
    "peft": lambda block, layer: f"base_model.model.blocks.{block}.{layer}",
    "ComfyUI": lambda block, layer: f"diffusion_model.blocks.{block}.{layer}",
    "diffusers": lambda block, layer: f"transformer.blocks.{block}.{LAYERS[layer]}",
    "diffusers' model": lambda block, layer: f"blocks.{block}.{LAYERS[layer]}",
    "musubi-tuner": flat,
}


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("fuse", [False, True], ids=["beside", "fused"])
def test_every_layer_changes_by_the_product(naming: str, fuse: bool, model: Any, tmp_path: Path) -> None:
    before = {
        f"blocks.{block}.{own}": model.get_submodule(f"blocks.{block}.{own}").weight.clone()
        for block in range(BLOCKS)
        for own in LAYERS.values()
    }
    tensors = factors(model, NAMINGS[naming])
    if naming == "musubi-tuner":
        tensors = {
            name.replace("lora_A", "lora_down").replace("lora_B", "lora_up"): value
            for name, value in tensors.items()
        }
    for block in range(BLOCKS):
        for layer in LAYERS:
            tensors[f"{NAMINGS[naming](block, layer)}.alpha"] = torch.tensor(6.0)
    down, up = (".lora_down", ".lora_up") if naming == "musubi-tuner" else (".lora_A", ".lora_B")
    attach(model, [Lora(saved(tmp_path / "l.safetensors", tensors), 0.5)], fuse=fuse)
    for block in range(BLOCKS):
        for layer, own in LAYERS.items():
            name = NAMINGS[naming](block, layer)
            product = tensors[f"{name}{up}.weight"] @ tensors[f"{name}{down}.weight"]
            changed = effective(model, f"blocks.{block}.{own}") - before[f"blocks.{block}.{own}"]
            torch.testing.assert_close(changed, 0.5 * 6 / RANK * product, atol=2e-4, rtol=1e-4)
    wrapped = [name for name, module in model.named_modules() if hasattr(module, "lora_A")]
    assert len(wrapped) == (0 if fuse else BLOCKS * len(LAYERS))


def test_face_adapters_are_no_blocks(model: Any, tmp_path: Path) -> None:
    """A name that ends as a block's does: face_adapter.0.to_q."""
    before = {name: value.clone() for name, value in model.face_adapter.state_dict().items()}
    attach(model, [Lora(saved(tmp_path / "l.safetensors", factors(model, official)))])
    assert {
        name: torch.equal(before[name], value) for name, value in model.face_adapter.state_dict().items()
    } == dict.fromkeys(before, True)


def test_fused_and_beside_give_the_same_velocity(model: Any, tmp_path: Path) -> None:
    plain = velocity(model)
    lora = Lora(saved(tmp_path / "l.safetensors", factors(model, official)), 0.05)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    attach(model, [lora], fuse=True)
    fused = velocity(model)
    model.load_state_dict(state)
    attach(model, [lora])
    beside = velocity(model)
    assert (beside - plain).abs().max() > 0.01
    torch.testing.assert_close(beside, fused, atol=1e-4, rtol=1e-4)


def test_kept_keys_and_values_are_the_loras(model: Any, tmp_path: Path) -> None:
    """What is computed once a segment is what diffusers' forward pass computes at each step, LoRA included; and tokens
    from before the LoRA are not taken."""
    transformer = AnimateTransformer(model, torch.device("cpu"), torch.float32)
    conditions = {
        "context_LC": noise(9, 16),
        "image_embed_TC": noise(257, 16),
        "pose_latents_CTHW": noise(16, 2, 4, 4),
        "motion_TC": noise(5, 8),
    }
    latents, y = noise(16, 3, 4, 4), noise(20, 3, 4, 4)
    before = transformer.prepare(**conditions)
    bare = transformer.velocity(latents, y, 500, before)
    attach(model, [Lora(saved(tmp_path / "l.safetensors", factors(model, official)), 0.05)])
    tokens = transformer.prepare(**conditions)
    first = transformer.velocity(latents, y, 500, tokens)
    assert (first - bare).abs().max() > 0.01
    plain = transformer.velocity_plain(latents, y, 500, **conditions)
    torch.testing.assert_close(first, plain, atol=1e-5, rtol=1e-5)
    assert torch.equal(transformer.velocity(latents, y, 500, tokens), first)
    with pytest.raises(ValueError, match="LoRAs have changed"):
        transformer.velocity(latents, y, 500, before)


def test_two_loras_add_up_with_their_own_ranks_and_scales(model: Any, tmp_path: Path) -> None:
    name = "blocks.1.attn2.to_k"
    weight = model.get_submodule(name).weight.clone()
    one = factors(model, official)
    two = {
        "blocks.1.cross_attn.k.lora_A.weight": noise(5, 24, seed=7),
        "blocks.1.cross_attn.k.lora_B.weight": noise(24, 5, seed=8),
        "blocks.0.ffn.0.lora_A.weight": noise(2, 24, seed=9),
        "blocks.0.ffn.0.lora_B.weight": noise(40, 2, seed=10),
    }
    attach(model, [Lora(saved(tmp_path / "1.safetensors", one), 0.5)])
    attach(model, [Lora(saved(tmp_path / "2.safetensors", two), -2.0)])
    product = one["blocks.1.cross_attn.k.lora_B.weight"] @ one["blocks.1.cross_attn.k.lora_A.weight"]
    other = two["blocks.1.cross_attn.k.lora_B.weight"] @ two["blocks.1.cross_attn.k.lora_A.weight"]
    torch.testing.assert_close(
        effective(model, name), weight + 0.5 * product - 2 * other, atol=3e-4, rtol=1e-4
    )


def test_scale_zero_changes_nothing(model: Any, tmp_path: Path) -> None:
    plain = velocity(model)
    attach(model, [Lora(saved(tmp_path / "l.safetensors", factors(model, official)), 0.0)])
    assert torch.equal(velocity(model), plain)


def test_relighting_checkpoint_and_its_twin_are_the_same(model: Any, tmp_path: Path) -> None:
    """The .ckpt has its tensors under `state_dict` without a prefix, the safetensors file with peft's."""
    tensors = factors(model, official)
    torch.save({"state_dict": tensors}, tmp_path / "relighting_lora.ckpt")
    twin = {f"base_model.model.{name}": value for name, value in tensors.items()}
    folder = tmp_path / "relighting_lora"
    folder.mkdir()
    save_file(twin, folder / "adapter_model.safetensors")
    config = {"lora_alpha": RANK, "r": RANK, "target_modules": ["q"], "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    results = []
    for path in (tmp_path / "relighting_lora.ckpt", folder):
        model.load_state_dict(state)
        attach(model, [Lora(str(path))], fuse=True)
        results.append(velocity(model))
    assert torch.equal(*results)


def test_settings_of_pefts_config_count(model: Any, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    name = "blocks.0.attn1.to_q"
    tensors = {
        f"base_model.model.{name}.lora_A.weight": noise(4, 24, seed=2),
        f"base_model.model.{name}.lora_B.weight": noise(24, 4, seed=3),
        "base_model.model.blocks.0.attn1.to_k.lora_A.weight": noise(4, 24, seed=4),
        "base_model.model.blocks.0.attn1.to_k.lora_B.weight": noise(24, 4, seed=5),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"lora_alpha": 8, "use_rslora": True, "alpha_pattern": {"^blocks.0.attn1.to_k": 2}}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    weights = [model.get_submodule(f"blocks.0.attn1.{one}").weight.clone() for one in ("to_q", "to_k")]
    attach(model, [Lora(str(folder))])
    q, k = (
        effective(model, f"blocks.0.attn1.{one}") - weight
        for one, weight in zip(("to_q", "to_k"), weights, strict=True)
    )
    values = list(tensors.values())
    torch.testing.assert_close(q, 8 / 2 * values[1] @ values[0], atol=3e-4, rtol=1e-4)
    torch.testing.assert_close(k, 2 / 2 * values[3] @ values[2], atol=3e-4, rtol=1e-4)


def test_whole_differences_of_distilled_models_are_added(model: Any, tmp_path: Path) -> None:
    """Norms, biases and modulation tables, under official names: their norm3 is diffusers' norm2."""
    tensors = {
        "diffusion_model.blocks.0.self_attn.q.diff_b": noise(24, seed=2),
        "diffusion_model.blocks.0.norm3.diff": noise(24, seed=3),
        "diffusion_model.blocks.1.modulation.diff": noise(1, 6, 24, seed=4),
        "diffusion_model.head.head.diff": noise(64, 24, seed=5),
        "diffusion_model.patch_embedding.diff": noise(24, 36, 1, 2, 2, seed=6),
    }
    targets = (
        "blocks.0.attn1.to_q.bias",
        "blocks.0.norm2.weight",
        "blocks.1.scale_shift_table",
        "proj_out.weight",
        "patch_embedding.weight",
    )
    before = [model.get_parameter(name).clone() for name in targets]
    attach(model, [Lora(saved(tmp_path / "l.safetensors", tensors), 0.5)])
    for name, old, difference in zip(targets, before, tensors.values(), strict=True):
        assert torch.equal(model.get_parameter(name), old + 0.5 * difference), name


def test_convolutions_take_factors_too(model: Any, tmp_path: Path) -> None:
    tensors = {
        "diffusion_model.patch_embedding.lora_down.weight": noise(2, 36, 1, 2, 2, seed=6),
        "diffusion_model.patch_embedding.lora_up.weight": noise(24, 2, 1, 1, 1, seed=7),
    }
    path = saved(tmp_path / "l.safetensors", tensors)
    latents = noise(1, 36, 2, 4, 4)
    plain = model.patch_embedding(latents)
    attach(model, [Lora(path)])
    beside = model.patch_embedding(latents)
    down, up = tensors.values()
    weight = torch.einsum("orxyz,rithw->oithw", up, down)
    torch.testing.assert_close(
        beside - plain, torch.nn.functional.conv3d(latents, weight, stride=(1, 2, 2)), atol=1e-4, rtol=1e-4
    )


def test_s2v_takes_official_and_own_names(tmp_path: Path) -> None:
    """Blocks, sound injectors and the text embedding, under the official names and under ours."""
    names = {
        "blocks.1.self_attn.o": "blocks.1.attn1.to_out.0",
        "blocks.0.cross_attn.v": "blocks.0.attn2.to_v",
        "blocks.0.ffn.0": "blocks.0.ffn.net.0.proj",
        "audio_injector.injector.1.q": "audio_injector.injector.1.to_q",
        "text_embedding.0": "condition_embedder.text_embedder.linear_1",
        "casual_audio_encoder.encoder.final_linear": "condition_embedder.causal_audio_encoder.encoder.final_linear",
    }
    torch.manual_seed(0)
    settings = {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "text_dim": 16,
        "freq_dim": 16,
        "ffn_dim": 40,
    }
    model = WanS2VTransformer3DModel(**settings, num_layers=2, audio_dim=16, audio_inject_layers=(0, 1))
    for number, naming in enumerate((names.keys(), names.values())):
        tensors = {}
        before = {own: effective(model, own) for own in names.values()}
        for seed, (name, own) in enumerate(zip(naming, names.values(), strict=True)):
            out, into = before[own].shape
            tensors[f"diffusion_model.{name}.lora_down.weight"] = noise(2, into, seed=seed)
            tensors[f"diffusion_model.{name}.lora_up.weight"] = noise(out, 2, seed=seed + 50)
        attach(model, [Lora(saved(tmp_path / f"{number}.safetensors", tensors))])
        for name, own in zip(naming, names.values(), strict=True):
            down, up = (tensors[f"diffusion_model.{name}.lora_{part}.weight"] for part in ("down", "up"))
            torch.testing.assert_close(effective(model, own), before[own] + up @ down, atol=3e-4, rtol=1e-4)


def test_480_layers_at_14b() -> None:
    """Every linear layer in the 40 blocks but the face's: as many as the published relighting LoRA has."""
    golden = Path(__file__).parents[2] / "data" / "golden" / "animate" / "state_dict_14b_official.json"
    shapes = json.loads(golden.read_text())
    tensors = {}
    for name, shape in shapes.items():
        if name.startswith("blocks.") and name.endswith(".weight") and len(shape) == 2:
            module = name.removesuffix(".weight")
            tensors[f"{module}.lora_A.weight"] = torch.empty(128, shape[1], device="meta")
            tensors[f"{module}.lora_B.weight"] = torch.empty(shape[0], 128, device="meta")
    assert sum(tensor.numel() for tensor in tensors.values()) == pytest.approx(718e6, rel=1e-3)
    with torch.device("meta"):
        model = diffusers.WanAnimateTransformer3DModel(added_kv_proj_dim=5120)
    attach_tensors(model, tensors, LoraSettings(), Lora("relighting_lora.ckpt"))
    wrapped = [name for name, module in model.named_modules() if hasattr(module, "lora_A")]
    assert len(wrapped) == 480 and all(name.startswith("blocks.") for name in wrapped)


def test_bfloat16_models_get_bfloat16_factors(model: Any, tmp_path: Path) -> None:
    model.to(torch.bfloat16)
    attach(model, [Lora(saved(tmp_path / "l.safetensors", factors(model, official)))])
    kinds = {value.dtype for name, value in model.named_parameters() if ".lora_" in name}
    assert kinds == {torch.bfloat16}


def test_nothing_matches(model: Any, tmp_path: Path) -> None:
    tensors = {
        "double_blocks.0.img_attn.lora_A.weight": noise(2, 8),
        "double_blocks.0.img_attn.lora_B.weight": noise(8, 2),
    }
    with pytest.raises(ModelBroken) as error:
        attach(model, [Lora(saved(tmp_path / "flux.safetensors", tensors))])
    assert str(error.value) == (
        f"LoRA {tmp_path}/flux.safetensors: none of its 2 tensors is of a part of this model; the first is "
        "double_blocks.0.img_attn.lora_A.weight"
    )


def test_what_does_not_match_is_counted(model: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A LoRA of a model with 40 blocks on one with two, and a tensor that is of no LoRA."""
    tensors = factors(model, official)
    tensors |= {"blocks.39.ffn.0.lora_A.weight": noise(2, 24), "blocks.39.ffn.0.lora_B.weight": noise(40, 2)}
    tensors["ss_epoch"] = noise(1)
    with caplog.at_level(logging.WARNING, "wanprep.models"):
        attach(model, [Lora(saved(tmp_path / "l.safetensors", tensors))])
    (record,) = caplog.records
    assert "3 of its 51 tensors" in record.message and "blocks.39.ffn.0, ss_epoch" in record.message


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (
            {"blocks.0.ffn.0.lora_A.weight": (2, 25), "blocks.0.ffn.0.lora_B.weight": (40, 2)},
            "the down factor of blocks.0.ffn.0 has the shape [2, 25], not [2, 24]",
        ),
        (
            {"blocks.0.ffn.0.lora_A.weight": (2, 24), "blocks.0.ffn.0.lora_B.weight": (40, 3)},
            "the up factor of blocks.0.ffn.0 has the shape [40, 3], not [40, 2]",
        ),
        (
            {"blocks.0.ffn.0.lora_A.weight": (0, 24), "blocks.0.ffn.0.lora_B.weight": (40, 0)},
            "the down factor of blocks.0.ffn.0 has the shape [0, 24]",
        ),
        (
            {"blocks.0.ffn.0.lora_A.weight": (2, 24)},
            "module blocks.0.ffn.0 has a down factor (A is down, B is up) and no up",
        ),
        (
            {"patch_embedding.diff": (24, 16, 1, 2, 2)},
            "the difference of patch_embedding has the shape [24, 16, 1, 2, 2]",
        ),
        (
            {
                "blocks.0.ffn.0.lora_A.weight": (2, 24),
                "blocks.0.ffn.0.lora_B.weight": (40, 2),
                "blocks.0.ffn.0.alpha": (2,),
            },
            "alpha of blocks.0.ffn.0 is not one finite number",
        ),
        ({"blocks.0.ffn.0.lokr_w1": (2, 2)}, "is no plain LoRA but a LoKr (tensor blocks.0.ffn.0.lokr_w1)"),
        ({"blocks.0.norm2.diff_b": (24,), "head.modulation.diff_b": (24,)}, "brings a bias for head.modulation"),
        (
            {"blocks.0.ffn.0.lora_A.weight": (2, 24), "diffusion_model.blocks.0.ffn.0.lora_A.weight": (2, 24)},
            "holds down of module blocks.0.ffn.0 twice",
        ),
    ],
)  # fmt: skip
def test_broken_files_are_one_line_and_change_nothing(
    tensors: dict[str, tuple[int, ...]], said: str, model: Any, tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    path = saved(tmp_path / "l.safetensors", {name: torch.ones(shape) for name, shape in tensors.items()})
    with pytest.raises(ModelBroken) as error:
        attach(model, [Lora(path)])
    assert (
        said in str(error.value)
        and str(error.value).startswith(f"LoRA {path}: ")
        and "\n" not in str(error.value)
    )
    after = model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_a_placed_model_takes_no_lora(model: Any, tmp_path: Path) -> None:
    model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="before a model is placed"):
        attach(model, [Lora(saved(tmp_path / "l.safetensors", factors(model, official)))])


def test_a_missing_file(model: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="no such file"):
        attach(model, [Lora(str(tmp_path / "none.safetensors"))])
