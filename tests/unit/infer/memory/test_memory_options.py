"""Each memory option on tiny models: the same frames as without it, bit for bit; fp8 within a bound; weights used only
where they are."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytest.importorskip("accelerate")

from diffusers.hooks import group_offloading  # noqa: E402
from pydantic import ValidationError  # noqa: E402

from wanprep.errors import UsageError  # noqa: E402
from wanprep.models import tiny_components as tiny  # noqa: E402
from wanprep.models.vae import Vae, as_vae  # noqa: E402
from wanprep_infer.lora import Lora, attach  # noqa: E402
from wanprep_infer.memory import MemoryConfig, advice, place, turns  # noqa: E402
from wanprep_infer.memory.groups import show_order  # noqa: E402
from wanprep_infer.models.animate_transformer import AnimateTransformer  # noqa: E402
from wanprep_infer.models.folder import find_generator  # noqa: E402
from wanprep_infer.models.s2v_transformer import load_s2v_transformer  # noqa: E402
from wanprep_infer.tiny import pipelines, s2v  # noqa: E402

OFFLOADS = ("model", "group", "sequential")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """More threads wait for each other on tensors of this size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def animate_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("animate")
    pipelines.write_animate_14b(folder, 0)
    return folder


@pytest.fixture(scope="module")
def s2v_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("s2v")
    s2v.write_s2v_14b(folder, 0)
    return folder


@cache
def first_vae() -> Vae:
    return as_vae(tiny.vae_z16(0))


def vae() -> Vae:
    return deepcopy(first_vae())


def noise(*shape: int, seed: int = 1) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@cache
def pristine(kind: str, folder: Path, dtype: Any) -> Any:
    """A model loaded once, to be copied."""
    found = find_generator(str(folder), "animate" if kind == "animate" else "s2v")
    if kind == "animate":
        return AnimateTransformer.load(found, device="cpu", dtype=dtype).model
    return load_s2v_transformer(found, device="cpu", dtype=dtype)


class Animate:
    """The tiny transformer with a clip of two latent frames."""

    def __init__(self, folder: Path, dtype: Any) -> None:
        self.model = deepcopy(pristine("animate", folder, dtype))
        self.transformer = AnimateTransformer(self.model, torch.device("cpu"), dtype)

    def velocities(self) -> Any:
        """Of two steps with guidance's second branch, tokens kept; all ways into the model are gone through."""
        wrapped = self.transformer
        motion_TC = wrapped.motion_vectors(noise(3, 5, 16, 16).clamp(-1, 1))
        tokens = wrapped.prepare(
            context_LC=noise(7, wrapped.text_channels),
            image_embed_TC=noise(257, wrapped.image_channels),
            pose_latents_CTHW=noise(16, 2, 4, 4),
            motion_TC=motion_TC,
        )
        other = wrapped.other_branch(
            tokens, context_LC=noise(3, wrapped.text_channels, seed=2), motion_TC=wrapped.black_motion(5)
        )
        latents, y = noise(16, 3, 4, 4), noise(20, 3, 4, 4)
        return torch.stack(
            [wrapped.velocity(latents, y, step, each) for step in (900, 300) for each in (tokens, other)]
        )


class Speech:
    """The tiny S2V transformer with a second clip of two latent frames."""

    def __init__(self, folder: Path, dtype: Any) -> None:
        self.model = deepcopy(pristine("s2v", folder, dtype))

    def velocities(self) -> Any:
        settings = self.model.config
        tokens = self.model.prepare(
            audio_LCT=noise(settings.audio_layers, settings.audio_dim, 8),
            context_LC=noise(6, settings.text_dim),
            reference_latents_CTHW=noise(16, 1, 8, 8),
            motion_latents_CTHW=noise(16, 19, 8, 8),
            pose_latents_CTHW=noise(16, 2, 8, 8),
            frames=2,
        )
        return torch.stack([self.model.velocity(noise(16, 2, 8, 8), step, tokens) for step in (900, 300)])


