"""umT5 from all its layouts: the same states, any batch, cut to the limit with the end mark kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.tensor import BFLOAT16, Tensor
from stages.text.layout import OFFICIAL_TOKENIZER, OFFICIAL_WEIGHTS, find_umt5
from stages.text.umt5 import Umt5Encoder
from wanprep.models.errors import ModelBroken, ModelMissing, ModelOutOfMemory

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ENGLISH = "A man in a dark suit talks to the camera and waves his hands."
CHINESE = "视频中的人在做动作，背景是夜晚的街道"
TEXTS = [ENGLISH, CHINESE, "", "dance", "跳舞 😀 " + ENGLISH]
Edit = Callable[[dict[str, Any]], None]


def encoder(folder: Path, **options: Any) -> Umt5Encoder:
    chosen = {
        "device": "cpu",
        "precision": "float32",
        "storage": "float32",
        "limit": 512,
        "batch": 8,
        **options,
    }
    return Umt5Encoder(find_umt5(folder), **chosen)


def encoded(found: Umt5Encoder, *texts: str) -> list[Tensor]:
    return found.encode([found.tokens(text) for text in texts])


def test_states_are_those_of_the_bare_library(tiny: Path) -> None:
    """Padded to 512 with a mask and trimmed, as Wan does it."""
    ours = encoder(tiny)
    model = transformers.UMT5EncoderModel.from_pretrained(tiny / "text_encoder", dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny / "tokenizer")
    for text, states_LC in zip(TEXTS, encoded(ours, *TEXTS), strict=True):
        padded = tokenizer(text, padding="max_length", max_length=512, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            whole = model(padded.input_ids, attention_mask=padded.attention_mask).last_hidden_state[0]
        length = int(padded.attention_mask.sum())
        assert tuple(padded.input_ids[0, :length].tolist()) == ours.tokens(text).ids
        np.testing.assert_allclose(states_LC, whole[:length].numpy(), atol=2e-6)


def test_layouts_give_the_same_states(tiny: Path, tiny_official: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    shutil.copytree(tiny / "text_encoder", flat)
    shutil.copy(tiny / "tokenizer/tokenizer.json", flat)
    expected = encoded(encoder(tiny), *TEXTS)
    for place in (tiny / "text_encoder", tiny_official, tiny_official / OFFICIAL_WEIGHTS, flat):
        for found, wanted in zip(encoded(encoder(place), *TEXTS), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_a_text_ends_with_its_mark_and_is_all_there(tiny: Path, text: str) -> None:
    found = encoder(tiny)
    tokens = found.tokens(text)
    assert tokens.ids[-1] == 1 and tokens.total == len(tokens.ids) and tokens.truncated == 0
    (states_LC,) = encoded(found, text)
    assert states_LC.shape == (tokens.total, 32)
    others = encoded(found, text.replace("man", "woman").replace("人", "女"))[0]
    assert others.shape != states_LC.shape or not np.allclose(others, states_LC)


def test_the_empty_text_is_its_end_mark(tiny: Path) -> None:
    found = encoder(tiny)
    assert found.tokens("").ids == (1,)
    assert encoded(found, "")[0].shape == (1, 32)


def test_batches_change_no_more_than_the_last_bits(tiny: Path) -> None:
    found = encoder(tiny)
    together = encoded(found, *TEXTS)
    for text, states_LC in zip(TEXTS, together, strict=True):
        (alone,) = encoded(found, text)
        np.testing.assert_allclose(states_LC, alone, atol=2e-6)


@pytest.mark.parametrize(("words", "tokens"), [(510, 511), (511, 512), (512, 513), (4999, 5000)])
def test_a_long_text_is_cut_with_its_end_mark_and_counted(tiny: Path, words: int, tokens: int) -> None:
    found = encoder(tiny)
    text = " ".join(["a"] * words)
    cut = found.tokens(text)
    assert cut.total == tokens and cut.truncated == max(0, tokens - 512)
    assert cut.ids[-1] == 1 and 1 not in cut.ids[:-1] and len(cut.ids) == min(tokens, 512)
    assert encoded(found, text)[0].shape == (min(tokens, 512), 32)


@pytest.mark.parametrize("storage", ["bfloat16", "float16", "float32"])
def test_states_are_rounded_once_when_they_are_stored(tiny: Path, storage: str) -> None:
    (exact,) = encoded(encoder(tiny), ENGLISH)
    (stored,) = encoded(encoder(tiny, storage=storage), ENGLISH)
    dtype = BFLOAT16 if storage == "bfloat16" else np.dtype(storage)
    assert stored.dtype == dtype
    np.testing.assert_array_equal(stored, exact.astype(dtype))


@pytest.mark.parametrize("layout", ["diffusers", "official"])
def test_half_precisions_stay_near(tiny: Path, tiny_official: Path, layout: str) -> None:
    folder = tiny if layout == "diffusers" else tiny_official
    (exact,) = encoded(encoder(folder), ENGLISH)
    for precision, near in (("bfloat16", 0.05), ("float16", 0.01)):
        (found,) = encoded(encoder(folder, precision=precision), ENGLISH)
        assert 0 < np.abs(found - exact).max() < near * np.abs(exact).max()


def test_memory_that_is_short_makes_smaller_batches(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = encoder(tiny, batch=4)
    expected = encoded(found, *TEXTS)
    sizes: list[int] = []
    states_BLC = found.states_BLC

    def short(ids_BL: Any, mask_BL: Any) -> Any:
        sizes.append(len(ids_BL))
        if len(ids_BL) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return states_BLC(ids_BL, mask_BL)

    monkeypatch.setattr(found, "states_BLC", short)
    for states_LC, wanted in zip(encoded(found, *TEXTS), expected, strict=True):
        np.testing.assert_allclose(states_LC, wanted, atol=2e-6)
    assert sizes == [4, 2, 1, 1, 1, 1, 1] and found.batch == 1

    def never(ids_BL: Any, mask_BL: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(found, "states_BLC", never)
    with pytest.raises(ModelOutOfMemory, match="size 1"):
        encoded(found, ENGLISH)


def test_states_that_are_not_finite_are_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = encoder(tiny, precision="float16")
    states_BLC = found.states_BLC
    monkeypatch.setattr(found, "states_BLC", lambda ids, mask: states_BLC(ids, mask) * torch.inf)
    with pytest.raises(
        ModelBroken, match=r"float16 gives states that are not finite; take precision=bfloat16"
    ):
        encoded(found, ENGLISH)


def test_states_that_leave_float16_are_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = encoder(tiny, storage="float16")
    states_BLC = found.states_BLC
    monkeypatch.setattr(found, "states_BLC", lambda ids, mask: states_BLC(ids, mask) * 1e6)
    with pytest.raises(ModelBroken, match="gives states beyond float16; take storage=bfloat16"):
        encoded(found, ENGLISH)


def test_a_list_is_batched_by_length_and_comes_back_in_order(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = encoder(tiny, batch=2)
    texts = ["a", ENGLISH, "b", CHINESE, ENGLISH + ENGLISH]
    alone = [encoded(found, text)[0] for text in texts]
    widths: list[int] = []
    states_BLC = found.states_BLC

    def noted(ids_BL: Any, mask_BL: Any) -> Any:
        widths.append(ids_BL.shape[1])
        return states_BLC(ids_BL, mask_BL)

    monkeypatch.setattr(found, "states_BLC", noted)
    for states_LC, wanted in zip(encoded(found, *texts), alone, strict=True):
        np.testing.assert_allclose(states_LC, wanted, atol=2e-6)
    lengths = sorted((len(states_LC) for states_LC in alone), reverse=True)
    assert widths == lengths[::2]


# What is wrong with a checkpoint is said in one line that names file and tensor.

Q = "blocks.1.attn.q.weight"


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda state: state.pop(Q), f"lacks the tensor {Q}"),
        (lambda state: state.pop("token_embedding.weight"), "lacks the tensor token_embedding.weight"),
        (
            lambda state: state.update({Q: state[Q][:5]}),
            rf"tensor {Q} has the shape \[5, 32\], not \[32, 32\]",
        ),
        (lambda state: state.update({Q: state[Q].int()}), f"tensor {Q} holds torch.int32"),
        (lambda state: state.update({"blocks.1.extra": state[Q]}), "holds the tensor blocks.1.extra"),
        (
            lambda state: state.update({"token_embedding.weight": state[Q][0]}),
            r"token_embedding.weight has .*\[32\]",
        ),
        (lambda state: state.update({Q: "weights"}), "is no mapping of names to tensors"),
        (lambda state: state.clear(), "lacks the tensor token_embedding.weight"),
        (
            lambda state: state.update({"token_embedding.weight": torch.zeros(8, 4096)}),
            "has 2 blocks; umT5-XXL has 24",
        ),
    ],
    ids=[
        "missing",
        "no embedding",
        "misshapen",
        "integers",
        "unknown",
        "vector",
        "no tensor",
        "empty",
        "cut off",
    ],
)
def test_a_broken_official_file(tiny_official: Path, tmp_path: Path, edit: Edit, said: str) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_official, folder)
    state = torch.load(folder / OFFICIAL_WEIGHTS, weights_only=True)
    edit(state)
    torch.save(state, folder / OFFICIAL_WEIGHTS)
    with pytest.raises(ModelBroken, match=said) as caught:
        encoder(folder)
    assert "\n" not in str(caught.value) and OFFICIAL_WEIGHTS in str(caught.value)


def test_an_official_file_cut_short(tiny_official: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_official, folder)
    data = (folder / OFFICIAL_WEIGHTS).read_bytes()
    (folder / OFFICIAL_WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelBroken, match="is no file of tensors"):
        encoder(folder)


NORM = "encoder.block.1.layer.0.layer_norm.weight"


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda state: state.pop(NORM), f"lacks the tensor {NORM}"),
        (lambda state: state.update({NORM: state[NORM][:4].clone()}), rf"tensor {NORM} has the shape \[4\]"),
        (
            lambda state: state.update({"encoder.extra": state[NORM].clone()}),
            "holds the tensor encoder.extra",
        ),
    ],
    ids=["missing", "misshapen", "unknown"],
)
def test_a_broken_folder(tiny: Path, tmp_path: Path, edit: Edit, said: str) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "broken"
    shutil.copytree(tiny, folder)
    (file,) = (folder / "text_encoder").glob("*.safetensors")
    state = load_file(file)
    edit(state)
    save_file(state, file, {"format": "pt"})
    with pytest.raises(ModelBroken, match=said) as caught:
        encoder(folder)
    assert "\n" not in str(caught.value)


def test_the_decoder_of_a_whole_checkpoint_is_left_aside(tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "whole"
    shutil.copytree(tiny, folder)
    (file,) = (folder / "text_encoder").glob("*.safetensors")
    extra = {"decoder.block.0.layer.0.layer_norm.weight": torch.ones(32), "lm_head.weight": torch.ones(8, 32)}
    save_file({**load_file(file), **extra}, file, {"format": "pt"})
    np.testing.assert_array_equal(encoded(encoder(folder), ENGLISH)[0], encoded(encoder(tiny), ENGLISH)[0])


# Tokenizer files


def test_a_tokenizer_with_spiece_model_alone_is_refused(
    tiny: Path, tiny_official: Path, tmp_path: Path
) -> None:
    for folder, place in ((tiny, "tokenizer"), (tiny_official, OFFICIAL_TOKENIZER)):
        copy = tmp_path / place
        shutil.copytree(folder, copy)
        (copy / place / "tokenizer.json").rename(copy / place / "spiece.model")
        with pytest.raises(ModelBroken, match=r"has no tokenizer.json \(spiece.model alone is not read\)"):
            encoder(copy)
        shutil.rmtree(copy / place)
        with pytest.raises(ModelMissing, match="has no tokenizer"):
            encoder(copy)


def test_a_tokenizer_that_is_none(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny, folder)
    file = folder / "tokenizer/tokenizer.json"
    document = json.loads(file.read_text())
    for broken, said in (
        ("{}", "is no tokenizer"),
        ("not JSON", "is no tokenizer"),
        (json.dumps(document).replace("</s>", "<end>"), "has no token </s>"),
    ):
        file.write_text(broken)
        with pytest.raises(ModelBroken, match=said):
            encoder(folder)


def test_a_tokenizer_of_another_model(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny, folder)
    file = folder / "tokenizer/tokenizer.json"
    document = json.loads(file.read_text())
    document["model"]["vocab"] += [[f"more{number}", -9.0] for number in range(100)]
    file.write_text(json.dumps(document))
    with pytest.raises(ModelBroken, match="do not belong together"):
        encoder(folder)


def test_bytes_stand_in_for_unknown_characters_where_the_file_says_so(tmp_path: Path) -> None:
    """transformers 5 rebuilds the tokenizer without them."""
    from tokenizers import Tokenizer, models

    from stages.text.tokenizer import Umt5Tokenizer

    marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("a", -1.0)]
    single = [(f"<0x{byte:02X}>", -9.0) for byte in range(256)]
    file = tmp_path / "tokenizer.json"
    Tokenizer(models.Unigram([*marks, *single], unk_id=2, byte_fallback=True)).save(str(file))
    tokens = Umt5Tokenizer(file, 512)("a跳")
    assert tokens.ids == (3, *(4 + byte for byte in "跳".encode()), 1)


def test_truncation_and_padding_in_the_file_are_not_taken_over(tiny: Path, tmp_path: Path) -> None:
    """A tokenizer that was saved after use carries both, and would cut without a word."""
    folder = tmp_path / "used"
    shutil.copytree(tiny, folder)
    file = folder / "tokenizer/tokenizer.json"
    from tokenizers import Tokenizer

    used = Tokenizer.from_file(str(file))
    used.enable_truncation(5)
    used.enable_padding(length=40)
    used.save(str(file))
    assert encoder(folder).tokens(ENGLISH) == encoder(tiny).tokens(ENGLISH)


def test_a_folder_without_an_encoder(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="has no umT5 encoder"):
        find_umt5(tmp_path)
    (tmp_path / "umt5_xxl_fp8.safetensors").write_bytes(b"")
    with pytest.raises(ModelMissing, match="is no umT5 encoder that can be read"):
        find_umt5(tmp_path / "umt5_xxl_fp8.safetensors")


def test_tiny_checkpoints_are_the_same_for_the_same_seed(tiny: Path, tmp_path: Path) -> None:
    from stages.text.tiny import make_umt5

    same, other = tmp_path / "same", tmp_path / "other"
    make_umt5(same, seed=3)
    make_umt5(other, seed=4)
    names = sorted(path.relative_to(tiny) for path in tiny.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(same) for path in same.rglob("*") if path.is_file())
    assert all((same / name).read_bytes() == (tiny / name).read_bytes() for name in names)
    weights = "text_encoder/model.safetensors"
    assert (other / weights).read_bytes() != (same / weights).read_bytes()
