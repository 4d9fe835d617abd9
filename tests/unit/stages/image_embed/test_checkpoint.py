"""The image tower is the same in every layout it is published in, and nothing of it is ever made up."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from helpers import clip_tower as tower  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from stages.image_embed.checkpoint import OFFICIAL_FILE, find_tower, load_tower, tower_digest  # noqa: E402
from stages.image_embed.encoder import ImageTower  # noqa: E402
from stages.image_embed.tiny import write_tiny  # noqa: E402
from wanprep.models.errors import ModelBroken, ModelMissing  # noqa: E402
from wanprep.models.resolve import LocalModel, resolve  # noqa: E402

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint, for reading only."""
    path = tmp_path_factory.mktemp("clip") / "clip-vit-h-14"
    write_tiny(path, 0)
    return path


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "clip"))


def embedded(path: Path, pixels_CHW: torch.Tensor) -> torch.Tensor:
    return ImageTower(path, torch.device("cpu"), torch.float32).embed_TC(pixels_CHW)


def pixels(side: int) -> torch.Tensor:
    return torch.randn((3, side, side), generator=torch.Generator().manual_seed(5))


def in_folder(weights: Weights, path: Path) -> Path:
    path.mkdir()
    torch.save(weights, path / OFFICIAL_FILE)
    (path / "config.json").write_text('{"_class_name": "WanAnimateModel", "model_type": "animate"}')
    return path


@pytest.mark.parametrize(
    "form", ["official folder", "official file", "open_clip file", "tower alone", "safetensors"]
)
def test_single_files_compute_what_the_architecture_says(form: str, tmp_path: Path) -> None:
    weights = tower.wan_weights()
    path = tmp_path / "tower.pth"
    if form == "official folder":
        path = in_folder(weights, tmp_path / "model")
    elif form == "official file":
        torch.save(weights, path)
    elif form == "open_clip file":
        torch.save(tower.open_clip_names(weights), path)
    elif form == "tower alone":
        torch.save(
            {name.removeprefix("visual."): value for name, value in weights.items() if "visual." in name},
            path,
        )
    else:
        path = tmp_path / "tower.safetensors"
        save_file({name: value.contiguous() for name, value in weights.items()}, path)
    found_TC = embedded(path, pixels(tower.SIDE))
    assert found_TC.shape == (26, 160)
    torch.testing.assert_close(found_TC, tower.hidden_TC(weights, pixels(tower.SIDE)), rtol=1e-4, atol=1e-5)


def test_a_folder_of_the_same_weights_computes_the_same(tmp_path: Path) -> None:
    torch.save(tower.wan_weights(), tmp_path / "tower.pth")
    load_tower(tmp_path / "tower.pth", torch.float32).save_pretrained(tmp_path / "saved" / "image_encoder")
    one, other = (embedded(tmp_path / name, pixels(tower.SIDE)) for name in ("tower.pth", "saved"))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_folder_as_published(copied: Path) -> None:
    """The published file's names begin with vision_model., which today's class does not have."""
    file = copied / "image_encoder" / "model.safetensors"
    before = embedded(copied, pixels(224))
    assert before.shape == (257, 32)
    names = {name.removeprefix("vision_model."): value for name, value in load_file(file).items()}
    for prefix in ("vision_model.", ""):
        save_file({prefix + name: value for name, value in names.items()}, file, metadata={"format": "pt"})
        torch.testing.assert_close(embedded(copied, pixels(224)), before, rtol=0, atol=0)


def test_a_whole_clip_with_its_text_tower(tmp_path: Path) -> None:
    from transformers import CLIPConfig, CLIPModel

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    whole = CLIPModel(CLIPConfig(text_config=small, vision_config=small | {"patch_size": 56})).eval()
    whole.save_pretrained(tmp_path / "whole")
    with torch.inference_mode():
        states = whole.vision_model(pixels(224)[None], output_hidden_states=True).hidden_states
    torch.testing.assert_close(embedded(tmp_path / "whole", pixels(224)), states[-2][0], rtol=0, atol=1e-6)


def test_the_last_block_and_norm_do_not_matter(copied: Path) -> None:
    """The penultimate state: Wan's code leaves the last block out."""
    before = embedded(copied, pixels(224))
    file = copied / "image_encoder" / "model.safetensors"
    weights = load_file(file)
    last = {name for name in weights if "layers.2." in name or "post_layernorm" in name}
    assert len(last) == 18
    save_file(
        {name: value + (name in last) for name, value in weights.items()}, file, metadata={"format": "pt"}
    )
    torch.testing.assert_close(embedded(copied, pixels(224)), before, rtol=0, atol=0)


def test_half_precision_is_near(folder: Path) -> None:
    exact = embedded(folder, pixels(224))
    for dtype, error in ((torch.bfloat16, 0.1), (torch.float16, 0.02)):
        found = ImageTower(folder, torch.device("cpu"), dtype).embed_TC(pixels(224))
        assert found.dtype == torch.float32 and 0 < float((found - exact).abs().max()) < error


