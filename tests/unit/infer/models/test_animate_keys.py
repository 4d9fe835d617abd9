"""Official and diffusers' tensor names: one to one, values unchanged, and a network told by its tensors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from wanprep.models.errors import ModelBroken  # noqa: E402
from wanprep_infer.models.animate_keys import (  # noqa: E402
    Shape,
    diffusers_names,
    diffusers_shapes,
    diffusers_tensors,
    inferred_config,
    is_official,
)
from wanprep_infer.models.animate_loading import empty_model  # noqa: E402
from wanprep_infer.models.animate_model import AnimateModel  # noqa: E402
from wanprep_infer.tiny.animate_official import official_animate, official_name  # noqa: E402

GOLDEN = Path(__file__).parents[3] / "data" / "golden" / "animate" / "state_dict_14b_official.json"
PUBLISHED: dict[str, Shape] = {name: tuple(shape) for name, shape in json.loads(GOLDEN.read_text()).items()}
MOVED = {
    new: size for name, shape in PUBLISHED.items() for new, size in diffusers_shapes(name, shape).items()
}


def small(**changes: object) -> AnimateModel:
    settings = {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "text_dim": 10,
        "freq_dim": 8,
        "ffn_dim": 20,
        "num_layers": 4,
        "image_dim": 6,
        "added_kv_proj_dim": 24,
        "motion_encoder_channel_sizes": {"4": 3, "8": 5, "16": 7},
        "motion_encoder_size": 16,
        "motion_style_dim": 9,
        "motion_dim": 4,
        "motion_encoder_dim": 11,
        "face_encoder_hidden_dim": 12,
        "face_encoder_num_heads": 3,
        "inject_face_latents_blocks": 2,
        **changes,
    }
    return AnimateModel(**settings)


@given(st.sampled_from(sorted(PUBLISHED)), st.integers(0, 999))
def test_block_numbers_are_kept(name: str, number: int) -> None:
    """Names of blocks and adapters say their own number, whatever it is; every name comes back."""
    head, found, rest = name.partition(".0.")
    if head in ("blocks", "face_adapter.fuser_blocks") and found:
        name = f"{head}.{number}.{rest}"
    for new in diffusers_names(name):
        back = official_name(new.replace(".to_k.", ".linear1_kv.").replace(".to_v.", ".linear1_kv."))
        if "linear1_kv" in name:
            assert back == name
        elif "convs.8" not in name:
            assert official_name(new) == name


def test_published_tensors_are_told_apart() -> None:
    assert is_official(PUBLISHED) and not is_official(MOVED)


@given(st.sampled_from(sorted(PUBLISHED)), st.sampled_from(["x", ".extra", "weights", "1"]))
def test_other_names_are_refused(name: str, more: str) -> None:
    with pytest.raises(ValueError, match="is no tensor of the official"):
        diffusers_names(name + more)


@pytest.mark.parametrize(
    "name",
    ["blocks.0.norm1.weight", "blocks.0.self_attn.k_img.weight", "blocks.x.norm3.weight", "norm3.weight", ""],
)
def test_names_of_neighbours_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no tensor"):
        diffusers_names(name)


def test_values_survive_the_way_there_and_back() -> None:
    state = small().state_dict()
    official = official_animate(state)
    assert not official.keys() & state.keys() - {
        name
        for name in state
        if name.startswith(("patch_", "pose_", "face_encoder.padding", "face_encoder.out"))
    }
    back = {
        new: part for name, value in official.items() for new, part in diffusers_tensors(name, value).items()
    }
    assert back.keys() == state.keys()
    assert [name for name in state if not torch.equal(back[name], state[name])] == []


def test_keys_are_the_upper_half() -> None:
    both = torch.arange(12.0).reshape(6, 2)
    parts = diffusers_tensors("face_adapter.fuser_blocks.3.linear1_kv.weight", both)
    assert torch.equal(parts["face_adapter.3.to_k.weight"], both[:3])
    assert torch.equal(parts["face_adapter.3.to_v.weight"], both[3:])
    with pytest.raises(ValueError, match="does not come apart"):
        diffusers_tensors("face_adapter.fuser_blocks.3.linear1_kv.weight", both[:5])


def test_blur_kernels_are_dropped() -> None:
    dropped = [name for name in PUBLISHED if not diffusers_names(name)]
    assert len(dropped) == 14 and all(name.endswith(".kernel") for name in dropped)


def test_published_config_is_inferred() -> None:
    """Against the published config.json of diffusers' folder."""
    found = inferred_config(MOVED, "published")
    assert found["patch_size"] == (1, 2, 2)
    assert (found["num_attention_heads"], found["attention_head_dim"], found["num_layers"]) == (40, 128, 40)
    assert (found["in_channels"], found["latent_channels"], found["out_channels"]) == (36, 16, 16)
    assert (found["text_dim"], found["freq_dim"], found["ffn_dim"]) == (4096, 256, 13824)
    assert (found["image_dim"], found["added_kv_proj_dim"]) == (1280, 5120) and found["cross_attn_norm"]
    assert (found["motion_encoder_size"], found["motion_style_dim"]) == (512, 512)
    assert (found["motion_dim"], found["motion_encoder_dim"]) == (20, 512)
    assert (found["face_encoder_hidden_dim"], found["face_encoder_num_heads"]) == (1024, 4)
    assert found["inject_face_latents_blocks"] == 5
    assert found["motion_encoder_channel_sizes"] == {
        "512": 32, "256": 64, "128": 128, "64": 256, "32": 512, "16": 512, "8": 512, "4": 512
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_attention_heads": 3},
        {"num_layers": 6, "inject_face_latents_blocks": 3},
        {"inject_face_latents_blocks": 1},
        {"image_dim": None, "added_kv_proj_dim": None},
        {"cross_attn_norm": False},
        {"patch_size": (1, 1, 2)},
        {"motion_encoder_size": 8},
    ],
)
def test_config_is_inferred_from_tensors(changes: dict[str, object]) -> None:
    model = small(**changes)
    found = inferred_config({name: tuple(each.shape) for name, each in model.state_dict().items()}, "small")
    sizes = found.pop("motion_encoder_channel_sizes")
    assert {name: model.config[name] for name in found} == found
    assert sizes.items() <= model.config.motion_encoder_channel_sizes.items()


