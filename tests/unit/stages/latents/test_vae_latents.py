"""The latent stages with real VAE code on tiny checkpoints: precision, tiles, keys, and a GPU that is full."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.latent_clips import moving_THWC, reference_record, video_record
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from schemas.tensor import BFLOAT16  # noqa: E402
from stages.latents import VideoLatents  # noqa: E402
from stages.latents.config import LatentsConfig  # noqa: E402
from stages.latents.tiny import write_wan21, write_wan22  # noqa: E402
from stages.latents.vae_coder import VaeCoder  # noqa: E402
from stages.latents.video import VideoLatentsConfig  # noqa: E402
from wanprep.errors import UsageError  # noqa: E402
from wanprep.key import stage_spec  # noqa: E402
from wanprep.models.errors import ModelOutOfMemory  # noqa: E402
from wanprep.models.vae import Vae, load_vae  # noqa: E402
from wanprep.models.vae_preview import decode_preview  # noqa: E402
from wanprep.models.vae_stream import VaeEncoder  # noqa: E402
from wanprep_infer.conditioning import unfit_reason  # noqa: E402
from wanprep_infer.conditioning.latents_check import UnfitLatents, check_latents  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Such small models are many times slower with threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    write_wan21(root / "wan2.1-vae", 0)
    write_wan22(root / "wan2.2-vae", 0)
    return {name: str(root / name) for name in ("wan2.1-vae", "wan2.2-vae")}


@pytest.fixture(scope="module")
def vae(folders: dict[str, str]) -> Vae:
    return load_vae(folders["wan2.1-vae"], "cpu")


def signed_CTHW(frames_THWC: Any) -> Any:
    return torch.tensor(frames_THWC).movedim(-1, 0).float() / 127.5 - 1


@pytest.mark.parametrize(("name", "channels"), [("wan2.1-vae", 16), ("wan2.2-vae", 48)])
def test_latents_are_the_vaes_raw_mean(
    tmp_path: Path, folders: dict[str, str], name: str, channels: int
) -> None:
    frames_THWC = moving_THWC(9)
    record = video_record(tmp_path, frames_THWC, (2,), backend="vae", model=folders[name], device="cpu")
    vae = load_vae(folders[name], "cpu")
    latents_CTHW = vae.encode(signed_CTHW(frames_THWC))
    np.testing.assert_array_equal(record.segment_CTHW(), latents_CTHW.numpy())
    np.testing.assert_allclose(
        record.segment_CTHW(whitened=True), vae.whiten(latents_CTHW).numpy(), atol=1e-6
    )
    assert (record.backend, record.precision, record.device, record.channels) == (
        "vae",
        "float32",
        "cpu",
        channels,
    )
    assert record.latents_TCHW.dtype == np.float32
    assert record.vae == name
    assert record.vae_digest == VideoLatents(config(folders[name])).models()["vae"]
    assert record.vae_weights == vae.fingerprint
    shown_THWC = decode_preview(record, vae=vae)
    exact_THWC = ((vae.decode(latents_CTHW).movedim(0, -1).numpy() + 1) * 127.5).round()
    assert np.abs(shown_THWC - exact_THWC).max() <= 1
    with pytest.raises(UsageError, match="are decoded by that VAE: load it"):
        decode_preview(record)


def config(model: str, **more: Any) -> VideoLatentsConfig:
    return VideoLatentsConfig.model_validate({"backend": "vae", "model": model, "device": "cpu", **more})


def test_bfloat16_is_kept_as_it_was_computed(tmp_path: Path, folders: dict[str, str], vae: Vae) -> None:
    frames_THWC = moving_THWC(5)
    record = video_record(
        tmp_path,
        frames_THWC,
        backend="vae",
        model=folders["wan2.1-vae"],
        device="cpu",
        precision="bfloat16",
    )
    assert record.precision == "bfloat16" and record.latents_TCHW.dtype == BFLOAT16
    exact = vae.encode(signed_CTHW(frames_THWC)).numpy()
    difference = np.abs(record.segment_CTHW() - exact).max()
    assert 0 < difference < 0.05 * np.abs(exact).max()


def test_pixels_are_rounded_as_the_official_code_does(
    tmp_path: Path, folders: dict[str, str], vae: Vae
) -> None:
    Image.fromarray(moving_THWC(1)[0]).save(tmp_path / "reference.png")
    record = reference_record(
        tmp_path,
        tmp_path / "reference.png",
        backend="vae",
        model=folders["wan2.1-vae"],
        device="cpu",
        pixel_rounding="bfloat16",
        size={"width": 96, "height": 64},
    )
    assert record.pixel_rounding == "bfloat16"
    pixels = signed_CTHW(moving_THWC(1))
    np.testing.assert_array_equal(record.segment_CTHW(), vae.encode(pixels.bfloat16().float()).numpy())
    assert np.abs(record.segment_CTHW() - vae.encode(pixels).numpy()).max() > 0


def test_tiles_are_recorded_and_are_in_the_key(tmp_path: Path, folders: dict[str, str], vae: Vae) -> None:
    frames_THWC = moving_THWC(5)
    model = folders["wan2.1-vae"]
    record = video_record(tmp_path, frames_THWC, backend="vae", model=model, device="cpu", tile=64)
    assert record.tile == 64
    np.testing.assert_array_equal(record.segment_CTHW(), vae.encode(signed_CTHW(frames_THWC), 64).numpy())
    whole = video_record(tmp_path, frames_THWC, backend="vae", model=model, device="cpu", tile=96)
    assert whole.tile is None
    assert stage_spec(VideoLatents(config(model, tile=64))) != stage_spec(VideoLatents(config(model)))


def test_a_model_that_moves_keeps_its_artifacts(folders: dict[str, str], tmp_path: Path) -> None:
    model = folders["wan2.1-vae"]
    shutil.copytree(model, tmp_path / "elsewhere")
    base = stage_spec(VideoLatents(config(model)))
    assert stage_spec(VideoLatents(config(str(tmp_path / "elsewhere")))) == base
    assert stage_spec(VideoLatents(config(str(tmp_path / "elsewhere" / "vae")))) == base
    assert stage_spec(VideoLatents(config(folders["wan2.2-vae"]))) != base


def test_what_is_missing_is_one_line(tmp_path: Path) -> None:
    lack = VideoLatents(config(str(tmp_path / "nowhere"))).unavailable()
    assert lack is not None and "there is no such folder or file" in lack and "\n" not in lack


def test_resources_say_what_a_worker_needs(folders: dict[str, str]) -> None:
    model = folders["wan2.1-vae"]
    on_cpu = VideoLatents(config(model)).resources
    assert on_cpu.gpus == 0 and on_cpu.memory > 400 << 20
    assert VideoLatents(config(model, device="cuda")).resources.gpus == 1
    codec = VideoLatents(VideoLatentsConfig()).resources
    assert codec.gpus == 0 and codec.memory < on_cpu.memory


class FullGpu:
    """A VAE on the CPU that counts as on a GPU which holds no larger picture than `limit`."""

    def __init__(self, coder: VaeCoder) -> None:
        self.limit = 10_000
        self.coder = coder


@pytest.fixture(scope="module")
def coder(folders: dict[str, str]) -> VaeCoder:
    made = VaeCoder(LatentsConfig(backend="vae", model=folders["wan2.1-vae"], device="cpu"))
    made.device = "cuda"
    return made


@pytest.fixture
def gpu(coder: VaeCoder, monkeypatch: pytest.MonkeyPatch) -> FullGpu:
    made = FullGpu(coder)
    add = VaeEncoder.add

    def guarded(self: VaeEncoder, pixels_CTHW: Any, *, last: bool = False) -> Any:
        if (self._tile or max(pixels_CTHW.shape[-2:])) > made.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return add(self, pixels_CTHW, last=last)

    monkeypatch.setattr(VaeEncoder, "add", guarded)
    monkeypatch.setattr(coder, "_fitting", {})
    monkeypatch.setattr("stages.latents.vae_coder._SMALLER_TILES", (128, 64))
    return made


def test_a_picture_that_does_not_fit_is_coded_in_tiles(gpu: FullGpu, vae: Vae) -> None:
    gpu.limit = 100
    frames_THWC = moving_THWC(5, 192, 64)
    clip = gpu.coder.encoder(192, 64, 5)
    assert clip.tile == 64
    latents_TCHW = np.concatenate([clip.add(frames_THWC), clip.finish()])
    expected = vae.encode(signed_CTHW(frames_THWC), 64)
    np.testing.assert_array_equal(np.moveaxis(latents_TCHW, 0, 1), expected.numpy())
    assert gpu.coder.encoder(96, 64, 5).tile is None


def test_a_picture_that_fits_in_no_tile_fails_with_its_size(gpu: FullGpu) -> None:
    gpu.limit = 32
    with pytest.raises(ModelOutOfMemory, match=r"pictures of 192x64 do not fit.*even with size 64"):
        gpu.coder.encoder(192, 64, 5)


def test_memory_that_ends_in_the_middle_is_told_with_the_size(gpu: FullGpu) -> None:
    clip = gpu.coder.encoder(96, 64, 9)
    clip.add(moving_THWC(1))
    gpu.limit = 10
    with pytest.raises(ModelOutOfMemory, match=r"pictures of 96x64 do not fit.*even with size 96"):
        clip.add(moving_THWC(4))


def test_a_generator_refuses_what_is_not_its_vaes(tmp_path: Path, folders: dict[str, str]) -> None:
    codec = video_record(tmp_path, moving_THWC(1))
    reason = unfit_reason("video_latents", codec)
    assert reason == (
        "video_latents were made by dct-z16-v1, a codec without weights that no Wan model was trained with: "
        "run again with --set video_latents.backend=vae"
    )
    with pytest.raises(UnfitLatents, match="a codec without weights"):
        check_latents(codec)
    made = video_record(tmp_path, moving_THWC(1), backend="vae", model=folders["wan2.1-vae"], device="cpu")
    assert unfit_reason("video_latents", made) is None
    check_latents(made, channels=16, vae_digest=made.vae_digest)
    with pytest.raises(UnfitLatents, match=r"have 16 channels and the model takes 48.*model=wan2\.2-vae"):
        check_latents(made, channels=48)
    with pytest.raises(UnfitLatents, match="by another VAE"):
        check_latents(made, vae_digest="0" * 32)
