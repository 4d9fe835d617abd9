"""Animate's motion encoder out of a transformer's files: from every layout the same, and only what is needed."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from helpers import motion_files as made  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from wanprep.models import registry  # noqa: E402
from wanprep.models.errors import ModelBroken, ModelMissing  # noqa: E402
from wanprep.models.motion_encoder import (  # noqa: E402
    MotionEncoder,
    find_motion_encoder,
    load_motion_encoder,
    missing_motion_encoder,
    motion_encoder_digest,
    motion_weights_digest,
)
from wanprep.models.motion_keys import MOTION_PREFIX, diffusers_motion_name  # noqa: E402
from wanprep.models.tensor_files import tensor_files  # noqa: E402

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "animate" / "state_dict_14b_official.json"
NAME = "wan2.2-animate-14b"
INDEX = f"{made.STEM}.safetensors.index.json"


@pytest.fixture(scope="module")
def whole() -> Any:
    torch.set_num_threads(1)
    return made.encoder(1)


@pytest.fixture(scope="module")
def root(whole: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One encoder in each layout."""
    folder = tmp_path_factory.mktemp("motion")
    ours, theirs = made.diffusers_tensors(whole), made.official_tensors(whole)
    made.write(folder / "pipeline" / "transformer", ours)
    made.write(folder / "sharded" / "transformer", ours, shards=4)
    made.write(folder / "official", theirs, shards=3)
    made.write(folder / "half", {name: tensor.bfloat16() for name, tensor in ours.items()})
    shutil.copy(folder / "half" / f"{made.STEM}.safetensors", folder / "one.safetensors")
    return folder


@pytest.fixture(scope="module")
def encoder(root: Path) -> MotionEncoder:
    return load_motion_encoder(str(root / "pipeline"), "cpu", "float32")


LAYOUTS = ["pipeline", "pipeline/transformer", "sharded", "official"]


def faces(count: int) -> Any:
    return (np.random.default_rng(0).random((3, count, made.SIZE, made.SIZE), np.float32) * 2 - 1).astype(
        np.float32
    )


