"""The transformer is exactly what its files say, or one line names the tensor that is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file  # noqa: E402

from wanprep.models.errors import ModelBroken  # noqa: E402
from wanprep_infer.models.animate_loading import load_animate_model  # noqa: E402
from wanprep_infer.models.folder import find_generator  # noqa: E402
from wanprep_infer.tiny.animate_official import write_animate_14b_official  # noqa: E402
from wanprep_infer.tiny.pipelines import write_animate_14b  # noqa: E402

Tensors = dict[str, torch.Tensor]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    write_animate_14b(root / "diffusers", 0)
    write_animate_14b_official(root / "official", 0)
    return root


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a layout's folder, to be damaged."""
    return lambda layout: Path(shutil.copytree(made / layout, tmp_path / layout))


def load(folder: Path) -> torch.nn.Module:
    return load_animate_model(find_generator(str(folder), "animate"), CPU, torch.float32)


def change(file: Path, edit: Callable[[Tensors], object]) -> None:
    tensors = load_file(file)
    edit(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def shard_of(folder: Path, name: str) -> Path:
    index = json.loads((folder / "diffusion_pytorch_model.safetensors.index.json").read_text())
    return folder / index["weight_map"][name]


DAMAGE: list[tuple[str, Callable[[Tensors], object], str]] = [
    ("removed", lambda tensors: tensors.pop("patch_embedding.bias"), r"patch_embedding\.bias"),
    (
        "of another shape",
        lambda tensors: tensors.update({"patch_embedding.bias": torch.zeros(7)}),
        r"tensor patch_embedding\.bias has the shape \[7\], not \[24\]",
    ),
    ("added", lambda tensors: tensors.update({"blocks.0.gate": torch.zeros(7)}), r"blocks\.0\.gate"),
]


@pytest.mark.parametrize("layout", ["diffusers", "official"])
@pytest.mark.parametrize(("edit", "says"), [row[1:] for row in DAMAGE], ids=[row[0] for row in DAMAGE])
def test_a_changed_tensor_is_named(
    layout: str, edit: Callable[[Tensors], object], says: str, folder: Callable[[str], Path]
) -> None:
    root = folder(layout)
    if layout == "official":
        change(shard_of(root, "patch_embedding.bias"), edit)
    else:
        change(root / "transformer" / "diffusion_pytorch_model.safetensors", edit)
    with pytest.raises(ModelBroken, match=says) as caught:
        load(root)
    assert "\n" not in str(caught.value) and str(root) in str(caught.value)


def test_a_tensor_in_two_shards_is_named(folder: Callable[[str], Path]) -> None:
    root = folder("official")
    first, second, *_ = find_generator(str(root), "animate").weights
    name = next(iter(load_file(first)))
    change(second, lambda tensors: tensors.update({name: torch.zeros(1)}))
    with pytest.raises(ModelBroken, match=f"holds tensor {name}, which {first.name} holds too"):
        load(root)


def test_official_names_in_a_diffusers_folder(folder: Callable[[str], Path]) -> None:
    """Names are told by the tensors, not by where they lie."""
    official, diffusers = folder("official"), folder("diffusers")
    expected = load(diffusers).state_dict()
    shutil.rmtree(diffusers / "transformer")
    (diffusers / "transformer").mkdir()
    for file in [*official.glob("diffusion_*"), official / "config.json"]:
        shutil.copy(file, diffusers / "transformer")
    assert find_generator(str(diffusers), "animate").layout == "diffusers"
    found = load(diffusers).state_dict()
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


@pytest.mark.parametrize("layout", ["diffusers", "official"])
def test_loaded_for_use_alone(layout: str, made: Path) -> None:
    model = load(made / layout)
    assert not model.training and not any(weight.requires_grad for weight in model.parameters())
    places = [*model.parameters(), *model.buffers()]
    assert {tensor.device for tensor in places} == {CPU} and all(map(torch.Tensor.is_contiguous, places))
