"""The digest of weights by their values: it tells models apart, not files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from stages.latents.tiny import write_wan21  # noqa: E402
from wanprep.models.fingerprint import weights_fingerprint  # noqa: E402
from wanprep.models.tiny_components import vae_z16  # noqa: E402
from wanprep.models.vae import Vae, load_vae  # noqa: E402
from wanprep_infer.tiny.official import write_vae_pth  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny Wan2.1 VAE as a diffusers folder, in float32."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("vae")
    write_wan21(root, 3)
    return root


@pytest.fixture(scope="module")
def vae(folder: Path) -> Vae:
    return load_vae(str(folder), "cpu")


def test_official_file_and_diffusers_folder_of_the_same_vae_agree(vae: Vae, tmp_path: Path) -> None:
    write_vae_pth(tmp_path / "Wan2.1_VAE.pth", vae.model)
    official = load_vae(str(tmp_path), "cpu")
    assert official.fingerprint == vae.fingerprint
    assert len(official.fingerprint) == 32


def test_precisions_agree(vae: Vae, folder: Path) -> None:
    assert load_vae(str(folder), "cpu", "bfloat16").fingerprint == vae.fingerprint


def test_a_file_in_bfloat16_agrees(vae: Vae, folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    save_file({name: tensor.bfloat16() for name, tensor in tensors.items()}, tmp_path / "vae.safetensors")
    assert load_vae(str(tmp_path / "vae.safetensors"), "cpu").fingerprint == vae.fingerprint


def test_another_vae_differs(vae: Vae) -> None:
    assert weights_fingerprint(vae_z16(4).state_dict()) != vae.fingerprint
    assert weights_fingerprint(vae_z16(3).state_dict()) == vae.fingerprint


_ONE = {"a": torch.linspace(-2, 2, 12).reshape(3, 4), "b": torch.ones(5)}


def test_order_of_names_does_not_matter() -> None:
    assert weights_fingerprint(dict(reversed(_ONE.items()))) == weights_fingerprint(_ONE)


def test_where_a_value_lies_in_memory_does_not_matter() -> None:
    assert weights_fingerprint({**_ONE, "a": _ONE["a"].T.contiguous().T}) == weights_fingerprint(_ONE)


@pytest.mark.parametrize(
    "other",
    [
        {"a": _ONE["a"]},
        {"a": _ONE["a"].reshape(4, 3), "b": _ONE["b"]},
        {"a": _ONE["a"], "c": _ONE["b"]},
        {**_ONE, "c": torch.zeros(0)},
    ],
    ids=["less", "shape", "name", "empty"],
)
def test_names_and_shapes_count(other: dict[str, Any]) -> None:
    assert weights_fingerprint(other) != weights_fingerprint(_ONE)


@given(st.integers(0, 11), st.floats(-3, 3, width=32))
def test_any_value_counts_as_bfloat16_has_it(place: int, value: float) -> None:
    changed = _ONE["a"].clone()
    changed.view(-1)[place] = value
    same = torch.equal(changed.bfloat16().view(torch.int16), _ONE["a"].bfloat16().view(torch.int16))
    assert (weights_fingerprint({**_ONE, "a": changed}) == weights_fingerprint(_ONE)) == same


def test_offloaded_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"tensor a has no values at hand: take the fingerprint"):
        weights_fingerprint({"a": torch.zeros(2, device="meta")})


def test_whole_numbers_are_no_weights() -> None:
    with pytest.raises(ValueError, match=r"tensor a has values of type torch\.int64"):
        weights_fingerprint({"a": torch.zeros(2, dtype=torch.int64)})
