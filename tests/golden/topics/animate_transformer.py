"""The Animate transformer: the official checkpoint's tensors, and velocities with what a segment computes once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golden.golden_file import GoldenFile
from golden.topic import Topic

# Parts that the vectors were made without; they stand before the tokens that the vectors give.
_ABSENT = ("img_emb.", "motion_encoder.", "face_encoder.")


def check_names(file: GoldenFile, case: str) -> None:
    """Each official tensor becomes tensors of the class that diffusers has, all of them and once each."""
    pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    accelerate = pytest.importorskip("accelerate")
    from wanprep_infer.models.animate_keys import diffusers_names, diffusers_shapes, inferred_config
    from wanprep_infer.models.animate_loading import empty_model

    official = {name: tuple(shape) for name, shape in file.json.items()}
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in official.items():
        new = diffusers_shapes(name, shape)
        assert not found.keys() & new.keys(), name
        found |= new
    with accelerate.init_empty_weights():
        model = diffusers.WanAnimateTransformer3DModel(**inferred_config(found, "golden"))
    assert found == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    dropped = [name for name in official if not diffusers_names(name)]
    assert dropped and all(name.endswith(".kernel") for name in dropped)
    loaded = empty_model(official, {}, "golden")
    assert sum(map(np.prod, found.values())) == sum(weight.numel() for weight in loaded.parameters())


def check_velocity(file: GoldenFile, case: str) -> None:
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # 24 channels: more threads wait for each other
    try:
        _compare(file, case)
    finally:
        torch.set_num_threads(threads)


def _compare(file: GoldenFile, case: str) -> None:
    import torch

    fields = {name: torch.from_numpy(value) for name, value in file.case(case).items()}
    transformer = _loaded(file, fields["in.face_tokens"].shape[2] - 1)
    for keep in (True, False):
        tokens = transformer.prepare_tokens(
            context_LC=fields["in.context"],
            image_tokens_TC=fields["in.clip_tokens_projected"][0],
            pose_latents_CTHW=fields["in.pose_latents"],
            face_tokens_TNC=fields["in.face_tokens"][0],
            keep_keys_values=keep,
        )
        for _ in range(2):  # the second time with what the first one kept
            velocity_CTHW = transformer.velocity(
                fields["in.x"], fields["in.y"], int(fields["in.t"][0]), tokens
            )
            torch.testing.assert_close(velocity_CTHW, fields["out.velocity"], rtol=0, atol=1e-4)


def _loaded(file: GoldenFile, face_heads: int) -> Any:
    """The golden weights through the loader of official files, beside absent parts of the same widths."""
    import torch
    from diffusers import WanAnimateTransformer3DModel
    from safetensors.torch import save_file

    from wanprep_infer.models.animate_loading import official_model
    from wanprep_infer.models.animate_transformer import AnimateTransformer
    from wanprep_infer.tiny.animate_official import official_animate

    config = file.metadata["config"]
    given = {name: torch.from_numpy(value) for name, value in file.weights().arrays.items()}
    fusers = sum(name.endswith(".q_norm.weight") for name in given)
    whole = WanAnimateTransformer3DModel(
        num_attention_heads=config["num_heads"],
        attention_head_dim=config["dim"] // config["num_heads"],
        in_channels=config["in_dim"],
        latent_channels=None,
        out_channels=config["out_dim"],
        text_dim=config["text_dim"],
        freq_dim=config["freq_dim"],
        ffn_dim=config["ffn_dim"],
        num_layers=config["num_layers"],
        image_dim=8,
        added_kv_proj_dim=config["dim"],
        motion_encoder_channel_sizes={"4": 4, "8": 4},
        motion_encoder_size=8,
        motion_style_dim=4,
        motion_dim=2,
        motion_encoder_dim=4,
        face_encoder_hidden_dim=4,
        face_encoder_num_heads=face_heads,
        inject_face_latents_blocks=config["num_layers"] // fusers,
    )
    tensors = official_animate(whole.state_dict())
    assert {name for name in tensors if not name.startswith(_ABSENT)} == given.keys()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "golden.safetensors"
        save_file(tensors | given, path)
        files = {name: (path, tuple(tensor.shape)) for name, tensor in (tensors | given).items()}
        cpu = torch.device("cpu")
        model = official_model(files, config, cpu, torch.float32, "golden")
    return AnimateTransformer(model.eval(), cpu, torch.float32)


TOPICS = [
    Topic(files=("animate/state_dict_*official*.json",), check=check_names, cases=lambda file: ["names"]),
    Topic(
        files=("s2v/animate_dit_*.safetensors",),
        companions=("s2v/animate_dit_*.weights.safetensors",),
        check=check_velocity,
    ),
]
