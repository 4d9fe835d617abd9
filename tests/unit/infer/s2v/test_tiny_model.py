"""The real transformer and VAE, tiny, from a folder in the official layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from helpers.s2v_conditioning import conditioning, latents_record, pose_record  # noqa: E402

from wanprep.models.tiny_components import AUDIO_WIDTH, TEXT_WIDTH  # noqa: E402
from wanprep_infer.conditioning.unfit import UnfitConditioning  # noqa: E402
from wanprep_infer.memory import MemoryConfig  # noqa: E402
from wanprep_infer.s2v import S2VPipeline, S2VSettings  # noqa: E402
from wanprep_infer.tiny.s2v import write_s2v_14b  # noqa: E402

QUICK = {"steps": 1, "frames_per_clip": 8, "guidance": 3.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny convolutions on many threads wait for each other
    path = tmp_path_factory.mktemp("model") / "wan2.2-s2v-14b"
    path.mkdir()
    write_s2v_14b(path, 0)
    yield path
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> S2VPipeline:
    return S2VPipeline.from_pretrained(str(folder), device="cpu", precision="float32")


def given(pipeline: S2VPipeline, seconds: float, settings: S2VSettings, **fields: Any) -> Any:
    rng = np.random.default_rng(1)
    latents_CTHW = rng.normal(size=(16, 1, 8, 8)).astype(np.float32)
    features = int(seconds * 30) - 1
    # One row stands for all, so that ten minutes take no memory here.
    states_TLC = np.broadcast_to(
        rng.normal(size=(1, 25, AUDIO_WIDTH)).astype(np.float32), (features, 25, AUDIO_WIDTH)
    )
    return conditioning(
        seconds,
        audio_TLC=states_TLC,
        text_LC=rng.normal(size=(5, TEXT_WIDTH)).astype(np.float32),
        negative_LC=rng.normal(size=(3, TEXT_WIDTH)).astype(np.float32),
        reference=latents_record(latents_CTHW, vae_weights=pipeline.vae.fingerprint),
        settings=settings,
        **fields,
    )


def frames(pipeline: S2VPipeline, seed: int = 1, **chosen: Any) -> Any:
    settings = S2VSettings.model_validate(QUICK | chosen)
    return torch.cat(list(pipeline.generate(given(pipeline, 0.5, settings), settings, seed)), 1)


def test_a_seed_gives_the_same_frames_again_and_another_gives_others(pipeline: S2VPipeline) -> None:
    first = frames(pipeline)
    assert first.shape == (3, 8, 64, 64) and first.isfinite().all() and first.abs().max() <= 1
    assert torch.equal(frames(pipeline), first)
    assert torch.equal(frames(pipeline, keep_keys_values=False), first)
    assert not torch.equal(frames(pipeline, seed=2), first)


def test_first_clips_of_ten_minutes_are_made_without_the_rest(pipeline: S2VPipeline) -> None:
    settings = S2VSettings.model_validate(QUICK | {"guidance": 1.0})
    long = given(pipeline, 600.0, settings, pose=pose_record(1, 8, vae_weights=pipeline.vae.fingerprint))
    assert long.frames == 9600
    made = pipeline.generate(long, settings, 0)
    parts = [next(made), next(made)]  # the second has no pose any more
    made.close()
    assert [part.shape[1] for part in parts] == [8, 8]
    short_settings = settings.model_copy(update={"clips": 2})
    short = given(pipeline, 1.0, short_settings, pose=long.pose)
    for part, again in zip(parts, pipeline.generate(short, short_settings, 0), strict=True):
        assert torch.equal(part, again)  # what comes later has no part in it


def test_memory_options_load_and_generate(folder: Path) -> None:
    tiled = S2VPipeline.from_pretrained(
        str(folder), device="cpu", precision="bfloat16", memory=MemoryConfig(tile=32)
    )
    made = frames(tiled, guidance=1.0)
    assert made.shape == (3, 8, 64, 64) and made.isfinite().all()


def test_latents_of_another_vae_are_refused(pipeline: S2VPipeline) -> None:
    settings = S2VSettings.model_validate(QUICK)
    other = given(pipeline, 0.5, settings)
    object.__setattr__(
        other, "reference", latents_record(other.reference_latents_CTHW(), vae_weights="0" * 32)
    )
    with pytest.raises(UnfitConditioning, match=r"another VAE.*--set reference_latents.model=DIR"):
        pipeline.check(other, settings)