def test_the_official_names_are_all_of_the_published_encoder() -> None:
    shapes = {
        name: tuple(shape)
        for name, shape in json.loads(GOLDEN.read_bytes()).items()
        if name.startswith(MOTION_PREFIX)
    }
    with torch.device("meta"):
        published = made.WanAnimateMotionEncoder()
    found = {}
    for name, shape in shapes.items():
        if (ours := diffusers_motion_name(name)) is not None:
            found[ours] = shape[1:2] if ours.endswith("act_fn.bias") else shape
    assert found == {
        MOTION_PREFIX + name: tuple(tensor.shape) for name, tensor in published.state_dict().items()
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_vectors(root: Path, whole: Any, layout: str) -> None:
    loaded = load_motion_encoder(str(root / layout), "cpu", "float32")
    assert (loaded.size, loaded.channels) == (made.SIZE, made.CHANNELS)
    pixels = faces(3)
    wanted_TC = whole(torch.from_numpy(pixels).movedim(1, 0)).numpy()
    np.testing.assert_array_equal(loaded.encode(pixels), wanted_TC)
    assert np.std(wanted_TC) > 0.1


@pytest.mark.parametrize("layout", [*LAYOUTS, "half", "one.safetensors"])
def test_every_layout_and_precision_has_the_same_digest(root: Path, whole: Any, layout: str) -> None:
    assert motion_weights_digest(str(root / layout)) == motion_encoder_digest(whole)
    assert load_motion_encoder(str(root / layout), "cpu").digest == motion_encoder_digest(whole)


def test_another_encoder_has_another_digest(root: Path, tmp_path: Path) -> None:
    made.write(tmp_path / "other", made.diffusers_tensors(made.encoder(2)))
    assert motion_weights_digest(str(tmp_path / "other")) != motion_weights_digest(str(root / "pipeline"))


def test_a_generators_transformer_has_the_same_digest_and_vectors(tmp_path: Path) -> None:
    from diffusers import WanAnimateTransformer3DModel

    from wanprep_infer.tiny.pipelines import write_animate_14b

    write_animate_14b(tmp_path, 3)
    pixels = faces(2)
    for precision in ("float32", "bfloat16"):
        kind = getattr(torch, precision)
        transformer = WanAnimateTransformer3DModel.from_pretrained(
            tmp_path / "transformer", torch_dtype=kind, local_files_only=True
        )
        loaded = load_motion_encoder(str(tmp_path), "cpu", precision)  # type: ignore[arg-type]
        assert loaded.digest == motion_encoder_digest(transformer.motion_encoder)
        with torch.no_grad():
            theirs_TC = transformer.motion_encoder(torch.from_numpy(pixels).movedim(1, 0).to(kind)).float()
        np.testing.assert_array_equal(loaded.encode(pixels), theirs_TC.numpy())


@settings(max_examples=20)
@given(st.integers(0, 6), st.integers(0, 6))
def test_each_frame_stands_for_itself(encoder: MotionEncoder, one: int, other: int) -> None:
    start, stop = sorted((one, other))
    pixels = faces(6)
    part_TC = encoder.encode(pixels[:, start:stop])
    assert part_TC.shape == (stop - start, made.CHANNELS)
    np.testing.assert_allclose(part_TC, encoder.encode(pixels)[start:stop], atol=1e-5)


def test_a_full_gpu_takes_fewer_faces_at_a_time(
    encoder: MotionEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, forward, taken = faces(5), encoder.model.forward, []
    wanted_TC = encoder.encode(pixels)

    def small(part_TCHW: Any) -> Any:
        taken.append(len(part_TCHW))
        if len(part_TCHW) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(part_TCHW)

    monkeypatch.setattr(encoder.model, "forward", small)
    np.testing.assert_allclose(encoder.encode(pixels), wanted_TC, atol=1e-5)
    assert taken == [5, 2, 2, 1]


def without(folder: Path, number: int) -> Path:
    (file,) = folder.glob(f"*-{number:05d}-of-*.safetensors")
    file.unlink()
    return file


def test_shards_without_the_encoder_need_not_be_there(root: Path, tmp_path: Path, whole: Any) -> None:
    folder = shutil.copytree(root / "sharded", tmp_path / "model")
    without(folder / "transformer", 1)
    assert missing_motion_encoder(str(folder)) is None
    assert load_motion_encoder(str(folder), "cpu").digest == motion_encoder_digest(whole)
    gone = without(folder / "transformer", 3)
    told = missing_motion_encoder(str(folder))
    assert told is not None and f"{gone} is missing, which holds motion_encoder." in told and "\n" not in told
    with pytest.raises(ModelMissing, match="is missing, which holds motion_encoder"):
        load_motion_encoder(str(folder), "cpu")


def test_a_registered_model_that_is_here_in_part_is_enough(
    root: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = missing_motion_encoder(NAME)
    assert nowhere is not None and "`wanprep models fetch wan2.2-animate-14b` brings it" in nowhere
    entry = registry.entries()[NAME]
    repository = home / "hub" / f"models--{entry.repository.replace('/', '--')}"
    cached = repository / "snapshots" / ("a" * 40)
    shutil.copytree(root / "sharded", cached)
    (repository / "refs").mkdir()
    (repository / "refs" / entry.revision).write_text("a" * 40)
    without(cached / "transformer", 1)
    assert missing_motion_encoder(NAME) is None
    assert find_motion_encoder(NAME).path == cached / "transformer"
    assert missing_motion_encoder(entry.repository) is None  # as a hub id, too
    without(cached / "transformer", 2)
    told = missing_motion_encoder(NAME)
    assert told is not None and "is missing, which holds" in told and "`wanprep models fetch" in told
    monkeypatch.setenv("WANPREP_MODELS", str(home / "mine"))
    shutil.copytree(root / "pipeline", home / "mine" / NAME)
    assert find_motion_encoder(NAME).path == home / "mine" / NAME / "transformer"


def test_another_model_is_told(tmp_path: Path) -> None:
    folder = made.write(tmp_path / "t2v" / "transformer", {"blocks.1.x": torch.zeros(2)})
    told = missing_motion_encoder(str(tmp_path / "t2v"))
    assert told is not None and told.endswith(
        f"{folder} has no motion encoder: it is no transformer of Wan2.2-Animate"
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelMissing, match=r"has no diffusion_pytorch_model\.safetensors, nor an index"):
        find_motion_encoder(str(tmp_path / "empty"))
    with pytest.raises(ModelMissing, match="there is no such folder or file"):
        find_motion_encoder(str(tmp_path / "nowhere"))


BROKEN = {
    "missing": r"lacks the tensor motion_network\.2\.bias",
    "missing size": r"tensor motion_encoder\.conv_in\.weight is missing",
    "left over": r"holds the tensor extra\.weight",
    "misshapen": r"tensor conv_out\.weight has the shape",
    "type": r"motion_encoder\.conv_out\.weight is of type 'I64'; taken are F32",
    "cut": "is cut short at",
    "index": "is no index of weights",
    "moved": r"lacks tensor motion_encoder\.\S+, which its index says is in it",
}


@pytest.mark.parametrize("damage", BROKEN)
def test_damage_is_one_line_that_names_the_tensor(whole: Any, tmp_path: Path, damage: str) -> None:
    tensors = made.diffusers_tensors(whole)
    if damage == "missing":
        del tensors["motion_encoder.motion_network.2.bias"]
    elif damage == "missing size":
        del tensors["motion_encoder.conv_in.weight"]
    elif damage == "left over":
        tensors["motion_encoder.extra.weight"] = torch.zeros(2)
    elif damage == "misshapen":
        tensors["motion_encoder.conv_out.weight"] = torch.zeros(12, 9, 4, 4)
    elif damage == "type":
        tensors["motion_encoder.conv_out.weight"] = torch.zeros((12, 10, 4, 4), dtype=torch.int64)
    folder = made.write(tmp_path / "model", tensors, shards=2)
    weights = folder / f"{made.STEM}-00002-of-00002.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-9])
    elif damage == "index":
        (folder / INDEX).write_text("[")
    elif damage == "moved":
        kept = load_file(weights)
        del kept[sorted(kept)[0]]
        save_file(kept, weights)
    with pytest.raises(ModelBroken, match=BROKEN[damage]) as refusal:
        load_motion_encoder(str(folder), "cpu")
    assert "\n" not in str(refusal.value) and str(folder) in str(refusal.value)


@pytest.mark.parametrize(
    "entry",
    [
        {"shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": ["a", 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [8, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]},
    ],
)
def test_a_damaged_entry_is_one_line(entry: dict[str, Any], tmp_path: Path) -> None:
    """It was a KeyError or TypeError of this code."""
    header = json.dumps({"motion_encoder.x": entry}).encode()
    file = tmp_path / f"{made.STEM}.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    files = tensor_files("mine", tmp_path, ("motion_encoder.",))
    for use in (files.nbytes, lambda: files.read("motion_encoder.x")):
        with pytest.raises(ModelBroken, match=r"entry of tensor motion_encoder\.x is damaged"):
            use()


@pytest.mark.parametrize(
    "name", ["motion_encoder.enc.net_app.convs.0.kernel", "motion_encoder.enc.fc.x.weight", "blocks.0.x"]
)
def test_names_of_no_known_form_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no tensor of the official motion encoder"):
        diffusers_motion_name(name)


def test_faces_of_another_size_are_refused(encoder: MotionEncoder) -> None:
    with pytest.raises(ValueError, match="resolution"):
        encoder.encode(np.zeros((3, 1, 8, 8), np.float32))
