"""Tiny generator folders load with the classes that load the real ones, and hold what those hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file  # noqa: E402

from wanprep.models import tiny_components as tiny  # noqa: E402
from wanprep.models.loading import from_pretrained, load_pth  # noqa: E402
from wanprep.models.resolve import resolve  # noqa: E402
from wanprep.models.vae_keys import diffusers_names  # noqa: E402
from wanprep_infer.tiny import pipelines, s2v  # noqa: E402
from wanprep_infer.tiny.s2v_weights import S2VGeometry, shapes  # noqa: E402

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "s2v"
MAKERS: dict[str, Callable[[Path, int], None]] = {
    "wan2.2-animate-14b": pipelines.write_animate_14b,
    "wan2.2-t2v-a14b": pipelines.write_t2v_a14b,
    "wan2.2-i2v-a14b": pipelines.write_i2v_a14b,
    "wan2.2-ti2v-5b": pipelines.write_ti2v_5b,
    "wan2.2-s2v-14b": s2v.write_s2v_14b,
    "wan2.2-s2v-14b-diffusers": s2v.write_s2v_14b_diffusers,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny checkpoint by its name, made once."""
    root = tmp_path_factory.mktemp("tiny")

    def make(name: str) -> Path:
        folder = root / name
        if not folder.exists():
            folder.mkdir()
            MAKERS[name](folder, 0)
        return folder

    return make


def noise(*shape: int) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", MAKERS)
def test_same_seed_same_bytes(name: str, made: Callable[[str], Path], tmp_path: Path) -> None:
    MAKERS[name](tmp_path / "again", 0)
    first, again = files(made(name)), files(tmp_path / "again")
    assert first.keys() == again.keys()
    assert [file for file, content in first.items() if again[file] != content] == []
    assert sum(map(len, first.values())) < 8_000_000


@pytest.mark.parametrize(
    ("name", "pipeline", "channels", "latents", "experts"),
    [
        ("wan2.2-animate-14b", "WanAnimatePipeline", 36, 16, 1),
        ("wan2.2-t2v-a14b", "WanPipeline", 16, 16, 2),
        ("wan2.2-i2v-a14b", "WanImageToVideoPipeline", 36, 16, 2),
        ("wan2.2-ti2v-5b", "WanPipeline", 48, 48, 1),
    ],
)
def test_pipelines_load_with_their_own_class(
    name: str, pipeline: str, channels: int, latents: int, experts: int, made: Callable[[str], Path]
) -> None:
    folder = made(name)
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == pipeline
    loaded = getattr(diffusers, pipeline).from_pretrained(folder, local_files_only=True)
    assert type(loaded.transformer).__name__ == (
        "WanAnimateTransformer3DModel" if channels == 36 and experts == 1 else "WanTransformer3DModel"
    )
    assert loaded.transformer.config.in_channels == channels
    assert loaded.transformer.config.text_dim == loaded.text_encoder.config.d_model == tiny.TEXT_WIDTH
    assert loaded.transformer.config.out_channels == loaded.vae.config.z_dim == latents
    assert len(loaded.vae.config.latents_mean) == latents
    assert (
        loaded.scheduler.config.use_flow_sigmas
        and loaded.scheduler.config.prediction_type == "flow_prediction"
    )
    if experts == 2:
        assert loaded.config.boundary_ratio in (0.875, 0.9)
        one, other = (model.state_dict() for model in (loaded.transformer, loaded.transformer_2))
        assert one.keys() == other.keys() and not torch.equal(
            one["proj_out.weight"], other["proj_out.weight"]
        )
    if name == "wan2.2-animate-14b":
        assert loaded.image_encoder.config.hidden_size == loaded.transformer.config.image_dim
        assert type(loaded.image_processor).__name__.startswith("CLIPImageProcessor")
    if name == "wan2.2-ti2v-5b":
        assert loaded.config.expand_timesteps and loaded.vae.config.scale_factor_spatial == 16


@pytest.mark.parametrize("name", [name for name in MAKERS if "s2v" not in name])
def test_every_tensor_is_accounted_for(name: str, made: Callable[[str], Path]) -> None:
    folder = made(name)
    index = json.loads((folder / "model_index.json").read_text())
    for component, (library, class_name) in (item for item in index.items() if isinstance(item[1], list)):
        if library is None or component in ("tokenizer", "scheduler", "image_processor"):
            continue
        from_pretrained(
            getattr({"diffusers": diffusers, "transformers": transformers}[library], class_name),
            folder / component,
        )