KINDS: dict[str, Callable[[Path, Any], Any]] = {"animate": Animate, "s2v": Speech}


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Makes the same model anew."""
    folder = request.getfixturevalue(f"{request.param}_folder")
    return lambda dtype=torch.float32: KINDS[request.param](folder, dtype)


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Weights that wait are not a number, so that one used without having been brought spoils the result, as it would
    fail on a GPU. Counts what is brought."""
    brought = [0]
    kept: dict[int, Any] = {}

    def tensors(group: Any) -> list[Any]:
        inside = [each for module in group.modules for each in (*module.parameters(), *module.buffers())]
        return [*inside, *group.parameters, *group.buffers]

    def away(group: Any) -> None:
        for tensor in tensors(group):
            if id(tensor) not in kept:
                kept[id(tensor)] = tensor.data
                tensor.data = torch.full_like(tensor.data, math.nan)

    def back(group: Any) -> None:
        brought[0] += 1
        for tensor in tensors(group):
            tensor.data = kept.pop(id(tensor), tensor.data)

    monkeypatch.setattr(group_offloading.ModuleGroup, "offload_", away)
    monkeypatch.setattr(group_offloading.ModuleGroup, "onload_", back)

    def leave(waiting: Any) -> None:
        for tensor, home in waiting._homes:
            tensor.data = torch.full_like(home, math.nan)

    def come(waiting: Any, device: Any) -> None:
        brought[0] += 1
        for tensor, home in waiting._homes:
            tensor.data = home.to(device)

    monkeypatch.setattr(turns._Waiting, "leave", leave)
    monkeypatch.setattr(turns._Waiting, "come", come)
    yield brought


@pytest.mark.parametrize("offload", OFFLOADS)
def test_offload_changes_nothing(offload: Any, made: Callable[..., Any], poisoned: list[int]) -> None:
    plain = made().velocities()
    generator = made()
    place(generator.model, vae(), MemoryConfig(offload=offload), "cpu")
    assert torch.equal(generator.velocities(), plain)
    assert poisoned[0] > 0, "nothing was brought, so nothing waited"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("weights", ["as-loaded", "fp8"])
@pytest.mark.parametrize("offload", OFFLOADS)
def test_offload_on_a_gpu(offload: Any, weights: Any, made: Callable[..., Any]) -> None:
    """With streams, and weights that are truly elsewhere: the same twice, and the weights wait again afterwards."""
    found = []
    for config in (MemoryConfig(weights=weights), MemoryConfig(weights=weights, offload=offload)):
        generator, coder = made(torch.bfloat16), vae()
        place(generator.model, coder, config, "cuda")
        if isinstance(generator, Animate):
            generator.transformer.device = coder.device
        found.append([generator.velocities() for _ in range(2)])
        latents = coder.encode(noise(3, 5, 32, 32).clamp(-1, 1))
        assert latents.device.type == coder.decode(latents).device.type == "cuda"
    for each in (found[0][1], *found[1]):
        torch.testing.assert_close(each, found[0][0], atol=1e-2, rtol=1e-2)
    assert generator.model.blocks[0].attn1.to_q.weight.device.type == "cpu"


@pytest.mark.parametrize("offload", OFFLOADS)
def test_offload_sees_loras(offload: Any, animate_folder: Path, poisoned: list[int], tmp_path: Path) -> None:
    """LoRA layers wait and come with the layer that they are beside; kept keys and values are theirs too."""
    path = tmp_path / "l.ckpt"
    factors = {}
    for name in ("self_attn.q", "cross_attn.k", "cross_attn.v_img", "ffn.2"):
        own = {"self_attn.q": "attn1.to_q", "cross_attn.k": "attn2.to_k"}.get(
            name, "ffn.net.2" if "ffn" in name else "attn2.add_v_proj"
        )
        out, into = Animate(animate_folder, torch.float32).model.get_submodule(f"blocks.1.{own}").weight.shape
        factors[f"blocks.1.{name}.lora_A.weight"] = noise(2, into)
        factors[f"blocks.1.{name}.lora_B.weight"] = noise(out, 2)
    torch.save({"state_dict": factors}, path)
    bare, plain, placed = (Animate(animate_folder, torch.float32) for _ in range(3))
    for each in (plain, placed):
        attach(each.model, [Lora(str(path), 0.5)])
    place(placed.model, vae(), MemoryConfig(offload=offload), "cpu")
    velocities = plain.velocities()
    assert not torch.equal(velocities, bare.velocities())
    assert torch.equal(placed.velocities(), velocities)


