"""What a segment computes once gives diffusers' own result, is computed once, and is refused when it is stale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from wanprep_infer.models.animate_transformer import AnimateTransformer, SegmentTokens  # noqa: E402
from wanprep_infer.models.folder import find_generator  # noqa: E402
from wanprep_infer.tiny.animate_official import write_animate_14b_official  # noqa: E402
from wanprep_infer.tiny.pipelines import write_animate_14b  # noqa: E402

TOLERANCE = 1e-5
torch.set_num_threads(1)  # threads cost more than they bring at these sizes
Segment = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("animate")
    write_animate_14b(root, 0)
    return root


@pytest.fixture(scope="module")
def shared(folder: Path) -> AnimateTransformer:
    """Not to be changed."""
    return load(folder)


@pytest.fixture
def transformer(folder: Path) -> AnimateTransformer:
    return load(folder)


def load(folder: Path, dtype: torch.dtype = torch.float32) -> AnimateTransformer:
    return AnimateTransformer.load(find_generator(str(folder), "animate"), device="cpu", dtype=dtype)


def plain(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    return diffusers.WanAnimateTransformer3DModel.from_pretrained(folder / "transformer", torch_dtype=dtype)


def segment(
    of: AnimateTransformer, frames: int = 3, rows: int = 4, columns: int = 6, seed: int = 0
) -> Segment:
    """Drawn conditioning of a segment of `frames` latent frames, and noisy latents."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return {
        "context_LC": draw(9, of.text_channels),
        "negative_LC": draw(5, of.text_channels),
        "image_embed_TC": draw(257, of.image_channels),
        "pose_latents_CTHW": draw(16, frames, rows, columns),
        "face_pixels_CTHW": draw(3, 4 * frames - 3, of.face_size, of.face_size).clamp(-1, 1),
        "latents_CTHW": draw(16, frames + 1, rows, columns),
        "y_CTHW": draw(20, frames + 1, rows, columns),
    }


def prepared(of: AnimateTransformer, given: Segment, keep: bool = True) -> SegmentTokens:
    return of.prepare(
        **{name: given[name] for name in ("context_LC", "image_embed_TC", "pose_latents_CTHW")},
        motion_TC=of.motion_vectors(given["face_pixels_CTHW"]),
        keep_keys_values=keep,
    )


def hoisted(of: AnimateTransformer, given: Segment, timestep: int, tokens: SegmentTokens) -> torch.Tensor:
    return of.velocity(given["latents_CTHW"], given["y_CTHW"], timestep, tokens)


def by_diffusers(model: Any, given: Segment, timestep: int, *, negative: bool = False) -> torch.Tensor:
    """The pipeline's call: the text padded with zeros to 512; the negative branch sees black faces."""
    dtype = model.dtype
    context_LC = given["negative_LC" if negative else "context_LC"]
    faces_CTHW = given["face_pixels_CTHW"]
    with torch.no_grad():
        return model(
            hidden_states=torch.cat([given["latents_CTHW"], given["y_CTHW"]])[None].to(dtype),
            timestep=torch.tensor([timestep]),
            encoder_hidden_states=torch.nn.functional.pad(context_LC, (0, 0, 0, 512 - len(context_LC)))[
                None
            ].to(dtype),
            encoder_hidden_states_image=given["image_embed_TC"][None].to(dtype),
            pose_hidden_states=given["pose_latents_CTHW"][None].to(dtype),
            face_pixel_values=(torch.full_like(faces_CTHW, -1) if negative else faces_CTHW)[None].to(dtype),
            return_dict=False,
        )[0][0].float()


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(("frames", "rows", "columns"), [(3, 4, 6), (1, 2, 2), (2, 6, 2)])
def test_both_branches_equal_diffusers(
    frames: int, rows: int, columns: int, keep: bool, shared: AnimateTransformer, folder: Path
) -> None:
    """Branches take turns as guidance has them, over several timesteps."""
    own = plain(folder)
    given = segment(shared, frames, rows, columns)
    positive = prepared(shared, given, keep)
    negative = shared.other_branch(
        positive, context_LC=given["negative_LC"], motion_TC=shared.black_motion(4 * frames - 3)
    )
    for timestep in (999, 500, 0):
        close(hoisted(shared, given, timestep, positive), by_diffusers(own, given, timestep))
        close(hoisted(shared, given, timestep, negative), by_diffusers(own, given, timestep, negative=True))
        given["latents_CTHW"] = given["latents_CTHW"] * 0.7