def test_both_experts_are_run(made: Callable[[str], Path]) -> None:
    """Two steps of the real pipeline, one above the boundary and one below, from a prompt to latents."""
    pipe = diffusers.WanPipeline.from_pretrained(made("wan2.2-t2v-a14b"), local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    calls = {"transformer": 0, "transformer_2": 0}
    for name in calls:
        getattr(pipe, name).register_forward_hook(
            lambda *_, name=name: calls.__setitem__(name, calls[name] + 1)
        )
    latents = pipe(
        "a woman dances 一个女人在跳舞",
        height=32,
        width=32,
        num_frames=5,
        num_inference_steps=4,
        guidance_scale=1.0,
        output_type="latent",
        generator=torch.Generator().manual_seed(0),
    ).frames
    assert latents.shape == (1, 16, 2, 4, 4) and torch.isfinite(latents).all()
    assert calls["transformer"] + calls["transformer_2"] == 4 and min(calls.values()) >= 1


def test_animate_takes_every_condition(made: Callable[[str], Path]) -> None:
    """One forward pass with shapes as at 14B but for widths; each condition changes the result."""
    folder = made("wan2.2-animate-14b")
    model = from_pretrained(diffusers.WanAnimateTransformer3DModel, folder / "transformer").eval()
    frames, latent_frames = 9, 3
    conditions = {
        "hidden_states": noise(1, 36, latent_frames + 1, 4, 4),
        "encoder_hidden_states": noise(1, 512, tiny.TEXT_WIDTH),
        "encoder_hidden_states_image": noise(1, 257, tiny.IMAGE_WIDTH),
        "pose_hidden_states": noise(1, 16, latent_frames, 4, 4),
        "face_pixel_values": noise(1, 3, frames, 16, 16).clamp(-1, 1),
    }

    def velocity(**changed: Any) -> Any:
        with torch.inference_mode():
            return model(timestep=torch.tensor([500]), **(conditions | changed), return_dict=False)[0]

    plain = velocity()
    assert plain.shape == (1, 16, latent_frames + 1, 4, 4) and torch.isfinite(plain).all()
    for name, value in conditions.items():
        assert not torch.equal(velocity(**{name: value.flip(-1)}), plain), name


def test_both_vaes_have_the_real_strides(made: Callable[[str], Path]) -> None:
    for name, channels, stride in (("wan2.2-t2v-a14b", 16, 8), ("wan2.2-ti2v-5b", 48, 16)):
        vae = from_pretrained(diffusers.AutoencoderKLWan, made(name) / "vae").eval()
        with torch.inference_mode():
            latents = vae.encode(noise(1, 3, 5, 32, 64).clamp(-1, 1)).latent_dist.mode()
            assert latents.shape == (1, channels, 2, 32 // stride, 64 // stride)
            assert vae.decode(latents).sample.shape == (1, 3, 5, 32, 64)


def test_tokenizer_speaks_english_and_chinese(made: Callable[[str], Path]) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        made("wan2.2-ti2v-5b") / "tokenizer", local_files_only=True
    )
    for text in ("a woman dances slowly", "视频中的人在做动作"):
        ids = tokenizer(text).input_ids
        assert ids[-1] == 1 and 2 not in ids, "ends with </s>, no <unk>"
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer.pad_token_id == 0 and tokenizer.model_max_length == 512
    assert len(tokenizer) == len(tiny.pieces())


def test_s2v_shapes_are_the_published_ones() -> None:
    """With the geometry of 14B, name for name and shape for shape."""
    real = S2VGeometry(
        dim=5120,
        ffn_dim=13824,
        freq_dim=256,
        text_dim=4096,
        audio_dim=1024,
        num_heads=40,
        num_layers=40,
        audio_inject_layers=(0, 4, 8, 12, 16, 20, 24, 27, 30, 33, 36, 39),
    )
    published = json.loads((GOLDEN / "state_dict_14b.json").read_text())
    assert {name: list(shape) for name, shape in shapes(real).items()} == published
    assert len(published) == 1260


def test_s2v_shards_are_whole(made: Callable[[str], Path]) -> None:
    for folder in (made("wan2.2-s2v-14b"), made("wan2.2-s2v-14b-diffusers") / "transformer"):
        config = json.loads((folder / "config.json").read_text())
        assert config["_class_name"] == "WanModel_S2V" and config["model_type"] == "s2v"
        index = json.loads((folder / "diffusion_pytorch_model.safetensors.index.json").read_text())
        found: dict[str, Any] = {}
        for shard in sorted(set(index["weight_map"].values())):
            tensors = load_file(folder / shard)
            assert {name for name, file in index["weight_map"].items() if file == shard} == tensors.keys()
            found |= tensors
        assert {name: tuple(value.shape) for name, value in found.items()} == shapes(S2VGeometry())
        assert all(value.dtype == torch.bfloat16 and value.abs().sum() > 0 for value in found.values())
        assert index["metadata"]["total_size"] == sum(2 * value.numel() for value in found.values())
        assert (config["dim"], config["audio_dim"], config["text_dim"]) == (
            48,
            tiny.AUDIO_WIDTH,
            tiny.TEXT_WIDTH,
        )


def test_official_single_files_hold_the_same_models(made: Callable[[str], Path]) -> None:
    """Renamed back, the .pth files are the folders' VAE and text encoder."""
    from stages.text.official import names as text_names

    official, folder = made("wan2.2-s2v-14b"), made("wan2.2-s2v-14b-diffusers")
    vae = load_pth(official / "Wan2.1_VAE.pth")
    wanted = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    renamed = diffusers_names(vae)
    assert {renamed[name] for name in vae} == wanted.keys()
    assert all(torch.equal(value, wanted[renamed[name]]) for name, value in vae.items())
    text = load_pth(official / "models_t5_umt5-xxl-enc-bf16.pth")
    wanted = load_file(folder / "text_encoder" / "model.safetensors")
    mapped = text_names(2)
    assert text.keys() == mapped.keys()
    assert all(torch.equal(value, wanted[mapped[name]].bfloat16()) for name, value in text.items())


def test_s2v_components_load(made: Callable[[str], Path]) -> None:
    folder = made("wan2.2-s2v-14b-diffusers")
    index = json.loads((folder / "model_index.json").read_text())
    assert {name for name, value in index.items() if isinstance(value, list)} == {
        path.name for path in folder.iterdir() if path.is_dir()
    }
    audio = from_pretrained(transformers.Wav2Vec2Model, folder / "audio_encoder").eval()
    extract = transformers.AutoFeatureExtractor.from_pretrained(
        folder / "audio_processor", local_files_only=True
    )
    samples = extract(noise(16_000).numpy(), sampling_rate=16_000, return_tensors="pt").input_values
    with torch.inference_mode():
        states = audio(samples, output_hidden_states=True).hidden_states
    assert len(states) == 25 and states[0].shape == (1, 49, tiny.AUDIO_WIDTH)
    from_pretrained(diffusers.AutoencoderKLWan, folder / "vae")
    from_pretrained(transformers.UMT5EncoderModel, folder / "text_encoder")
    assert diffusers.UniPCMultistepScheduler.from_pretrained(folder / "scheduler").config.flow_shift == 3.0
    official = made("wan2.2-s2v-14b")
    alone = from_pretrained(
        transformers.Wav2Vec2Model,
        official / "wav2vec2-large-xlsr-53-english",
        ignore=[r"lm_head\."],
    ).eval()
    with torch.inference_mode():
        again = alone(samples, output_hidden_states=True).hidden_states
    assert torch.equal(again[-1], states[-1]), "one encoder in both layouts"
    transformers.AutoTokenizer.from_pretrained(official / "google" / "umt5-xxl", local_files_only=True)


@pytest.mark.parametrize("name", MAKERS)
def test_folders_resolve_as_models(name: str, made: Callable[[str], Path]) -> None:
    """No shard, no index and no config is missing to the registry's eyes."""
    assert len(resolve(str(made(name))).digest()) == 32


def test_what_the_tiny_encoders_make_fits(made: Callable[[str], Path], tmp_path: Path) -> None:
    """A generator takes latents and embeddings of its own VAE and encoders only: the tiny ones must be the same."""
    from stages.image_embed.tiny import write_tiny
    from stages.latents.tiny import write_wan21, write_wan22
    from stages.text.tiny import make_umt5
    from wanprep.models.tiny_wav2vec2 import make as make_wav2vec2

    for make, name, components in (
        (write_tiny, "wan2.2-animate-14b", ("image_encoder",)),
        (make_umt5, "wan2.2-animate-14b", ("text_encoder", "tokenizer")),
        (write_wan21, "wan2.2-animate-14b", ("vae",)),
        (write_wan21, "wan2.2-s2v-14b-diffusers", ("vae",)),
        (write_wan22, "wan2.2-ti2v-5b", ("vae",)),
    ):
        alone = tmp_path / name / make.__name__
        make(alone, 0)
        for component in components:
            assert files(alone / component) == files(made(name) / component), (make.__name__, component)
    sound = Path("wav2vec2-large-xlsr-53-english")
    make_wav2vec2(tmp_path / sound, 0)
    assert files(tmp_path / sound) == files(made("wan2.2-s2v-14b") / sound)
