"""A checkpoint is exactly what its files say, or one line that names the file and the tensor."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from wanprep.models.errors import ModelBroken
from wanprep.models.loading import (
    check_loading_info,
    check_safetensors,
    from_pretrained,
    load_pth,
    load_state,
    strict_load,
)

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(ModelBroken) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600
    return text


@pytest.fixture(scope="module")
def wav2vec2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with a head that the bare model does not have, as the published one has."""
    transformers = pytest.importorskip("transformers")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(4, 4),
        conv_stride=(5, 2),
        conv_kernel=(10, 3),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        vocab_size=8,
    )
    folder = tmp_path_factory.mktemp("models") / "wav2vec2"
    transformers.Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder


@pytest.fixture
def copy(wav2vec2: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((wav2vec2 / name).read_bytes())
    return folder


def load(folder: Path) -> Any:
    import transformers

    return from_pretrained(transformers.Wav2Vec2Model, folder, ignore=[r"lm_head\."], dtype=torch.float32)


def change(folder: Path, changes: Mapping[str, Any]) -> None:
    """Rewrites the weights with some tensors replaced, added or (None) left out."""
    path = folder / "model.safetensors"
    state = {**safetensors_torch.load_file(path), **changes}
    kept = {name: tensor for name, tensor in state.items() if tensor is not None}
    safetensors_torch.save_file(kept, path, metadata={"format": "pt"})


TENSOR = "wav2vec2.encoder.layers.0.attention.q_proj.weight"


def test_a_whole_checkpoint_loads_and_a_head_may_be_left_over(copy: Path, caplog: Any, capfd: Any) -> None:
    model = load(copy)
    stored = safetensors_torch.load_file(copy / "model.safetensors")[TENSOR]
    assert torch.equal(model.encoder.layers[0].attention.q_proj.weight, stored)
    shown = capfd.readouterr()
    assert (shown.out, shown.err, caplog.text) == ("", "", "")


def test_tensors_that_are_missing_left_over_or_misshapen_are_named(copy: Path) -> None:
    change(copy, {TENSOR: None})
    assert f"model {copy}: lacks the tensor encoder.layers.0.attention.q_proj.weight" in refusal(
        lambda: load(copy)
    )
    change(copy, {TENSOR: torch.zeros(3, 5)})
    assert "q_proj.weight has the shape [3, 5], not [8, 8]" in refusal(lambda: load(copy))
    change(copy, {TENSOR: torch.zeros(8, 8), "spare.weight": torch.zeros(2)})
    assert "holds the tensor spare.weight, which this kind of model does not have" in refusal(
        lambda: load(copy)
    )


def test_damaged_files_are_named(copy: Path) -> None:
    path = copy / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    assert f"model {path}: is cut short at" in refusal(lambda: load(copy))
    path.unlink()
    assert "model.safetensors" in refusal(lambda: load(copy))
    path.write_bytes(whole)
    (copy / "config.json").write_text("{")
    assert "config.json" in refusal(lambda: load(copy))
    (copy / "config.json").unlink()
    assert "has no config.json" in refusal(lambda: load(copy))


class Planted:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.trace),))


def test_a_planted_pickle_is_never_opened(copy: Path, tmp_path: Path) -> None:
    from wanprep.models.resolve import digest, missing

    trace = tmp_path / "opened"
    torch.save({"weight": Planted(trace)}, copy / "pytorch_model.bin")
    load(copy)
    digest(str(copy))
    (copy / "model.safetensors").unlink()
    refusal(lambda: load(copy))
    lack = missing(str(copy))
    assert lack is not None and "pytorch_model.bin only, a pickle, which is not opened" in lack
    torch.save({"weight": Planted(trace)}, copy / "weights.pth")
    assert "holds more than tensors" in refusal(lambda: load_pth(copy / "weights.pth"))
    assert not trace.exists()
    torch.load(copy / "weights.pth", weights_only=False)
    assert trace.exists(), "the trap does not work"


@pytest.mark.parametrize("new", [True, False], ids=["zip", "older"])
def test_a_pth_file_gives_its_tensors(new: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    torch.save(state, path, _use_new_zipfile_serialization=new)
    found = load_pth(path)
    assert found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)


def test_a_pth_file_of_anything_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save([torch.ones(2)], path)
    assert "is no mapping of names to tensors" in refusal(lambda: load_pth(path))
    torch.save({"state_dict": {"a": torch.ones(2)}}, path)
    assert "is no mapping of names to tensors" in refusal(lambda: load_pth(path))
    path.write_bytes(b"junk")
    assert "is no file of tensors" in refusal(lambda: load_pth(path))
    assert "is no file of tensors" in refusal(lambda: load_pth(tmp_path / "nowhere.pth"))


def test_a_state_goes_in_whole_or_not_at_all(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 3)
    good = {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}
    load_state(module, good, tmp_path)
    assert torch.equal(module.weight, good["weight"])
    assert "lacks the tensor bias" in refusal(
        lambda: load_state(module, {"weight": good["weight"]}, tmp_path)
    )
    assert "holds the tensor scale" in refusal(
        lambda: load_state(module, {**good, "scale": torch.ones(1)}, tmp_path)
    )
    assert "tensor weight has the shape [2, 3], not [3, 2]" in refusal(
        lambda: load_state(module, {**good, "weight": torch.ones(2, 3)}, tmp_path)
    )


def test_many_tensors_are_counted() -> None:
    text = refusal(lambda: check_loading_info({"missing_keys": {f"a{n}" for n in range(9)}}, Path("m")))
    assert text == "model m: lacks the tensors a0, a1, a2 and 6 more"
    assert "went wrong" in refusal(lambda: check_loading_info({"error_msgs": ["it\nwent wrong"]}, Path("m")))
    check_loading_info({"unexpected_keys": ["lm_head.bias"]}, Path("m"), ignore=[r"lm_head\."])


def test_trouble_while_loading_is_one_line(tmp_path: Path) -> None:
    def fail(error: BaseException) -> Callable[[], Any]:
        def load() -> Any:
            raise error

        return load

    text = refusal(lambda: strict_load(fail(KeyError("in\nthe config")), tmp_path))
    assert text.startswith(f"model {tmp_path}: cannot be loaded (KeyError: ")
    for passed in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), KeyboardInterrupt()):
        with pytest.raises(type(passed)):
            strict_load(fail(passed), tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"1234567", struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 9) + b"{}", b"\xff" * 64),
        struct.pack("<Q", 0),
        struct.pack("<Q", 1 << 62) + b"{}",
        struct.pack("<Q", 7) + b'{"a":1}',
        struct.pack("<Q", 24) + b'{"a":{"data_offsets":1}}',
    ],
)
def test_headers_that_are_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert str(path) in refusal(lambda: check_safetensors(path))