def test_branch_prepared_alone_equals_the_derived_one(shared: AnimateTransformer) -> None:
    given = segment(shared)
    black_TC = shared.black_motion(9)
    derived = shared.other_branch(
        prepared(shared, given), context_LC=given["negative_LC"], motion_TC=black_TC
    )
    alone = shared.prepare(
        context_LC=given["negative_LC"],
        image_embed_TC=given["image_embed_TC"],
        pose_latents_CTHW=given["pose_latents_CTHW"],
        motion_TC=black_TC,
    )
    assert torch.equal(hoisted(shared, given, 321, derived), hoisted(shared, given, 321, alone))


def test_plain_way_equals_diffusers(shared: AnimateTransformer, folder: Path) -> None:
    """From pixels and from motion vectors; the motion encoder is back in its place afterwards."""
    given = segment(shared)
    expected = by_diffusers(plain(folder), given, 700)
    names = ("context_LC", "image_embed_TC", "pose_latents_CTHW")
    inputs = {name: given[name] for name in names}
    latents = given["latents_CTHW"], given["y_CTHW"], 700
    faces_CTHW = given["face_pixels_CTHW"]
    motion_TC = shared.motion_vectors(faces_CTHW)
    close(shared.velocity_plain(*latents, **inputs, motion_TC=motion_TC), expected)
    close(shared.velocity_plain(*latents, **inputs, face_pixels_CTHW=faces_CTHW), expected)
    with pytest.raises(ValueError, match="either motion_TC or face_pixels_CTHW"):
        shared.velocity_plain(*latents, **inputs)


def test_every_condition_changes_the_velocity(shared: AnimateTransformer) -> None:
    given, other = segment(shared), segment(shared, seed=1)
    first = hoisted(shared, given, 500, prepared(shared, given))
    for name in ("context_LC", "image_embed_TC", "pose_latents_CTHW", "face_pixels_CTHW"):
        changed = hoisted(shared, given, 500, prepared(shared, given | {name: other[name]}))
        assert (changed - first).abs().max() > 1e-3, name
    assert (hoisted(shared, given, 400, prepared(shared, given)) - first).abs().max() > 1e-3


def test_motion_vectors_are_frame_local(shared: AnimateTransformer) -> None:
    faces_CTHW = segment(shared, 3)["face_pixels_CTHW"]
    together_TC = shared.motion_vectors(faces_CTHW)
    assert together_TC.shape == (9, shared.motion_channels)
    for batch in (1, 4, 100):
        close(shared.motion_vectors(faces_CTHW, batch=batch), together_TC)
    backwards_TC = shared.motion_vectors(faces_CTHW.flip(1))
    close(backwards_TC.flip(0), together_TC)


def test_nothing_of_the_segment_is_computed_again(transformer: AnimateTransformer) -> None:
    """Calls of sub-modules: those of the conditions fall to none at the second step, those of the step stay."""
    given = segment(transformer)
    tokens = prepared(transformer, given)
    calls: Counter[str] = Counter()
    for name, module in transformer.model.named_modules():
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
    hoisted(transformer, given, 900, tokens)
    first = Counter(calls)
    calls.clear()
    hoisted(transformer, given, 800, tokens)
    once = [
        *(f"blocks.{block}.attn2.{part}" for block in (0, 1) for part in ("to_k", "to_v", "norm_k")),
        *(f"blocks.{block}.attn2.{part}" for block in (0, 1) for part in ("add_k_proj", "add_v_proj")),
        *(f"face_adapter.0.{part}" for part in ("to_k", "to_v", "norm_k", "pre_norm_kv")),
    ]
    before = [
        "motion_encoder",
        "face_encoder",
        "condition_embedder.image_embedder",
        "pose_patch_embedding",
        "rope",
    ]
    assert {name: first[name] for name in once} == dict.fromkeys(once, 1)
    assert {name: calls[name] for name in once} == dict.fromkeys(once, 0)
    assert {name: first[name] + calls[name] for name in before} == dict.fromkeys(before, 0)
    steps = [
        "",
        "blocks.0",
        "blocks.1",
        "blocks.0.attn2",
        "face_adapter.0",
        "condition_embedder.time_embedder",
    ]
    assert {name: calls[name] for name in steps} == dict.fromkeys(steps, 1)


def test_less_is_held_when_nothing_is_kept(shared: AnimateTransformer) -> None:
    given = segment(shared)
    sizes = {}
    for keep in (True, False):
        tokens = prepared(shared, given, keep)
        before = tokens.nbytes
        hoisted(shared, given, 1, tokens)
        sizes[keep] = tokens.nbytes
        assert (tokens.nbytes > before) is keep
    assert sizes[False] < sizes[True]


def test_official_folder_gives_the_same(folder: Path, tmp_path: Path) -> None:
    write_animate_14b_official(tmp_path, 0)
    own, official = load(folder), load(tmp_path)
    there, here = own.model.state_dict(), official.model.state_dict()
    assert there.keys() == here.keys()
    assert [name for name in there if not torch.equal(there[name], here[name])] == []
    given = segment(own)
    close(
        hoisted(official, given, 600, prepared(official, given)),
        hoisted(own, given, 600, prepared(own, given)),
    )


