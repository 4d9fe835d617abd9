"""The loop on a GPU: everything is where it has to be, and the frames are the CPU's."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.animate_clip import drawn, memory_clip, records_of

from wanprep_infer.animate import AnimatePipeline, AnimateSettings
from wanprep_infer.conditioning import AnimateConditioning

torch = pytest.importorskip("torch")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
@pytest.mark.parametrize("offload", ["none", "model", "group"])
def test_a_gpu_gives_the_frames_of_the_cpu(generator_folder: Path, tmp_path: Path, offload: str) -> None:
    from wanprep_infer.memory import MemoryConfig

    records = records_of(
        drawn(15),
        tmp_path,
        generator_folder / "vae",
        length=9,
        overlap=1,
        replaces=True,
        rounding="bfloat16",
        rule="replace",
    )
    conditioning = AnimateConditioning.from_clip(memory_clip(records), "replace")
    settings = AnimateSettings(mode="replace", steps=2, guidance=2.0)
    memory = MemoryConfig.model_validate({"offload": offload})
    on_gpu = AnimatePipeline.from_pretrained(
        str(generator_folder), device="cuda", precision="float32", memory=memory
    )
    on_cpu = AnimatePipeline.from_pretrained(str(generator_folder), device="cpu", precision="float32")
    assert on_gpu.device.type == "cuda"
    for part, wanted in zip(
        on_gpu.generate(conditioning, settings, 5), on_cpu.generate(conditioning, settings, 5), strict=True
    ):
        assert part.device.type == "cpu"
        torch.testing.assert_close(part, wanted, rtol=0, atol=0.02)