SMALL: dict[str, Shape] = {
    name: tuple(tensor.shape) for name, tensor in official_animate(small().state_dict()).items()
}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"blocks.3.ffn.0.weight": None},
            r"model here: lacks the tensor blocks\.3\.ffn\.net\.0\.proj\.weight",
        ),
        ({"blocks.3.ffn.0.weight": (9, 24)}, r"tensor blocks\.3\S+ has the shape \[9, 24\], not \[20, 24\]"),
        ({"blocks.0.ffn.0.weight": None}, r"tensor blocks\.0\.ffn\.net\.0\.proj\.weight is missing"),
        ({"patch_embedding.weight": (24, 36)}, r"patch_embedding\.weight is missing or has other than 5"),
        ({"face_adapter.fuser_blocks.0.q_norm.weight": (7,)}, "24 channels are no multiple of heads of 7"),
        ({"face_adapter.fuser_blocks.1.linear1_q.weight": None}, r"holds the tensors face_adapter\.1\."),
        ({"blocks.9.norm3.weight": (24,)}, r"holds the tensor blocks\.9\.norm2\.weight"),
        (
            {"casual_audio_encoder.weights": (1,)},
            r"casual_audio_encoder\.weights is no tensor of the official",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(changes: dict[str, Shape | None], says: str) -> None:
    changed = {name: shape for name, shape in (SMALL | changes).items() if shape is not None}
    with pytest.raises(ModelBroken, match=says) as caught:
        empty_model(changed, {}, "model here")
    assert "\n" not in str(caught.value)


def test_config_json_of_other_heads_is_refused() -> None:
    with pytest.raises(ModelBroken, match=r"config\.json says 3 heads, the tensors are of 2"):
        empty_model(SMALL, {"num_heads": 3}, "model here")
    assert empty_model(SMALL, {"num_heads": 2, "eps": 1e-5}, "model here").config.eps == 1e-5