@pytest.mark.parametrize("offload", ["none", *OFFLOADS])
def test_the_vae_codes_as_before(offload: Any, animate_folder: Path, poisoned: list[int]) -> None:
    pixels = noise(3, 5, 32, 32).clamp(-1, 1)
    plain = vae()
    latents = plain.encode(pixels)
    placed = vae()
    place(Animate(animate_folder, torch.float32).model, placed, MemoryConfig(offload=offload), "cpu")
    assert torch.equal(placed.encode(pixels), latents)
    assert torch.equal(placed.decode(latents), plain.decode(latents))


def test_transformer_and_vae_take_turns(animate_folder: Path, poisoned: list[int]) -> None:
    generator, coder = Animate(animate_folder, torch.float32), vae()
    plain = generator.velocities()
    place(generator.model, coder, MemoryConfig(offload="model"), "cpu")
    pixels = noise(3, 5, 32, 32).clamp(-1, 1)
    for turn in range(1, 3):
        latents = coder.encode(pixels)
        assert all(parameter.isnan().all() for parameter in generator.model.parameters())
        coder.decode(latents)
        assert poisoned[0] == 2 * turn - 1, "the VAE comes once for encoding and decoding"
        assert torch.equal(generator.velocities(), plain)
        assert all(parameter.isnan().all() for parameter in coder.model.parameters())