def test_the_digest_is_of_the_tower_wherever_it_lies(folder: Path, copied: Path) -> None:
    digests = {
        tower_digest(LocalModel("a", folder)),
        tower_digest(LocalModel("b", folder / "image_encoder")),
        tower_digest(LocalModel("c", copied)),
    }
    assert len(digests) == 1
    (copied / "image_processor" / "preprocessor_config.json").write_text("{}")  # not read, so not in the key
    assert {tower_digest(LocalModel("c", copied))} == digests
    config = copied / "image_encoder" / "config.json"
    config.write_text(config.read_text().replace('"gelu"', '"quick_gelu"'))
    assert tower_digest(LocalModel("c", copied)) not in digests


def refusal(path: Path) -> str:
    with pytest.raises(ModelBroken) as error:
        load_tower(path, torch.float32)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("visual.transformer.1.mlp.0.weight"), "encoder.layers.1.mlp.fc1.weight"),
        (lambda w: w.pop("visual.transformer.0.mlp.0.weight"), "encoder.layers.0.mlp.fc1.weight"),
        (lambda w: w.pop("visual.pre_norm.bias"), "pre_layrnorm.bias"),
        (lambda w: w.pop("visual.pos_embedding"), "embeddings.position_embedding.weight"),
        (lambda w: w.pop("visual.transformer.1.attn.to_qkv.bias"), "encoder.layers.1.self_attn.k_proj.bias"),
        (
            lambda w: w.update({"visual.transformer.2.norm1.weight": torch.ones(7)}),
            "encoder.layers.2.layer_norm1",
        ),
        (
            lambda w: w.update({"visual.transformer.1.attn.to_qkv.bias": torch.ones(7)}),
            "attn.to_qkv.bias is (7,)",
        ),
        (
            lambda w: w.update({"visual.transformer.1.attn.to_qkv.bias": torch.ones(())}),
            "attn.to_qkv.bias is ()",
        ),
        (
            lambda w: w.update({"visual.patch_embedding.weight": torch.ones(160, 3)}),
            "patch_embedding.weight is (160",
        ),
        (lambda w: w.update({"visual.pos_embedding": torch.ones(1, 25, 160)}), "25 positions of width 160"),
        (lambda w: w.update({"visual.adapter.weight": torch.ones(1)}), "adapter.weight belongs to no CLIP"),
        (lambda w: w.clear(), "embeddings.patch_embedding.weight is missing"),
    ],
)
def test_a_single_file_with_a_wrong_tensor(
    change: Callable[[Weights], None], said: str, tmp_path: Path
) -> None:
    weights = tower.wan_weights()
    change(weights)
    torch.save(weights, tmp_path / "tower.pth")
    assert said in refusal(tmp_path / "tower.pth")


def test_a_folder_with_a_wrong_tensor(copied: Path) -> None:
    file = copied / "image_encoder" / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if name.endswith("layers.1.mlp.fc1.weight"))
    for changed, said in (
        ({other: value for other, value in weights.items() if other != name}, "lacks the tensor"),
        (weights | {name: torch.ones(5, 5)}, "has the shape [5, 5], not [64, 32]"),
        (weights | {"extra.weight": torch.ones(5)}, "holds the tensor extra.weight"),
    ):
        save_file(changed, file, metadata={"format": "pt"})
        problem = refusal(copied)
        assert said in problem and ("extra" in said or "layers.1.mlp.fc1.weight" in problem)


def test_damaged_files(copied: Path, tmp_path: Path) -> None:
    file = copied / "image_encoder" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "cut short" in refusal(copied)
    torch.save(tower.wan_weights(), tmp_path / "a.pth")
    whole = (tmp_path / "a.pth").read_bytes()
    for damaged in (b"", b"no weights", whole[:1000], whole[: len(whole) // 2]):
        (tmp_path / "a.pth").write_bytes(damaged)
        assert "a.pth" in refusal(tmp_path / "a.pth")


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            return (Path.touch, (tmp_path / "touched",))  # type: ignore[return-value]

    torch.save({"visual.head": Evil()}, tmp_path / "a.pth")
    assert "a.pth" in refusal(tmp_path / "a.pth")
    assert not (tmp_path / "touched").exists()


def test_other_folders(tmp_path: Path, copied: Path) -> None:
    in_folder(tower.wan_weights(), tmp_path / "animate")
    assert find_tower(tmp_path / "animate").name == OFFICIAL_FILE, "its config.json is the generator's"
    (copied / "image_encoder" / "config.json").write_text("{")
    assert "is not readable as JSON" in refusal(copied)
    (copied / "image_encoder" / "config.json").unlink()
    assert "holds no CLIP image encoder" in refusal(copied)
    with pytest.raises(ModelMissing):
        resolve(str(tmp_path / "nowhere" / "clip"))


def test_tiny_checkpoints_are_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    def contents(path: Path) -> dict[str, bytes]:
        return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}

    state = torch.random.get_rng_state()
    write_tiny(tmp_path / "again", 0)
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's random numbers go on as they were"
    write_tiny(tmp_path / "other", 1)
    assert contents(folder) == contents(tmp_path / "again")
    assert set(contents(folder)) == {
        "image_encoder/config.json",
        "image_encoder/model.safetensors",
        "image_processor/preprocessor_config.json",
    }
    assert contents(folder) != contents(tmp_path / "other")
