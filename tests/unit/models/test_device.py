"""Where models run, and what happens when they do not fit."""

from __future__ import annotations

import pytest

from wanprep.errors import UsageError, WanprepError
from wanprep.models.device import check_extra, torch_device, torch_dtype, with_less
from wanprep.models.errors import ModelOutOfMemory

torch = pytest.importorskip("torch")


def test_auto_takes_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch_device("auto").type == torch_device("cpu").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert torch_device("auto").type == torch_device("cuda").type == "cuda"
    assert torch_device("cpu").type == "cpu"


def test_a_gpu_that_was_asked_for_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(UsageError, match="device=cuda: this torch is built without CUDA; take device=cpu"):
        torch_device("cuda")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    with pytest.raises(UsageError, match="device=cuda: torch finds no GPU"):
        torch_device("cuda")


def test_precisions() -> None:
    assert torch_dtype("float32") is torch.float32
    assert torch_dtype("bfloat16") is torch.bfloat16
    assert torch_dtype("float16") is torch.float16


def test_less_is_tried_when_it_does_not_fit() -> None:
    tried: list[int] = []

    def attempt(size: int) -> str:
        tried.append(size)
        if size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return f"done with {size}"

    assert with_less([8, 4, 2, 1], attempt) == "done with 2"
    assert tried == [8, 4, 2]


def test_what_never_fits_names_the_size() -> None:
    def attempt(size: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 9 GiB")

    with pytest.raises(ModelOutOfMemory, match=r"even with size 1: CUDA out of memory\. Tried") as caught:
        with_less([4, 1], attempt)
    assert isinstance(caught.value, WanprepError) and "\n" not in str(caught.value)


def test_other_trouble_is_not_tried_again() -> None:
    tried: list[int] = []

    def attempt(size: int) -> None:
        tried.append(size)
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        with_less([4, 1], attempt)
    assert tried == [4]
    with pytest.raises(ValueError, match="at least one size"):
        with_less([], attempt)


def test_what_a_failed_attempt_held_is_free_before_the_next() -> None:
    import weakref

    held: list[weakref.ref[object]] = []

    class Tensor:
        pass

    def attempt(size: int) -> None:
        assert all(reference() is None for reference in held), "the last attempt's tensors are still there"
        tensor = Tensor()
        held.append(weakref.ref(tensor))
        if size > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with_less([4, 2, 1], attempt)
    assert len(held) == 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_that_is_full_gets_less() -> None:
    free, _ = torch.cuda.mem_get_info()
    sizes = [4 * free, 2 * free, free // 64]
    made = with_less(sizes, lambda size: torch.empty(size, dtype=torch.uint8, device="cuda"))
    assert made.numel() == sizes[-1]
    with pytest.raises(ModelOutOfMemory, match=str(4 * free)):
        with_less([4 * free], lambda size: torch.empty(size, dtype=torch.uint8, device="cuda"))


def test_extras_are_looked_for_without_importing() -> None:
    assert check_extra("json", "torch") is None
    assert check_extra("json", "no_such_package") == "needs no_such_package: pip install 'wanprep[models]'"
    assert check_extra("no_such", "nor_this") == "needs no_such, nor_this: pip install 'wanprep[models]'"