def test_a_model_that_did_not_fit_comes_whole_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counted as there, with part of its weights: the next generation met tensors of two devices."""
    model = torch.nn.Linear(2, 2)
    taken = turns.Turns(torch.device("cpu"))
    taken.add(model, [model])
    come = turns._Waiting.come
    comings: list[Any] = []

    def full_at_first(waiting: Any, device: torch.device) -> None:
        comings.append(waiting)
        if len(comings) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        come(waiting, device)

    monkeypatch.setattr(turns._Waiting, "come", full_at_first)
    with pytest.raises(torch.OutOfMemoryError):
        model(torch.ones(1, 2))
    model(torch.ones(1, 2))
    model(torch.ones(1, 2))
    assert len(comings) == 2


def test_fp8_is_close_and_half_as_large(made: Callable[..., Any]) -> None:
    """A weight of e4m3 is off by up to 1/16; velocities by a tenth of their size at most."""
    plain, small = made(torch.bfloat16), made(torch.bfloat16)
    place(small.model, vae(), MemoryConfig(weights="fp8"), "cpu")
    blocks = small.model.blocks
    kinds = {
        weight.dtype
        for name, weight in blocks.named_parameters()
        if name.endswith("weight") and weight.ndim == 2
    }
    assert kinds == {torch.float8_e4m3fn}
    kept = {name for name, value in small.model.named_parameters() if value.dtype != torch.float8_e4m3fn}
    assert {"patch_embedding.weight", "scale_shift_table", "blocks.0.norm2.weight"} <= kept
    expected, found = (each.velocities().float() for each in (plain, small))
    error = (found - expected).norm() / expected.norm()
    assert 1e-4 < error < 0.1
    # Back in 8 bits after each step, and the same again.
    assert {weight.dtype for weight in (blocks[0].attn1.to_q.weight,)} == {torch.float8_e4m3fn}
    assert torch.equal(small.velocities().float(), found)


@pytest.mark.parametrize("offload", OFFLOADS)
def test_fp8_and_offload_go_together(offload: Any, made: Callable[..., Any], poisoned: list[int]) -> None:
    alone, both = made(torch.bfloat16), made(torch.bfloat16)
    place(alone.model, vae(), MemoryConfig(weights="fp8"), "cpu")
    place(both.model, vae(), MemoryConfig(weights="fp8", offload=offload), "cpu")
    assert torch.equal(both.velocities(), alone.velocities())


def test_fp8_keeps_loras_in_the_models_precision(animate_folder: Path, tmp_path: Path) -> None:
    generator = Animate(animate_folder, torch.bfloat16)
    path = tmp_path / "l.ckpt"
    torch.save(
        {
            "blocks.0.self_attn.q.lora_A.weight": noise(2, 24),
            "blocks.0.self_attn.q.lora_B.weight": noise(24, 2),
        },
        path,
    )
    attach(generator.model, [Lora(str(path))])
    place(generator.model, vae(), MemoryConfig(weights="fp8"), "cpu")
    layer = generator.model.blocks[0].attn1.to_q
    assert layer.base_layer.weight.dtype == torch.float8_e4m3fn
    assert layer.lora_A["lora"].weight.dtype == torch.bfloat16
    assert torch.isfinite(generator.velocities()).all()


def test_the_order_of_blocks_is_shown(animate_folder: Path) -> None:
    """The pass before the first segment runs every block and face adapter, in their order, and changes no result."""
    generator = Animate(animate_folder, torch.float32)
    plain = generator.velocities()
    seen: list[str] = []
    for name, module in generator.model.named_modules():
        if name.startswith(("blocks.", "face_adapter.")) and name.count(".") == 1:
            module.register_forward_hook(lambda *_, name=name: seen.append(name))
    show_order(generator.model, torch.device("cpu"))
    assert seen == ["blocks.0", "face_adapter.0", "blocks.1"]
    assert torch.equal(generator.velocities(), plain)


def test_a_cpu_says_that_offload_is_without_effect(
    animate_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "wanprep.models"):
        place(Animate(animate_folder, torch.float32).model, vae(), MemoryConfig(offload="group"), "cpu")
    assert "offload=group is without effect on a CPU" in caplog.text


def test_parallel_needs_torchrun(animate_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(UsageError) as error:
        place(Animate(animate_folder, torch.float32).model, vae(), MemoryConfig(parallel="ulysses"), "cpu")
    assert str(error.value).startswith("parallel=ulysses: ") and "torchrun" in str(error.value)
    assert "\n" not in str(error.value)


def test_parallel_takes_gpus(animate_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers divides by their number."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="takes GPUs; on a CPU leave it out"):
        place(Animate(animate_folder, torch.float32).model, vae(), MemoryConfig(parallel="ulysses"), "cpu")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="2 heads cannot be divided among 3 GPUs; take 2 of them"):
        place(Animate(animate_folder, torch.float32).model, vae(), MemoryConfig(parallel="ulysses"), "cpu")


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(ValidationError, match="goes with offload=none only"):
        MemoryConfig(parallel="ulysses", offload="group")
    with pytest.raises(ValidationError, match="greater than or equal to 32"):
        MemoryConfig(tile=16)
    with pytest.raises(ValidationError, match="Extra inputs"):
        MemoryConfig(tiles=256)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            MemoryConfig(),
            "try --offload model, then --tile 256, then --weights fp8, then --offload group, "
            "then --offload sequential, then a smaller picture",
        ),
        (
            MemoryConfig(offload="group", tile=512),
            "try --tile 256, then --weights fp8, then --offload sequential, then a smaller picture",
        ),
        (MemoryConfig(offload="sequential", tile=128, weights="fp8"), "try a smaller picture"),
        (MemoryConfig(parallel="ulysses"), "try --tile 256, then --weights fp8, then a smaller picture"),
    ],
)
def test_advice_names_what_is_left(config: MemoryConfig, said: str) -> None:
    assert advice(config) == said


def test_every_option_says_what_it_costs() -> None:
    for name, field in MemoryConfig.model_fields.items():
        assert field.description and len(field.description) > 80, name