@pytest.mark.parametrize("layout", ["diffusers", "official"])
def test_bfloat16_keeps_what_diffusers_keeps(layout: str, folder: Path, tmp_path: Path) -> None:
    if layout == "official":
        write_animate_14b_official(tmp_path, 0)
    half = load(tmp_path if layout == "official" else folder, torch.bfloat16)
    own = plain(folder, torch.bfloat16)
    types = {name: tensor.dtype for name, tensor in own.state_dict().items()}
    assert {name: tensor.dtype for name, tensor in half.model.state_dict().items()} == types
    assert set(types.values()) == {torch.float32, torch.bfloat16}
    given = segment(half)
    velocity_CTHW = hoisted(half, given, 500, prepared(half, given))
    assert velocity_CTHW.dtype == torch.float32
    assert torch.equal(velocity_CTHW, by_diffusers(own, given, 500))


def attach(of: AnimateTransformer, name: str, seed: int) -> None:
    """A LoRA on all linear layers of the blocks, without zeros."""
    peft = pytest.importorskip("peft")
    targets = ["to_q", "to_k", "to_v", "to_out.0", "add_k_proj", "add_v_proj", "ffn.net.0.proj", "ffn.net.2"]
    torch.manual_seed(seed)
    of.model.add_adapter(peft.LoraConfig(r=2, lora_alpha=2, target_modules=targets), name)
    for key, weight in of.model.named_parameters():
        if f".lora_B.{name}." in key:
            torch.nn.init.normal_(weight, std=0.5)


def test_lora_reaches_kept_keys_and_values(transformer: AnimateTransformer) -> None:
    given = segment(transformer)
    without = hoisted(transformer, given, 500, prepared(transformer, given))
    attach(transformer, "one", 0)
    tokens = prepared(transformer, given)
    expected = by_diffusers(transformer.model, given, 500)
    assert (expected - without).abs().max() > 1e-2
    for _ in range(2):
        close(hoisted(transformer, given, 500, tokens), expected)


LORA_CHANGES: dict[str, Callable[[AnimateTransformer], None]] = {
    "another attached": lambda of: attach(of, "two", 1),
    "weighted anew": lambda of: of.model.set_adapters(["one"], [0.5]),
    "switched off": lambda of: of.model.disable_adapters(),
    "merged": lambda of: of.model.fuse_lora(adapter_names=["one"]),
    "removed": lambda of: of.model.delete_adapters("one"),
    "replaced": lambda of: (of.model.delete_adapters("one"), attach(of, "one", 2)),  # type: ignore[dict-item]
}


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
@pytest.mark.parametrize("change", LORA_CHANGES)
def test_tokens_of_other_loras_are_refused(change: str, transformer: AnimateTransformer) -> None:
    attach(transformer, "one", 0)
    given = segment(transformer)
    tokens = prepared(transformer, given)
    hoisted(transformer, given, 500, tokens)
    LORA_CHANGES[change](transformer)
    with pytest.raises(ValueError, match="LoRAs have changed since the tokens were prepared"):
        hoisted(transformer, given, 500, tokens)
    with pytest.raises(ValueError, match="LoRAs have changed"):
        transformer.other_branch(
            tokens, context_LC=given["negative_LC"], motion_TC=transformer.black_motion(9)
        )
    close(
        hoisted(transformer, given, 500, prepared(transformer, given)),
        by_diffusers(transformer.model, given, 500),
    )


def test_first_lora_makes_tokens_stale(transformer: AnimateTransformer) -> None:
    given = segment(transformer)
    tokens = prepared(transformer, given)
    attach(transformer, "one", 0)
    with pytest.raises(ValueError, match="LoRAs have changed"):
        hoisted(transformer, given, 500, tokens)


def test_tokens_of_another_model_are_refused(
    shared: AnimateTransformer, transformer: AnimateTransformer
) -> None:
    given = segment(shared)
    with pytest.raises(ValueError, match="prepared by another model"):
        hoisted(shared, given, 500, prepared(transformer, given))


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        ("context_LC", (513, None), "context_LC is of 513 tokens; the model takes up to 512"),
        ("context_LC", (9, 7), r"context_LC is \[9, 7\]; the model takes \[any, 32\]"),
        ("image_embed_TC", (257, 31), r"image_embed_TC is \[257, 31\]"),
        (
            "pose_latents_CTHW",
            (16, 4, 4, 6),
            "motion_TC is of 9 frames; 4 latent frames of pose_latents_CTHW are of 13",
        ),
        ("pose_latents_CTHW", (16, 3, 5, 6), r"pose_latents_CTHW is \[16, 3, 5, 6\]: no multiple"),
        ("pose_latents_CTHW", (20, 3, 4, 6), r"pose_latents_CTHW is \[20, 3, 4, 6\]"),
        ("pose_latents_CTHW", (3, 4, 6), "motion_TC is of 9 frames; 0 latent frames"),
        (
            "face_pixels_CTHW",
            (3, 9, 16, 8),
            r"face_pixels_CTHW is \[3, 9, 16, 8\]; the model takes \[3, any, 16, 16\]",
        ),
    ],
)
def test_conditions_of_other_shapes_are_named(
    name: str, shape: tuple[int | None, ...], says: str, shared: AnimateTransformer
) -> None:
    given = segment(shared)
    sizes = [size or shared.text_channels for size in shape]
    with pytest.raises(ValueError, match=says):
        prepared(shared, given | {name: torch.zeros(sizes)})


