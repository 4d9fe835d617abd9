"""Pose latents of every segment; of the condition the reference's part, and what animation knows in each segment."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from golden.golden_file import Array, GoldenFile
from golden.topic import Topic

_LATENTS = 1e-3
_MASK_CHANNELS = 4


def check(file: GoldenFile, case: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # pictures of 64 pixels: more threads wait for each other
    try:
        with TemporaryDirectory() as folder:
            _check(file, case, Path(folder))
    finally:
        torch.set_num_threads(threads)


def _check(file: GoldenFile, case: str, folder: Path) -> None:
    import torch
    from safetensors.numpy import save_file

    from schemas import ClipRecord
    from stages.latents.animate import SegmentWriter
    from stages.latents.fit import fit_picture
    from stages.latents.layout import whole
    from stages.latents.reference import ReferenceLatentsConfig
    from stages.latents.vae_coder import VaeCoder
    from stages.latents.writer import LatentWriter
    from stages.pose_latents import PoseLatentsConfig
    from wanprep.animate.mask_channels import known_frames, mask_channels
    from wanprep.stage import ClipContext

    inputs, wanted = file.companion("conditioning_official.npz").case(case), file.case(case)
    official = file.name.endswith("official.npz")
    save_file(dict(file.companion("tiny_vae.npz").arrays), folder / "vae.safetensors")
    encoder: dict[str, Any] = {
        "backend": "vae",
        "model": str(folder / "vae.safetensors"),
        "device": "cpu",
        "pixel_rounding": "bfloat16" if official else "float32",
    }
    pose_THWC = inputs["pose"]
    size = (pose_THWC.shape[2], pose_THWC.shape[1])
    context = ClipContext(ClipRecord(clip_id="golden", recipe="golden"), {}, folder)
    config = PoseLatentsConfig(
        segment_frames=int(inputs["clip_len"]), segment_overlap=int(inputs["refert_num"]), **encoder
    )
    coder = VaeCoder(config)
    writer = SegmentWriter(coder, config, len(pose_THWC), size, context)
    for part_THWC in _parts(pose_THWC):
        writer.add(part_THWC)
    record = writer.finish(view="pose", fit="letterbox")
    assert record.segments == int(inputs["n_segments"])
    for segment in range(record.segments):
        np.testing.assert_allclose(
            record.segment_CTHW(segment, whitened=True),
            wanted[f"s{segment}_pose_latents"][0],
            rtol=0,
            atol=_LATENTS,
        )
        if not inputs["replace"]:
            mask = mask_channels(
                known_frames(
                    config.segment_frames, size[1] // 8, size[0] // 8, segment and config.segment_overlap
                )
            )
            np.testing.assert_array_equal(mask, wanted[f"s{segment}_y"][:_MASK_CHANNELS, 1:])
    if official:  # diffusers scales the reference with another filter
        one = LatentWriter(coder, ReferenceLatentsConfig(**encoder), whole(1, "skip"), size, context)
        one.add(fit_picture(inputs["ref_rgb"], size, "letterbox")[None])
        made_CTHW = one.finish(view="reference", fit="letterbox").segment_CTHW(whitened=True)
        made_CTHW = torch.tensor(made_CTHW).bfloat16().float().numpy()
        for segment in range(record.segments):
            wanted_CTHW = wanted[f"s{segment}_y"][:, :1]
            assert (wanted_CTHW[:_MASK_CHANNELS] == 1).all()
            np.testing.assert_allclose(made_CTHW, wanted_CTHW[_MASK_CHANNELS:], rtol=2**-7, atol=_LATENTS)
    context.close()


def _parts(frames_THWC: Array) -> Iterable[Array]:
    """In pieces that fit no latent frame."""
    return np.array_split(frames_THWC, range(3, len(frames_THWC), 3))


TOPICS = [
    Topic(
        files=("animate/conditioning_*.npz",),
        companions=("animate/tiny_vae*.npz",),
        check=check,
    )
]
