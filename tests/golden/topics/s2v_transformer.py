"""The S2V transformer with official tensor names: velocity, and what flows between its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from golden.golden_file import WHOLE, Array, GoldenFile
from golden.topic import Topic

_STATES, _ROTATIONS = 1e-4, 1e-9
_PARAMETERS = 16.296e9  # of the 14B model, to the last figure given


def check(file: GoldenFile, case: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from wanprep_infer.models.s2v.config import arguments
    from wanprep_infer.models.s2v.loading import load_shards
    from wanprep_infer.models.s2v_transformer import WanS2VTransformer3DModel

    fields = file.case(case)
    weights = file.weights().path
    model = WanS2VTransformer3DModel(**arguments(file.metadata["config"], file.name)).eval()
    cpu = torch.device("cpu")
    load_shards(model, [weights], weights.parent, device=cpu, dtype=torch.float32, float32_modules=())
    inputs = {key: torch.from_numpy(value) for key, value in fields.items() if key.startswith("in.")}
    tokens = model.prepare(
        audio_LCT=inputs["in.audio_input"][0],
        context_LC=inputs["in.context"],
        reference_latents_CTHW=inputs["in.ref_latents"],
        motion_latents_CTHW=inputs["in.motion_latents"],
        pose_latents_CTHW=inputs["in.cond_states"],
        frames=inputs["in.x"].shape[1],
        drop_motion=_flag(file.metadata["drop_motion_frames"]),
        add_last_motion=int(file.metadata["add_last_motion_arg"]),
    )
    found = _watched(model)
    found["out.velocity"] = model.velocity(inputs["in.x"], inputs["in.t"], tokens).numpy()
    found |= _tokens(model, tokens)
    expected = [key for key in fields if not key.startswith("in.")]
    assert "out.velocity" in expected
    for key in expected:
        atol = _ROTATIONS if key.startswith("mid.rope") else _STATES
        np.testing.assert_allclose(found[key], fields[key], rtol=0, atol=atol, err_msg=key)
    again = model.velocity(inputs["in.x"], inputs["in.t"], tokens)
    np.testing.assert_array_equal(again.numpy(), found["out.velocity"])


def _watched(model: Any) -> dict[str, Array]:
    """Fills itself while the model runs."""
    found: dict[str, Array] = {}

    def watch(index: int) -> None:
        def before(_: Any, args: tuple[Any, ...]) -> None:
            states, modulation, _, context = args[:4]
            if index == 0:
                found["mid.tokens_in"] = states.clone().numpy()
                found["mid.e0"] = modulation.permute(1, 0, 2)[None].clone().numpy()
                found["mid.context_emb"] = context.clone().numpy()

        def after(_: Any, __: Any, output: Any) -> None:
            for state in ("pre_inject", "out"):
                found[f"mid.block{index}_{state}"] = output.clone().numpy()

        model.blocks[index].register_forward_pre_hook(before)
        model.blocks[index].register_forward_hook(after)

    def injected(_: Any, args: tuple[Any, ...], output: Any) -> None:
        block = next(block for block, number in model.injected.items() if number == args[1])
        found[f"mid.block{block}_out"] = output.clone().numpy()

    for index in range(len(model.blocks)):
        watch(index)
    model.audio_injector.register_forward_hook(injected)
    return found


def _tokens(model: Any, tokens: Any) -> Mapping[str, Array]:
    from wanprep_infer.models.s2v.positions import rotations

    def kept() -> Any:
        raise AssertionError("the audio tokens were not kept")

    local_FKD, global_FD = tokens.audio.kept.get("tokens", kept)
    rope = rotations(model._grids(tokens.scene), model.config.attention_head_dim)
    found = {
        "mid.audio_emb": local_FKD[None].numpy(),
        "mid.rope_real": rope.real.numpy(),
        "mid.rope_imag": rope.imag.numpy(),
    }
    if global_FD is not None:
        found["mid.audio_emb_global"] = global_FD[None, :, None].numpy()
    return found


def _flag(text: object) -> bool:
    flags = {"True": True, "False": False, True: True, False: False}
    return flags[text]  # type: ignore[index]


def check_state_dict(file: GoldenFile, case: str) -> None:
    """One to one with the published checkpoint, without its weights."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from wanprep_infer.models.s2v.names import official_name
    from wanprep_infer.models.s2v_transformer import WanS2VTransformer3DModel

    assert case == WHOLE
    with torch.device("meta"):
        state = WanS2VTransformer3DModel().state_dict()
    ours = {official_name(name): list(tensor.shape) for name, tensor in state.items()}
    assert len(ours) == len(state) == len(file.json)
    assert ours == file.json
    assert round(sum(tensor.numel() for tensor in state.values()) / 1e6) == _PARAMETERS / 1e6


TOPICS = [
    Topic(
        files=("s2v/dit_*.safetensors",),
        companions=("s2v/dit_*.weights.safetensors",),
        check=check,
    ),
    Topic(files=("s2v/state_dict_*.json",), cases=lambda file: [WHOLE], check=check_state_dict),
]
