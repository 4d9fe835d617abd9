"""What loading has in common for every kind of generator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from wanprep.models.errors import ModelOutOfMemory  # noqa: E402
from wanprep.models.resolve import LocalModel  # noqa: E402
from wanprep_infer.animate import AnimatePipeline  # noqa: E402
from wanprep_infer.memory import MemoryConfig  # noqa: E402
from wanprep_infer.models import loaded  # noqa: E402
from wanprep_infer.s2v import S2VPipeline  # noqa: E402
from wanprep_infer.tiny.pipelines import write_animate_14b  # noqa: E402
from wanprep_infer.tiny.s2v import write_s2v_14b  # noqa: E402

torch.set_num_threads(1)  # threads cost more than they bring at these sizes


@pytest.fixture(scope="module", params=["animate", "s2v"])
def load(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Loads a tiny model on the CPU."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    pipeline: Any
    if request.param == "animate":
        write_animate_14b(folder, 0)
        pipeline = AnimatePipeline
    else:
        write_s2v_14b(folder, 0)
        pipeline = S2VPipeline
    return lambda **options: pipeline.from_pretrained(str(folder), device="cpu", **options)


@pytest.mark.parametrize("where", ["attach", "place"])
def test_a_gpu_that_is_too_small_is_one_line(
    load: Callable[..., Any], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While weights come to it, and where they all lie: it was torch's error with its traceback."""

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 136.00 MiB.\nGPU 0 has 0 bytes free."
        )

    monkeypatch.setattr(loaded, where, full)
    with pytest.raises(ModelOutOfMemory) as error:
        load(memory=MemoryConfig(tile=256))
    text = str(error.value)
    assert "does not fit on the GPU (CUDA out of memory." in text and "\n" not in text
    assert "; try --offload model, then --weights fp8, then --offload group, then " in text


def test_loading_does_not_read_the_transformer_twice(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its digest is for keys, and 69 GB took a minute; that of the VAE alone says whether latents fit."""
    asked: list[str] = []
    digest = LocalModel.digest

    def seen(model: LocalModel) -> str:
        asked.append(model.path.name)
        return digest(model)

    monkeypatch.setattr(LocalModel, "digest", seen)
    load()
    assert len(asked) == 1 and asked[0] in ("vae", "Wan2.1_VAE.pth")
