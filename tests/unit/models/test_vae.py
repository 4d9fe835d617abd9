"""The Wan VAEs: loaded strictly from every layout, coded in pieces and in tiles."""

from __future__ import annotations

import gc
import json
import logging
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file  # noqa: E402

from stages.latents.tiny import write_wan21, write_wan22  # noqa: E402
from wanprep.models import vae_stream  # noqa: E402
from wanprep.models.errors import ModelBroken, ModelMissing  # noqa: E402
from wanprep.models.vae import Vae, find_vae, load_vae  # noqa: E402
from wanprep.models.vae_keys import diffusers_names, inferred_config, is_official  # noqa: E402
from wanprep.models.vae_tiles import grid  # noqa: E402

WEIGHTS = "diffusion_pytorch_model.safetensors"
GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "s2v" / "vae21_tiny.weights.safetensors"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Such small models are many times slower with threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pipeline's folder of each kind."""
    root = tmp_path_factory.mktemp("vaes")
    write_wan21(root / "wan2.1", 3)
    write_wan22(root / "wan2.2", 3)
    return {kind: root / kind for kind in ("wan2.1", "wan2.2")}


@pytest.fixture(scope="module")
def vaes(folders: dict[str, Path]) -> dict[str, Vae]:
    return {kind: load_vae(str(folder), "cpu") for kind, folder in folders.items()}


@pytest.fixture(params=["wan2.1", "wan2.2"])
def vae(request: pytest.FixtureRequest, vaes: dict[str, Vae]) -> Vae:
    return vaes[request.param]


