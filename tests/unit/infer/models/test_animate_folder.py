"""A generator's parts are found in each layout, digests cover them alone, and what is wrong is said in one line."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from wanprep.errors import WanprepError
from wanprep.models.errors import ModelBroken, ModelMissing
from wanprep.models.resolve import digest
from wanprep.models.vae import find_vae
from wanprep_infer.models.folder import GeneratorKind, find_generator

STEM = "diffusion_pytorch_model"


def write_json(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def write_weights(folder: Path, shards: int = 1, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if shards == 1:
        save_file({"a": np.full(9, seed, np.float32)}, folder / f"{STEM}.safetensors")
        return
    names = [f"{STEM}-{number + 1:05d}-of-{shards:05d}.safetensors" for number in range(shards)]
    for number, name in enumerate(names):
        save_file({f"t{number}": np.full(9, seed, np.float32)}, folder / name)
    placed = {f"t{number}": name for number, name in enumerate(names)}
    write_json(folder / f"{STEM}.safetensors.index.json", {"metadata": {}, "weight_map": placed})


def write_vae(folder: Path) -> None:
    write_json(folder / "config.json", {"_class_name": "AutoencoderKLWan"})
    write_weights(folder)


def write_vae_pth(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"x" * 500)


def diffusers_animate(root: Path) -> None:
    write_json(root / "model_index.json", {"_class_name": "WanAnimatePipeline"})
    write_json(root / "transformer" / "config.json", {"_class_name": "WanAnimateTransformer3DModel"})
    write_weights(root / "transformer", 3)
    write_vae(root / "vae")
    write_json(root / "scheduler" / "scheduler_config.json", {"flow_shift": 5.0})
    write_json(root / "text_encoder" / "config.json", {"architectures": ["UMT5EncoderModel"]})


def official_animate(root: Path) -> None:
    write_json(root / "config.json", {"_class_name": "WanAnimateModel", "num_heads": 40})
    write_weights(root, 4)
    write_vae_pth(root / "Wan2.1_VAE.pth")
    save_file({"lora": np.zeros(3, np.float32)}, root / "unrelated.safetensors")


def official_s2v(root: Path) -> None:
    write_json(root / "config.json", {"_class_name": "WanModel_S2V", "model_type": "s2v"})
    write_weights(root, 2)
    write_vae_pth(root / "Wan2.1_VAE.pth")


def fastvideo_s2v(root: Path) -> None:
    write_json(root / "model_index.json", {"_class_name": "WanSpeechToVideoPipeline"})
    write_json(root / "transformer" / "config.json", {"_class_name": "WanModel_S2V", "model_type": "s2v"})
    write_weights(root / "transformer", 2)
    write_vae(root / "vae")


def unnamed_s2v(root: Path) -> None:
    write_json(root / "transformer" / "config.json", {"model_type": "s2v"})
    write_weights(root / "transformer")
    write_vae(root / "vae")


LAYOUTS: list[tuple[Callable[[Path], None], GeneratorKind, str, int]] = [
    (diffusers_animate, "animate", "diffusers", 3),
    (official_animate, "animate", "official", 4),
    (official_s2v, "s2v", "official", 2),
    (fastvideo_s2v, "s2v", "diffusers", 2),
    (unnamed_s2v, "s2v", "diffusers", 1),
]


@pytest.mark.parametrize(("write", "kind", "layout", "files"), LAYOUTS)
def test_parts_of_each_layout(
    write: Callable[[Path], None], kind: GeneratorKind, layout: str, files: int, tmp_path: Path
) -> None:
    write(tmp_path)
    found = find_generator(str(tmp_path), kind)
    assert (found.kind, found.layout, found.path) == (kind, layout, tmp_path)
    assert found.transformer == (tmp_path if layout == "official" else tmp_path / "transformer")
    assert len(found.weights) == files and all(path.parent == found.transformer for path in found.weights)
    assert found.vae == tmp_path / ("Wan2.1_VAE.pth" if layout == "official" else "vae")
    assert found.scheduler == (tmp_path / "scheduler" if (tmp_path / "scheduler").exists() else None)
    assert found.config() == json.loads((found.transformer / "config.json").read_text())
    assert found.digests().keys() == {"transformer", "vae"}
    assert found.digests()["vae"] == digest(str(find_vae(str(tmp_path))))


def test_digests_cover_transformer_and_vae_alone(tmp_path: Path) -> None:
    diffusers_animate(tmp_path)
    first = find_generator(str(tmp_path), "animate").digests()
    write_json(tmp_path / "scheduler" / "scheduler_config.json", {"flow_shift": 3.0})
    write_weights(tmp_path / "text_encoder")
    write_json(tmp_path / "model_index.json", {"_class_name": "WanAnimatePipeline", "more": 1})
    assert find_generator(str(tmp_path), "animate").digests() == first
    write_weights(tmp_path / "transformer", 3, seed=1)
    changed = find_generator(str(tmp_path), "animate").digests()
    assert changed["transformer"] != first["transformer"] and changed["vae"] == first["vae"]
    write_weights(tmp_path / "vae", seed=1)
    again = find_generator(str(tmp_path), "animate").digests()
    assert again["transformer"] == changed["transformer"] and again["vae"] != first["vae"]


def test_digest_does_not_depend_on_the_layout(tmp_path: Path) -> None:
    """The same shards under `transformer/` and at the root are the same transformer."""
    official_s2v(tmp_path / "official")
    fastvideo_s2v(tmp_path / "fastvideo")
    one, other = (
        find_generator(str(tmp_path / name), "s2v").digests()["transformer"]
        for name in ("official", "fastvideo")
    )
    assert one == other


def test_broken_text_encoder_is_of_no_concern(tmp_path: Path) -> None:
    diffusers_animate(tmp_path)
    write_weights(tmp_path / "text_encoder", 2)
    next((tmp_path / "text_encoder").glob("*00002*")).unlink()
    assert find_generator(str(tmp_path), "animate").weights


def cut(path: Path, left: int) -> None:
    path.write_bytes(path.read_bytes()[:left])


def no_such_folder(root: Path) -> None:
    root.rmdir()


def missing_shard(root: Path) -> None:
    diffusers_animate(root)
    (root / "transformer" / f"{STEM}-00002-of-00003.safetensors").unlink()


def missing_official_shard(root: Path) -> None:
    official_animate(root)
    (root / f"{STEM}-00002-of-00004.safetensors").unlink()


def cut_shard(root: Path) -> None:
    diffusers_animate(root)
    cut(root / "transformer" / f"{STEM}-00003-of-00003.safetensors", 90)


def no_weights(root: Path) -> None:
    diffusers_animate(root)
    for file in (root / "transformer").glob("*.safetensors*"):
        file.unlink()


def no_transformer_config(root: Path) -> None:
    diffusers_animate(root)
    (root / "transformer" / "config.json").unlink()


def no_vae(root: Path) -> None:
    official_animate(root)
    (root / "Wan2.1_VAE.pth").unlink()


def vae_config_alone(root: Path) -> None:
    diffusers_animate(root)
    (root / "vae" / f"{STEM}.safetensors").unlink()


def cut_vae_file(root: Path) -> None:
    official_animate(root)
    cut(root / "Wan2.1_VAE.pth", 100)


def cut_vae_folder(root: Path) -> None:
    diffusers_animate(root)
    cut(root / "vae" / f"{STEM}.safetensors", 90)


def broken_config(root: Path) -> None:
    diffusers_animate(root)
    (root / "transformer" / "config.json").write_text("{")


def list_config(root: Path) -> None:
    official_animate(root)
    write_json(root / "config.json", [])


def empty_index(root: Path) -> None:
    diffusers_animate(root)
    write_json(root / "transformer" / f"{STEM}.safetensors.index.json", {"weight_map": {}})


def index_elsewhere(root: Path) -> None:
    diffusers_animate(root)
    write_json(
        root / "transformer" / f"{STEM}.safetensors.index.json", {"weight_map": {"a": "../vae/config.json"}}
    )


def two_sets(root: Path) -> None:
    diffusers_animate(root)
    (root / "transformer" / f"{STEM}.safetensors.index.json").unlink()


def text_to_video(root: Path) -> None:
    write_json(root / "model_index.json", {"_class_name": "WanPipeline"})
    write_json(root / "transformer" / "config.json", {"_class_name": "WanTransformer3DModel"})
    write_weights(root / "transformer")
    write_vae(root / "vae")


def official_text_to_video(root: Path) -> None:
    write_json(root / "high_noise_model" / "config.json", {"_class_name": "WanModel", "model_type": "t2v"})
    write_weights(root / "high_noise_model")
    write_vae_pth(root / "Wan2.1_VAE.pth")


def text_encoder(root: Path) -> None:
    write_json(root / "config.json", {"architectures": ["UMT5EncoderModel"]})
    write_weights(root)


WRONG: list[tuple[Callable[[Path], None], type[WanprepError], tuple[str, ...]]] = [
    (no_such_folder, ModelMissing, ("no such folder",)),
    (missing_shard, ModelMissing, ("00002-of-00003.safetensors is missing", "index.json names it")),
    (missing_official_shard, ModelMissing, ("00002-of-00004.safetensors is missing",)),
    (cut_shard, ModelBroken, ("00003-of-00003.safetensors", "cut short")),
    (no_weights, ModelMissing, ("transformer has no weights", "fetch it again")),
    (no_transformer_config, ModelMissing, ("transformer has no config.json", "fetch it again")),
    (no_vae, ModelMissing, ("has no Wan VAE",)),
    (vae_config_alone, ModelMissing, ("vae holds no weights", "fetch it again")),
    (cut_vae_file, ModelBroken, ("Wan2.1_VAE.pth is cut short",)),
    (cut_vae_folder, ModelBroken, ("vae", "cut short")),
    (broken_config, ModelBroken, ("config.json is no JSON",)),
    (list_config, ModelBroken, ("config.json is no JSON object",)),
    (empty_index, ModelBroken, ("names no shards",)),
    (index_elsewhere, ModelBroken, ("names a file elsewhere",)),
    (two_sets, ModelMissing, ("several sets of weights", "no index")),
    (text_to_video, ModelMissing, ("is a WanPipeline, not an Animate model",)),
    (
        official_text_to_video,
        ModelMissing,
        ("is not an Animate model", "holds Wan2.1_VAE.pth, high_noise_model"),
    ),
    (text_encoder, ModelMissing, ("is a UMT5EncoderModel, not an Animate model",)),
    (official_s2v, ModelMissing, ("is an S2V model, not an Animate model", "try wan2.2-animate-14b")),
    (fastvideo_s2v, ModelMissing, ("is an S2V model, not an Animate model",)),
]


@pytest.mark.parametrize(("write", "kind", "says"), WRONG, ids=[write.__name__ for write, *_ in WRONG])
def test_what_is_wrong_in_one_line(
    write: Callable[[Path], None], kind: type[WanprepError], says: tuple[str, ...], tmp_path: Path
) -> None:
    root = tmp_path / "model"
    root.mkdir()
    write(root)
    with pytest.raises(kind) as caught:
        find_generator(str(root), "animate")
    message = str(caught.value)
    assert "\n" not in message and str(root) in message
    assert [text for text in says if text not in message] == []


def test_animate_folder_is_no_s2v_model(tmp_path: Path) -> None:
    diffusers_animate(tmp_path)
    with pytest.raises(ModelMissing, match=r"is an Animate model, not an S2V model; try wan2\.2-s2v-14b"):
        find_generator(str(tmp_path), "s2v")


def test_a_file_is_no_generator(tmp_path: Path) -> None:
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelMissing, match="is a single file; an Animate model is a folder"):
        find_generator(str(tmp_path / "model.safetensors"), "animate")


def test_transformer_folder_alone_points_above(tmp_path: Path) -> None:
    diffusers_animate(tmp_path)
    with pytest.raises(ModelMissing, match=r"give the folder above, \S+"):
        find_generator(str(tmp_path / "transformer"), "animate")


def test_variant_beside_the_plain_weights_is_left_alone(tmp_path: Path) -> None:
    official_animate(tmp_path)
    save_file({"a": np.zeros(3, np.float16)}, tmp_path / f"{STEM}.fp16.safetensors")
    assert len(find_generator(str(tmp_path), "animate").weights) == 4


def test_unknown_name_is_suggested() -> None:
    with pytest.raises(ModelMissing, match=r"wan2\.2-animate-14b"):
        find_generator("wan2.2-animate-14", "animate")
