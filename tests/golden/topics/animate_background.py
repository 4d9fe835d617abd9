"""What replacement keeps of the video: mask channels of all segments, latents of the first segment's background."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from golden.golden_file import GoldenFile
from golden.topic import Topic

_MASK_CHANNELS = 4


def _replacements(file: GoldenFile) -> list[str]:
    """diffusers' vectors have the inputs of the official ones, in the same order."""
    inputs = file.companion("conditioning_official.npz")
    return [case for case in inputs.cases() if "bg" in inputs.case(case)]


def check(file: GoldenFile, case: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from safetensors.numpy import save_file

    from schemas import ClipRecord
    from stages.latents.animate import SegmentsConfig, SegmentWriter
    from stages.latents.vae_coder import VaeCoder
    from wanprep.animate.segment_mask import replacement_channels
    from wanprep.animate.segments import segments
    from wanprep.stage import ClipContext

    official = "official" in file.name
    inputs, wanted = file.companion("conditioning_official.npz").case(case), file.case(case)
    length, carried = int(inputs["clip_len"]), int(inputs["refert_num"])
    ground_THWC = inputs["bg"]
    found = segments(len(ground_THWC), length, carried, "official")
    assert len(found.windows) == int(wanted["n_segments"])

    def stored(values: Any) -> Any:
        """As the vectors hold them: the official code keeps what the model takes in bfloat16."""
        tensor = torch.tensor(values)
        return (tensor.bfloat16() if official else tensor).float().numpy()

    replaced_THW = stored(inputs["mask"].astype(np.float32) / 255)
    for index, (start, stop) in enumerate(found.windows):
        part_THW = replaced_THW[found.indices_T[start:stop]]
        made = stored(replacement_channels(part_THW, carried if index else 0))
        y = wanted[f"s{index}_y"][:, 1:]  # the reference comes first
        np.testing.assert_allclose(made, y[:_MASK_CHANNELS], rtol=0, atol=0 if official else 1e-5)

    with TemporaryDirectory() as name:
        folder = Path(name)
        weights = folder / "vae.safetensors"
        save_file(dict(file.companion("tiny_vae.npz").arrays), weights)
        config = SegmentsConfig(
            backend="vae",
            model=str(weights),
            device="cpu",
            pixel_rounding="bfloat16" if official else "float32",
            segment_frames=length,
            segment_overlap=carried,
        )
        height, width = ground_THWC.shape[1:3]
        context = ClipContext(ClipRecord(clip_id="golden", recipe="golden"), {}, folder)
        writer = SegmentWriter(VaeCoder(config), config, len(ground_THWC), (width, height), context)
        for picture_HWC in ground_THWC:
            writer.add(picture_HWC[None])
        record = writer.finish(view="background", fit="letterbox")
        assert record.segment_starts == [start for start, _ in found.windows]
        made_CTHW = stored(record.segment_CTHW(0, whitened=True))
        context.close()
    wanted_CTHW = wanted["s0_y"][_MASK_CHANNELS:, 1:]
    tolerance = {"rtol": 2**-7, "atol": 1e-3} if official else {"rtol": 0, "atol": 1e-3}  # 1 bfloat16 step
    np.testing.assert_allclose(made_CTHW, wanted_CTHW, **tolerance)


TOPICS = [
    Topic(
        files=("animate/conditioning_*.npz",),
        companions=("animate/tiny_vae*.npz",),
        check=check,
        cases=_replacements,
    )
]