def test_latents_of_another_segment_are_named(shared: AnimateTransformer) -> None:
    given = segment(shared)
    tokens = prepared(shared, given)
    for other in (segment(shared, 2), segment(shared, 3, 6, 6), segment(shared, 3, 4, 8)):
        sizes = ", ".join(map(str, other["latents_CTHW"].shape))
        with pytest.raises(
            ValueError, match=rf"latents_CTHW is \[{sizes}\]; the segment's tokens are for \[16, 4, 4, 6\]"
        ):
            hoisted(shared, other, 500, tokens)
        with pytest.raises(ValueError, match="y_CTHW is"):
            hoisted(shared, given | {"y_CTHW": other["y_CTHW"]}, 500, tokens)
        with pytest.raises(ValueError, match="y_CTHW is"):
            hoisted(shared, given | {"y_CTHW": given["y_CTHW"][:19]}, 500, tokens)


def test_face_tokens_of_another_length_are_named(shared: AnimateTransformer) -> None:
    given = segment(shared)
    with pytest.raises(
        ValueError, match=r"face tokens are \[4, 3, 24\]; the pose latents are of 3 latent frames"
    ):
        shared.prepare_tokens(
            context_LC=given["context_LC"],
            image_tokens_TC=torch.zeros(257, 24),
            pose_latents_CTHW=given["pose_latents_CTHW"],
            face_tokens_TNC=torch.zeros(4, 3, 24),
        )
    with pytest.raises(ValueError, match="face tokens are"):
        shared.other_branch(
            prepared(shared, given), context_LC=given["context_LC"], motion_TC=shared.black_motion(13)
        )


def test_missing_image_is_said(shared: AnimateTransformer) -> None:
    given = segment(shared)
    with pytest.raises(ValueError, match="the model takes an image embedding"):
        prepared(shared, given | {"image_embed_TC": None})


OFFLOADS: dict[str, Callable[[Any], None]] = {
    "leaves": lambda model: __import__("accelerate").cpu_offload(model, torch.device("cpu")),
    "groups of blocks": lambda model: model.enable_group_offload(
        torch.device("cpu"), torch.device("cpu"), offload_type="block_level", num_blocks_per_group=1
    ),
    "groups of leaves": lambda model: model.enable_group_offload(
        torch.device("cpu"), torch.device("cpu"), offload_type="leaf_level"
    ),
}


@pytest.mark.parametrize("way", OFFLOADS)
def test_offloading_hooks_see_what_they_always_see(
    way: str, transformer: AnimateTransformer, folder: Path
) -> None:
    given = segment(transformer)
    OFFLOADS[way](transformer.model)
    if way == "leaves":
        assert all(weight.is_meta for weight in transformer.model.parameters())
    tokens = prepared(transformer, given)
    own = plain(folder)
    for timestep in (900, 300):
        close(hoisted(transformer, given, timestep, tokens), by_diffusers(own, given, timestep))


def test_fp8_weights_are_cast_as_in_diffusers(transformer: AnimateTransformer, folder: Path) -> None:
    given, own = segment(transformer), plain(folder)
    exact = by_diffusers(own, given, 500)
    for model in (transformer.model, own):
        model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    tokens = prepared(transformer, given)
    expected = by_diffusers(own, given, 500)
    assert (expected - exact).abs().max() > 1e-3
    for _ in range(2):
        close(hoisted(transformer, given, 500, tokens), expected)


@pytest.mark.gpu
def test_on_a_gpu_equals_the_cpu(folder: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    cpu = load(folder)
    gpu = AnimateTransformer.load(find_generator(str(folder), "animate"), device="cuda", dtype=torch.float32)
    given = segment(cpu)
    velocity_CTHW = hoisted(gpu, given, 500, prepared(gpu, given))
    torch.testing.assert_close(
        velocity_CTHW.cpu(), hoisted(cpu, given, 500, prepared(cpu, given)), rtol=0, atol=1e-3
    )