def noise(frames: int, height: int, width: int, seed: int = 0) -> Any:
    return torch.rand((3, frames, height, width), generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize(("kind", "channels", "stride"), [("wan2.1", 16, 8), ("wan2.2", 48, 16)])
def test_geometry(vaes: dict[str, Vae], kind: str, channels: int, stride: int) -> None:
    vae = vaes[kind]
    assert (vae.channels, vae.stride, vae.streams) == (channels, stride, True)
    latents = vae.encode(noise(9, 64, 96))
    assert latents.shape == (channels, 3, 64 // stride, 96 // stride)
    assert vae.decode(latents).shape == (3, 9, 64, 96)
    assert torch.equal(vae.unwhiten(vae.whiten(latents)).round(decimals=3), latents.round(decimals=3))
    # The published statistics, and not 0 and 1.
    assert vae.whiten(torch.from_numpy(vae.mean_C)[:, None, None, None]).abs().max() == 0
    assert vae.std_C.min() < 1.2 and vae.std_C.max() > 1.6


def test_whole_clips_are_as_diffusers_codes_them(vae: Vae) -> None:
    pixels = noise(9, 4 * vae.stride, 6 * vae.stride)
    with torch.no_grad():
        theirs = vae.model.encode(pixels[None]).latent_dist.mode()[0]
        shown = vae.model.decode(theirs[None]).sample[0]
    assert (vae.encode(pixels) - theirs).abs().max() == 0
    assert (vae.decode(theirs) - shown).abs().max() == 0


@pytest.mark.parametrize("sizes", [(1, 4, 4, 4), (3, 1, 2, 7), (1,) * 13])
def test_pieces_are_the_whole(vae: Vae, sizes: tuple[int, ...]) -> None:
    pixels = noise(13, 4 * vae.stride, 4 * vae.stride)
    encoder = vae.encoder()
    parts = [encoder.add(piece) for piece in pixels.split(sizes, 1)]
    parts.append(encoder.finish())
    latents = torch.cat(parts, 1)
    assert (latents - vae.encode(pixels)).abs().max() == 0
    decoder = vae.decoder()
    shown = [decoder.add(piece) for piece in latents.split([1, 2, 1], 1)]
    assert [part.shape[1] for part in shown] == [1, 8, 4]
    pixels_again = torch.cat([*shown, decoder.finish()], 1)
    assert (pixels_again - vae.decode(latents, clamp=False)).abs().max() == 0


def held_bytes() -> int:
    """Of all tensors that were made since the last `gc.freeze`."""
    gc.collect()
    tensors = [item for item in gc.get_objects() if issubclass(type(item), torch.Tensor)]
    return sum({item.data_ptr(): item.untyped_storage().nbytes() for item in tensors}.values())


def test_long_clips_hold_no_more_than_short_ones(vae: Vae) -> None:
    encoder, decoder = vae.encoder(), vae.decoder()
    side = 4 * vae.stride
    piece = noise(4, side, side)
    held = []
    gc.freeze()
    try:
        decoder.add(encoder.add(noise(1, side, side)))
        for count in (2, 9):
            for _ in range(count):
                decoder.add(encoder.add(piece))
            held.append(held_bytes())
    finally:
        gc.unfreeze()
    assert held[0] == held[1] > piece.nbytes


def test_without_the_private_names_results_are_the_same(
    folders: dict[str, Path], vae: Vae, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not by caplog: other libraries of the same process may have turned existing loggers off.
    said: list[str] = []
    monkeypatch.setattr(logging.getLogger("wanprep.models"), "warning", said.append)
    pixels = noise(9, 4 * vae.stride, 4 * vae.stride)
    expected = vae.encode(pixels)
    shown = vae.decode(expected)
    monkeypatch.setattr(vae_stream, "_CONVOLUTION", "RenamedConv3d")
    kind = "wan2.1" if vae.channels == 16 else "wan2.2"
    fallback = load_vae(str(folders[kind]), "cpu")
    assert not fallback.streams
    assert len(said) == 1 and "does not code a clip in pieces" in said[0]
    encoder = fallback.encoder()
    assert encoder.add(pixels[:, :5]).shape[1] == 0
    encoder.add(pixels[:, 5:])
    latents = encoder.finish()
    assert (latents - expected).abs().max() == 0
    assert (fallback.decode(latents) - shown).abs().max() == 0


def test_tiles_cover_blend_and_come_in_pieces(vae: Vae) -> None:
    height, width = 4 * vae.stride, 6 * vae.stride
    pixels = noise(5, height, width)
    whole = vae.encode(pixels)
    assert (vae.encode(pixels, tile=width) - whole).abs().max() == 0
    tile = 4 * vae.stride
    tiled = vae.encode(pixels, tile)
    assert tiled.shape == whole.shape
    # What a tile does not see changes a latent; the picture stays the same picture.
    difference = (tiled - whole).abs().mean() / whole.std()
    assert 0 < difference < 0.5
    encoder = vae.encoder(tile)
    pieces = torch.cat([encoder.add(piece) for piece in pixels.split(2, 1)] + [encoder.finish()], 1)
    assert (pieces - tiled).abs().max() == 0
    shown = vae.decode(whole, tile)
    assert shown.shape == pixels.shape
    exact = vae.decode(whole)
    assert 0 < (shown - exact).abs().mean() / exact.std() < 0.5


def test_a_tiles_cache_changes_places_once_a_call(vae: Vae, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once a latent frame: at 1280x720 that was 700 GB of copies a segment."""
    places: list[str] = []
    bring = vae_stream._Coder.bring

    def seen(coder: Any, device: Any) -> None:
        places.append(device.type)
        bring(coder, device)

    monkeypatch.setattr(vae_stream._Coder, "bring", seen)
    decoder = vae.decoder(4 * vae.stride)
    latents = torch.zeros(vae.channels, 3, 6, 4)
    together = decoder.add(latents)
    assert len(places) == 2 * 2 and decoder.finish().shape[1] == 0
    decoder = vae.decoder(4 * vae.stride)
    alone = torch.cat([decoder.add(latents[:, index : index + 1]) for index in range(3)], 1)
    assert torch.equal(together, alone)
    places.clear()
    whole = vae.decoder(4 * vae.stride)
    assert torch.equal(whole.add(latents, last=True), alone) and whole.finish().shape[1] == 0
    assert len(places) == 2, "of the last frames no cache waits"
    with pytest.raises(ValueError, match="ended"):
        whole.add(latents)


@pytest.mark.parametrize(("length", "tile"), [(30, 8), (9, 8), (100, 33), (17, 16), (8, 8), (5, 8), (64, 4)])
def test_tiles_of_any_length_sum_to_one(length: int, tile: int) -> None:
    cells = grid(length, length + 3, tile)
    covered = np.zeros((length, length + 3), int)
    for row, column in cells.tiles:
        assert row.stop - row.start == min(tile, length)
        covered[row.start : row.stop, column.start : column.stop] += 1
    assert covered.min() >= 1
    if tile < length:
        overlaps = [
            first.stop - second.start for first, second in zip(cells.rows, cells.rows[1:], strict=False)
        ]
        assert min(overlaps) >= tile // 4
    ramp = torch.arange((length + 3) * 2.0).expand(2, 3, length * 2, -1)
    parts = [
        ramp[:, :, 2 * row.start : 2 * row.stop, 2 * col.start : 2 * col.stop] for row, col in cells.tiles
    ]
    assert torch.allclose(cells.blend(parts, 2), ramp, atol=1e-3)


def test_blending_has_no_seam() -> None:
    cells = grid(8, 24, 8)
    parts = [torch.full((1, 1, 8, 8), float(index)) for index in range(len(cells.tiles))]
    row = cells.blend(parts, 1)[0, 0, 4]
    assert row[0] == 0 and row[-1] == len(parts) - 1
    assert (row.diff() >= 0).all() and row.diff().max() < 0.8


@pytest.mark.parametrize("frames", [2, 3, 4, 6, 8])
def test_frames_that_are_not_4n1_are_refused(vae: Vae, frames: int) -> None:
    with pytest.raises(ValueError, match=f"{frames} frames are not 4n\\+1"):
        vae.encode(noise(frames, 32, 32))


def test_wrong_sizes_are_refused(vae: Vae) -> None:
    with pytest.raises(ValueError, match=f"40x33 do not fit.*multiples of {vae.stride}"):
        vae.encode(noise(1, 33, 40))
    with pytest.raises(ValueError, match="change their size"):
        encoder = vae.encoder()
        encoder.add(noise(1, 64, 64))
        encoder.add(noise(1, 64, 32))
    with pytest.raises(ValueError, match=f"{vae.channels} channels, not 7"):
        vae.decode(torch.zeros(7, 1, 2, 2))
    with pytest.raises(ValueError, match="too small"):
        vae.encode(noise(1, 64, 64), tile=vae.stride)
    with pytest.raises(ValueError, match="no latents"):
        vae.decoder().finish()


def test_tiny_checkpoints_are_the_same_for_a_seed(folders: dict[str, Path], tmp_path: Path) -> None:
    write_wan21(tmp_path / "same", 3)
    write_wan21(tmp_path / "other", 4)
    name = f"vae/{WEIGHTS}"
    assert (tmp_path / "same" / name).read_bytes() == (folders["wan2.1"] / name).read_bytes()
    assert (tmp_path / "other" / name).read_bytes() != (folders["wan2.1"] / name).read_bytes()
    assert sum(file.stat().st_size for file in (tmp_path / "same").rglob("*")) < 5_000_000


def official_names(names: list[str], grouped: bool, blocks: int) -> dict[str, str]:
    """diffusers' names -> the official ones, written down the other way round than the loader's."""
    swaps = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6"}
    found = {}
    for name in names:
        parts = name.split(".")
        new = name
        if parts[0] in ("quant_conv", "post_quant_conv"):
            new = name.replace("post_quant_conv", "conv2").replace("quant_conv", "conv1")
        elif parts[1] in ("conv_in", "norm_out", "conv_out"):
            new = name.replace("conv_in", "conv1").replace("norm_out", "head.0").replace("conv_out", "head.2")
        else:
            tail = parts[2:]
            if parts[1] == "mid_block":
                head = ["middle", {"resnets0": "0", "attentions0": "1", "resnets1": "2"}["".join(tail[:2])]]
                tail = tail[2:]
            else:
                way = "downsamples" if parts[1] == "down_blocks" else "upsamples"
                head = [way, tail[0]]
                last = blocks if way == "downsamples" else blocks + 1
                if tail[1] == "resnets":
                    within, tail = int(tail[2]), tail[3:]
                elif tail[1].startswith(("downsampler", "upsampler")):
                    within, tail = last, tail[2 if tail[1].endswith("r") else 3 :]
                else:
                    within, tail = -1, tail[1:]  # the Wan2.1 encoder, numbered through
                if within >= 0 and grouped:
                    head += [way, str(within)]
                elif within >= 0:
                    head[1] = str(int(head[1]) * (last + 1) + within)
            if tail[0] in swaps:
                tail[0] = swaps[tail[0]]
            elif tail[0] == "conv_shortcut":
                tail[0] = "shortcut"
            new = ".".join([parts[0], *head, *tail])
        found[name] = new
    assert len(set(found.values())) == len(found)
    return found


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_official_files_are_read_by_their_names(
    vae: Vae, folders: dict[str, Path], tmp_path: Path, suffix: str
) -> None:
    kind = "wan2.1" if vae.channels == 16 else "wan2.2"
    tensors = load_file(folders[kind] / "vae" / WEIGHTS)
    names = official_names(list(tensors), grouped=kind == "wan2.2", blocks=1)
    official = {names[name]: tensor for name, tensor in tensors.items()}
    assert any("samples.0." in name for name in official)
    path = tmp_path / f"{kind}{suffix}"
    torch.save(official, path) if suffix == ".pth" else save_file(official, path)
    loaded = load_vae(str(path), "cpu")
    pixels = noise(5, 4 * vae.stride, 4 * vae.stride)
    assert (loaded.encode(pixels) - vae.encode(pixels)).abs().max() == 0
    latents = loaded.encode(pixels)
    assert (loaded.decode(latents) - vae.decode(latents)).abs().max() == 0
    np.testing.assert_array_equal(loaded.mean_C, vae.mean_C)


@pytest.mark.parametrize("kind", ["wan2.1", "wan2.2"])
def test_the_real_architectures_are_told_by_names_and_shapes(kind: str) -> None:
    """Built without memory, as the published configs say."""
    from diffusers import AutoencoderKLWan

    real: dict[str, Any] = {"base_dim": 96, "z_dim": 16}
    if kind == "wan2.2":
        real = {"base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "is_residual": True}
        real |= {"in_channels": 12, "out_channels": 12, "patch_size": 2, "scale_factor_spatial": 16}
    with torch.device("meta"):
        model = AutoencoderKLWan(**real)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    names = official_names(list(shapes), grouped=kind == "wan2.2", blocks=2)
    assert is_official(names.values()) and not is_official(shapes)
    assert diffusers_names(names.values()) == {official: name for name, official in names.items()}
    config = inferred_config(shapes, "file")
    expected = {**model.config, **real}
    expected["decoder_base_dim"] = expected["decoder_base_dim"] or expected["base_dim"]
    for name, value in config.items():
        if name not in ("latents_mean", "latents_std"):
            assert value == expected[name], name
    assert len(config["latents_mean"]) == len(config["latents_std"]) == real["z_dim"]


def test_a_file_with_diffusers_names_is_read(vaes: dict[str, Vae], folders: dict[str, Path]) -> None:
    loaded = load_vae(str(folders["wan2.2"] / "vae" / WEIGHTS), "cpu")
    assert loaded.encode(noise(1, 32, 32)).equal(vaes["wan2.2"].encode(noise(1, 32, 32)))


def test_the_vae_is_found_in_each_kind_of_folder(folders: dict[str, Path], tmp_path: Path) -> None:
    pipeline = folders["wan2.1"]
    assert find_vae(str(pipeline)) == find_vae(str(pipeline / "vae")) == pipeline / "vae"
    official = tmp_path / "official"
    official.mkdir()
    (official / "config.json").write_text(json.dumps({"_class_name": "WanModel_S2V"}))
    shutil.copy(GOLDEN, official / "diffusion_pytorch_model.safetensors")
    with pytest.raises(ModelMissing, match=r"has no Wan VAE; looked for vae/config\.json"):
        find_vae(str(official))
    shutil.copy(GOLDEN, official / "Wan2.1_VAE.pth")
    assert find_vae(str(official)) == official / "Wan2.1_VAE.pth"


@pytest.fixture
def official() -> dict[str, Any]:
    return dict(load_file(GOLDEN))


def save(tensors: dict[str, Any], path: Path) -> str:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return str(path)


def test_a_missing_tensor_is_named(official: dict[str, Any], tmp_path: Path) -> None:
    del official["decoder.upsamples.4.residual.6.bias"]
    with pytest.raises(ModelBroken, match=r"lacks the tensor decoder\.up_blocks\.1\.resnets\.0\.conv2\.bias"):
        load_vae(save(official, tmp_path / "vae.safetensors"), "cpu")


def test_a_tensor_that_tells_the_size_is_missed(official: dict[str, Any], tmp_path: Path) -> None:
    del official["encoder.conv1.weight"]
    with pytest.raises(ModelBroken, match=r"encoder\.conv_in\.weight is missing"):
        load_vae(save(official, tmp_path / "vae.safetensors"), "cpu")


def test_a_misshapen_tensor_is_named(official: dict[str, Any], tmp_path: Path) -> None:
    official["encoder.middle.0.residual.2.weight"] = official["encoder.middle.0.residual.2.weight"][:, :8]
    with pytest.raises(ModelBroken, match=r"mid_block\.resnets\.0\.conv1\.weight has the shape \[16, 8"):
        load_vae(save(official, tmp_path / "vae.safetensors"), "cpu")


def test_a_tensor_too_many_is_named(official: dict[str, Any], tmp_path: Path) -> None:
    official["encoder.extra.weight"] = torch.zeros(3)
    with pytest.raises(ModelBroken, match=r"holds the tensor encoder\.extra\.weight"):
        load_vae(save(official, tmp_path / "vae.safetensors"), "cpu")


def test_latents_of_unknown_statistics_are_refused(official: dict[str, Any], tmp_path: Path) -> None:
    official["conv2.weight"] = torch.zeros(12, 12, 1, 1, 1)
    with pytest.raises(ModelBroken, match="12 latent channels, and no config"):
        load_vae(save(official, tmp_path / "vae.safetensors"), "cpu")


@pytest.mark.parametrize("change", ["lacks the tensor", "holds the tensor", "has the shape"])
def test_folders_are_loaded_strictly(folders: dict[str, Path], tmp_path: Path, change: str) -> None:
    shutil.copytree(folders["wan2.1"], tmp_path / "model")
    path = tmp_path / "model" / "vae" / WEIGHTS
    tensors = dict(load_file(path))
    if change == "lacks the tensor":
        del tensors["decoder.conv_out.bias"]
    elif change == "holds the tensor":
        tensors["decoder.conv_out.other"] = torch.zeros(1)
    else:
        tensors["decoder.conv_out.bias"] = torch.zeros(4)
    save(tensors, path)
    with pytest.raises(
        ModelBroken, match=rf"{change} decoder\.conv_out\.|tensor decoder\.conv_out\.bias {change}"
    ):
        load_vae(str(tmp_path / "model"), "cpu")


def test_damaged_files_are_one_line(folders: dict[str, Path], tmp_path: Path) -> None:
    whole = (folders["wan2.1"] / "vae" / WEIGHTS).read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelBroken, match="cut short"):
        load_vae(str(cut), "cpu")
    evil = tmp_path / "evil.pth"
    evil.write_bytes(pickle.dumps({"weight": shutil.rmtree}, protocol=2))
    with pytest.raises(ModelBroken, match="holds more than tensors"):
        load_vae(str(evil), "cpu")
    text = tmp_path / "vae.txt"
    text.write_text("no weights")
    with pytest.raises(ModelMissing, match="is no file of weights"):
        load_vae(str(text), "cpu")
    onnx = tmp_path / "vae.onnx"
    onnx.write_bytes(b"no weights")
    with pytest.raises(ModelBroken, match=r"a VAE is a folder, a \.safetensors or a \.pth file"):
        load_vae(str(onnx), "cpu")
    other = tmp_path / "other.safetensors"
    with pytest.raises(ModelBroken, match="this is no Wan VAE"):
        load_vae(save({"weight": torch.zeros(2)}, other), "cpu")


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("latents_std", [0.0] * 16, "no std of 0"),
        ("latents_mean", [0.0] * 15, "must be 16 numbers"),
        ("temperal_downsample", [False, False, True], "takes 2 frames a latent frame"),
    ],
)
def test_a_config_that_fits_no_wan_vae_is_refused(
    folders: dict[str, Path], tmp_path: Path, setting: str, value: Any, told: str
) -> None:
    from diffusers import AutoencoderKLWan

    settings = json.loads((folders["wan2.1"] / "vae" / "config.json").read_text())
    wanted = {name: item for name, item in settings.items() if not name.startswith("_")}
    AutoencoderKLWan(**{**wanted, setting: value}).save_pretrained(tmp_path / "vae")
    with pytest.raises(ModelBroken, match=told):
        load_vae(str(tmp_path), "cpu")


def test_bfloat16_is_near_float32_and_float16_is_refused(
    folders: dict[str, Path], vaes: dict[str, Vae]
) -> None:
    half = load_vae(str(folders["wan2.1"]), "cpu", "bfloat16")
    assert half.streams and half.encode(noise(1, 32, 32)).dtype == torch.bfloat16
    pixels = noise(9, 64, 64)
    ours, exact = half.encode(pixels).float(), vaes["wan2.1"].encode(pixels)
    assert torch.cosine_similarity(ours.flatten(), exact.flatten(), 0) > 0.999
    with pytest.raises(ValueError, match="float16 overflows"):
        load_vae(str(folders["wan2.1"]), "cpu", "float16")
