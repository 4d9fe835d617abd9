"""What a clip computes once changes no result and is computed once; shapes that cannot be right are refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from wanprep_infer.models.s2v.audio_injector import injected  # noqa: E402
from wanprep_infer.models.s2v_transformer import WanS2VTransformer3DModel  # noqa: E402

torch.set_num_threads(1)  # threads cost more than they bring at these sizes
ONCE = 1e-6

TINY: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "text_dim": 10,
    "text_len": 8,
    "freq_dim": 8,
    "ffn_dim": 40,
    "num_layers": 3,
    "audio_dim": 6,
    "audio_layers": 3,
    "audio_inject_layers": (0, 2),
}
VARIANTS: dict[str, dict[str, Any]] = {
    "published": {},
    "drop mode": {"framepack_drop_mode": "drop"},
    "plain history": {"enable_framepack": False},
    "without AdaIN": {"enable_adain": False},
    "one modulation": {"zero_timestep": False},
    "without last motion": {"add_last_motion": False},
    "without pose": {"pose_dim": 0},
}


def make(**changes: Any) -> Any:
    """A model whose every tensor shows in the result."""
    model = WanS2VTransformer3DModel(**(TINY | changes)).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for tensor in model.parameters():
        spread = 0.3 if tensor.ndim == 1 else tensor[0].numel() ** -0.5
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * spread)
    return model


def noise(*shape: int, seed: int = 0) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def conditions(frames: int = 2, height: int = 8, width: int = 16, **changes: Any) -> dict[str, Any]:
    return {
        "audio_LCT": noise(3, 6, 4 * frames),
        "context_LC": noise(5, 10),
        "reference_latents_CTHW": noise(16, 1, height, width),
        "motion_latents_CTHW": noise(16, 19, height, width),
        "pose_latents_CTHW": noise(16, frames, height, width, seed=1),
        "frames": frames,
    } | changes


LATENTS = noise(16, 2, 8, 16, seed=2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_kept_changes_nothing(variant: str) -> None:
    model = make(**VARIANTS[variant])
    given_once = conditions(**({"pose_latents_CTHW": None} if variant == "without pose" else {}))
    tokens = model.prepare(**given_once)
    lean = model.prepare(**given_once, keep_keys_values=False)
    for timestep in (999, 1, 500):
        at_once = model(LATENTS, timestep, **given_once)
        assert at_once.abs().max() > 0.1
        for each in (tokens, lean):
            torch.testing.assert_close(model.velocity(LATENTS, timestep, each), at_once, rtol=0, atol=ONCE)


def test_once_a_clip_is_once() -> None:
    model = make()
    calls: Counter[str] = Counter()
    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *_, name=name: calls.update([name]))
    text, silence = model.text_tokens(noise(3, 10)), model.audio_tokens(torch.zeros(3, 6, 8))
    steps, clips = 3, 2
    for clip in range(clips):
        tokens = model.prepare(**conditions(audio_LCT=noise(3, 6, 8, seed=clip), context_LC=text))
        for branch in (tokens, tokens.branch(audio=silence)):
            for step in range(steps):
                model.velocity(LATENTS, 900 - step, branch)
    forwards = 2 * steps * clips
    assert calls["condition_embedder.text_embedder.linear_1"] == 1
    assert {calls[f"blocks.{index}.attn2.to_k"] for index in range(3)} == {1}
    assert calls["audio_injector.injector.1.to_v"] == calls["audio_injector.injector_adain_layers.1.linear"]
    assert calls["audio_injector.injector.1.to_v"] == clips + 1  # each clip's sound, and silence
    assert calls["condition_embedder.causal_audio_encoder.encoder.final_linear"] == clips + 1
    assert (
        calls["frame_packer.proj_4x"] == calls["condition_embedder.pose_embedder"] == calls["rope"] == clips
    )
    assert calls["condition_embedder.time_proj"] == forwards + clips  # and timestep 0
    assert calls["patch_embedding"] == forwards + clips  # and the reference
    assert calls["blocks.0.attn1.to_k"] == forwards


def test_nothing_is_kept_of_keys_and_values_where_it_is_not_wanted() -> None:
    model = make()
    tokens = model.prepare(**conditions(), keep_keys_values=False)
    model.velocity(LATENTS, 3, tokens)
    assert len(tokens.text.projected) == len(tokens.audio.projected) == 0
    assert len(tokens.text.kept) == len(tokens.audio.kept) == 1


@pytest.mark.parametrize(
    "part", ["audio_LCT", "context_LC", "reference_latents_CTHW", "motion_latents_CTHW", "pose_latents_CTHW"]
)
def test_every_condition_shows(part: str) -> None:
    model, plain = make(), conditions()
    changed = plain | {part: -plain[part]}
    results = [model.velocity(LATENTS, 500, model.prepare(**each)) for each in (plain, changed)]
    assert (results[0] - results[1]).abs().max() > 1e-3


def test_no_pose_is_a_pose_of_zeros() -> None:
    model = make()
    zeros = model.prepare(**conditions(pose_latents_CTHW=torch.zeros(16, 2, 8, 16)))
    none = model.prepare(**conditions(pose_latents_CTHW=None))
    torch.testing.assert_close(
        model.velocity(LATENTS, 9, none), model.velocity(LATENTS, 9, zeros), rtol=0, atol=ONCE
    )


def test_text_is_filled_with_zeros_that_are_attended() -> None:
    model = make()
    short = noise(5, 10)
    filled = torch.cat([short, torch.zeros(3, 10)])
    results = [
        model.velocity(LATENTS, 9, model.prepare(**conditions(context_LC=each))) for each in (short, filled)
    ]
    torch.testing.assert_close(*results, rtol=0, atol=0)
    two_more = torch.cat([short, torch.zeros(2, 10), noise(1, 10)])
    assert (model.velocity(LATENTS, 9, model.prepare(**conditions(context_LC=two_more))) - results[0]).any()


@pytest.mark.parametrize("variant", ["published", "drop mode", "plain history"])
def test_a_first_clip_has_no_history_tokens(variant: str) -> None:
    model = make(**VARIANTS[variant])
    first = model.prepare(**conditions(drop_motion=True))
    none = model.prepare(**conditions(drop_motion=True, motion_latents_CTHW=None))
    lengths: list[int] = []
    model.blocks[0].register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))
    assert torch.equal(model.velocity(LATENTS, 7, first), model.velocity(LATENTS, 7, none))
    assert lengths == [3 * 32, 3 * 32]  # two latent frames and the reference


@pytest.mark.parametrize(("counts", "tokens"), [(2, 32 + 8 + 8), (1, 8 + 8), (0, 8)])
def test_drop_mode_leaves_tokens_out_and_padd_mode_keeps_them(counts: int, tokens: int) -> None:
    lengths: list[int] = []
    for variant in ("published", "drop mode"):
        model = make(**VARIANTS[variant])
        model.blocks[0].register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))
        model.velocity(LATENTS, 7, model.prepare(**conditions(add_last_motion=counts)))
    assert lengths == [3 * 32 + 48, 3 * 32 + tokens]


@pytest.mark.parametrize(("counts", "hidden"), [(2, 0), (1, 1), (0, 3)])
@pytest.mark.parametrize("variant", ["published", "drop mode"])
def test_history_that_does_not_count_is_not_seen(variant: str, counts: int, hidden: int) -> None:
    model, history = make(**VARIANTS[variant]), noise(16, 19, 8, 16)
    results = []
    for changed in (0, hidden, hidden + 1):
        other = history.clone()
        other[:, 19 - changed :] += 1
        tokens = model.prepare(**conditions(motion_latents_CTHW=other, add_last_motion=counts))
        results.append(model.velocity(LATENTS, 7, tokens))
    assert torch.equal(results[0], results[1])
    assert (results[0] - results[2]).abs().max() > 1e-4


def test_of_a_long_history_the_newest_counts_and_a_short_one_follows_zeros() -> None:
    model, history = make(), noise(16, 19, 8, 16)

    def velocity(motion_CTHW: Any) -> Any:
        return model.velocity(LATENTS, 7, model.prepare(**conditions(motion_latents_CTHW=motion_CTHW)))

    assert torch.equal(velocity(history), velocity(torch.cat([noise(16, 2, 8, 16), history], 1)))
    zeros = torch.cat([torch.zeros(16, 14, 8, 16), history[:, 14:]], 1)
    assert torch.equal(velocity(history[:, 14:]), velocity(zeros))


def test_bfloat16_follows_float32_and_keeps_what_must_be_float32() -> None:
    wide, narrow = make(), make()
    kept = WanS2VTransformer3DModel._keep_in_fp32_modules
    for name, tensor in narrow.named_parameters():
        if not any(part in kept for part in name.split(".")):
            tensor.data = tensor.data.bfloat16()
    assert narrow.dtype == torch.bfloat16
    results = [model.velocity(LATENTS, 500, model.prepare(**conditions())) for model in (wide, narrow)]
    assert results[1].dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(*(each.flatten() for each in results), 0) > 0.999
    # Whole models are cast by users, too.
    cast = torch.nn.Module.to(make(), torch.bfloat16)
    assert torch.isfinite(cast.velocity(LATENTS.bfloat16(), 500, cast.prepare(**conditions()))).all()


def test_trains() -> None:
    model = make().requires_grad_(True)
    model(LATENTS, 500, **conditions()).square().mean().backward()
    assert [name for name, tensor in model.named_parameters() if tensor.grad is None] == []
    assert model.velocity(LATENTS, 500, model.prepare(**conditions())).grad_fn is None


def test_tokens_of_another_transformer_are_refused() -> None:
    one, other = make(), make()
    tokens = one.prepare(**conditions())
    text = other.text_tokens(noise(5, 10))
    with pytest.raises(ValueError, match="of another transformer"):
        other.velocity(LATENTS, 5, tokens)
    with pytest.raises(ValueError, match="of another transformer"):
        one.velocity(LATENTS, 5, tokens.branch(text=text))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"height": 12}, r"12x16: both sides must be multiples of 8 \(64 pixels\)"),
        ({"width": 4}, "8x4"),
        ({"frames": 31}, "31 latent frames: a clip has 1 to 30"),
        ({"frames": 0, "audio_LCT": noise(3, 6, 4)}, "0 latent frames"),
        ({"audio_LCT": noise(3, 6, 12)}, "12 steps of sound for 2 latent frames: there are 4"),
        ({"audio_LCT": noise(3, 6, 7)}, "7 steps of sound: a clip has a multiple of 4"),
        ({"audio_LCT": noise(4, 6, 8)}, r"sound of shape \[4, 6, 8\]: it is \[3, 6, N\]"),
        ({"context_LC": noise(9, 10)}, "9 text tokens: the model takes 1 to 8"),
        ({"context_LC": noise(5, 11)}, r"text of shape \[5, 11\]: it is \[L, 10\]"),
        ({"context_LC": noise(0, 10)}, "0 text tokens"),
        ({"reference_latents_CTHW": noise(16, 2, 8, 16)}, r"reference latents of shape \[16, 2, 8, 16\]"),
        ({"motion_latents_CTHW": noise(16, 19, 8, 8)}, r"motion latents of shape \[16, 19, 8, 8\]"),
        ({"motion_latents_CTHW": noise(16, 0, 8, 16)}, "m at least 1"),
        ({"motion_latents_CTHW": None}, "drop_motion=True"),
        ({"pose_latents_CTHW": noise(16, 3, 8, 16)}, r"pose latents of shape \[16, 3, 8, 16\]"),
        ({"add_last_motion": 3}, "add_last_motion 3"),
    ],
)
def test_shapes_that_cannot_be_right(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make().prepare(**conditions(**changes))


def test_latents_of_another_shape() -> None:
    model = make()
    with pytest.raises(
        ValueError, match=r"latents of shape \[16, 3, 8, 16\]: the clip's are \[16, 2, 8, 16\]"
    ):
        model.velocity(noise(16, 3, 8, 16), 5, model.prepare(**conditions()))


def test_a_model_without_packed_history_takes_sides_of_16_pixels() -> None:
    model = make(enable_framepack=False)
    latents = noise(16, 2, 6, 10)
    assert model.velocity(latents, 5, model.prepare(**conditions(height=6, width=10))).shape == latents.shape
    with pytest.raises(ValueError, match=r"multiples of 2 \(16 pixels\)"):
        model.prepare(**conditions(height=5))


def test_a_model_without_pose_refuses_one() -> None:
    with pytest.raises(ValueError, match="takes no pose"):
        make(pose_dim=0).prepare(**conditions())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"adain_mode": "other"}, "adain_mode"),
        ({"framepack_drop_mode": "pad"}, "padd or drop"),
        ({"patch_size": (1, 1, 1)}, r"patches of \(1, 2, 2\)"),
        ({"audio_inject_layers": (0, 0)}, "listed twice"),
        ({"audio_inject_layers": (0, 3)}, "blocks 0 to 2"),
    ],
)
def test_arguments_that_make_no_network(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(**changes)


def test_an_inject_layer_is_that_block_alone() -> None:
    """Looked for within names, 1, 2 and 3 would be 10 to 39, too, and every number after them wrong."""
    assert injected((1, 2, 3, 12, 33), 40) == {1: 0, 2: 1, 3: 2, 12: 3, 33: 4}
    assert injected((39, 0, 4), 40) == {0: 0, 4: 1, 39: 2}


@given(st.sets(st.integers(0, 39)))
@settings(max_examples=50, deadline=None)
def test_injectors_are_numbered_in_the_order_of_the_blocks(layers: set[int]) -> None:
    numbers = injected(layers, 40)
    assert numbers.keys() == layers
    assert [numbers[block] for block in sorted(layers)] == list(range(len(layers)))


def test_attention_backends_are_those_of_diffusers() -> None:
    model = make()
    before = model.velocity(LATENTS, 5, model.prepare(**conditions()))
    model.set_attention_backend("_native_math")
    assert len(model.attn_processors) == 3 * 2 + 2
    after = model.velocity(LATENTS, 5, model.prepare(**conditions()))
    torch.testing.assert_close(before, after, rtol=0, atol=1e-5)


def test_float8_storage() -> None:
    model = make()
    wide = model.velocity(LATENTS, 5, model.prepare(**conditions()))
    model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    assert model.blocks[0].attn2.to_k.weight.dtype == torch.float8_e4m3fn
    assert model.proj_out.weight.dtype == model.condition_embedder.time_proj.weight.dtype == torch.float32
    rounded = model.velocity(LATENTS, 5, model.prepare(**conditions()))
    assert torch.nn.functional.cosine_similarity(wide.flatten(), rounded.flatten(), 0) > 0.99
