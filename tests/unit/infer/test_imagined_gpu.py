"""Generation on a GPU that is only imagined: tensors are where they have to be, and take what the documents say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from helpers.animate_clip import drawn, memory_clip, records_of  # noqa: E402
from helpers.imagined_gpu import GPU, Watched, as_loaded, imagined_gpu  # noqa: E402
from helpers.s2v_conditioning import conditioning, latents_record  # noqa: E402

from wanprep.models.tiny_components import AUDIO_WIDTH, TEXT_WIDTH  # noqa: E402
from wanprep.models.vae import Vae  # noqa: E402
from wanprep_infer.animate import AnimatePipeline, AnimateSettings  # noqa: E402
from wanprep_infer.conditioning import AnimateConditioning  # noqa: E402
from wanprep_infer.models.animate_model import AnimateModel  # noqa: E402
from wanprep_infer.models.animate_transformer import AnimateTransformer  # noqa: E402
from wanprep_infer.models.s2v_transformer import WanS2VTransformer3DModel  # noqa: E402
from wanprep_infer.s2v import S2VPipeline, S2VSettings  # noqa: E402
from wanprep_infer.tiny.pipelines import write_animate_14b  # noqa: E402
from wanprep_infer.tiny.s2v import write_s2v_14b  # noqa: E402

GB = 1e9
_A_TIMESTEP = 8  # bytes: all that a step sends to the GPU


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny tensors on many threads wait for each other
    yield
    torch.set_num_threads(threads)


class Steps:
    """Looks at what happened on the GPU in each step and segment."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self.steps: list[tuple[int, set[tuple[str, int]], int]] = []
        self.held: list[int] = []

    def begin(self, label: str, segments: int, steps: int) -> None:
        self._watched.restart()

    def step(self) -> None:
        seen = self._watched
        self.steps.append((seen.reads, set(seen.moved), seen.doubles))
        seen.restart()

    def segment(self, frames: int) -> None:
        self.held.append(self._watched.live())
        self._watched.restart()

    def end(self) -> None: ...

    def check(self, steps: int) -> None:
        """The first step of a segment follows what is prepared; the others send a timestep and wait for nothing."""
        later = [seen for number, seen in enumerate(self.steps) if number % steps]
        assert later and all(reads == 0 and moved == {("to", _A_TIMESTEP)} for reads, moved, _ in later)
        # The waves of a timestep alone are float64, a few hundred numbers.
        assert all(doubles <= 256 for _, _, doubles in self.steps)


@pytest.mark.slow
@pytest.mark.parametrize("keep", [True, False])
def test_an_animate_generation_is_on_the_gpu(tmp_path: Path, keep: bool) -> None:
    """With guidance, in two segments: nothing meets a tensor of another device, attention is flash attention,
    and a segment leaves nothing behind."""
    folder = tmp_path / "model"
    write_animate_14b(folder, 0)
    records = records_of(
        drawn(15),
        tmp_path,
        folder / "vae",
        length=9,
        overlap=1,
        replaces=True,
        rounding="bfloat16",
        rule="replace",
    )
    given = AnimateConditioning.from_clip(memory_clip(records), "replace")
    pipeline = AnimatePipeline.from_pretrained(str(folder), device="cpu")
    settings = AnimateSettings(mode="replace", steps=2, guidance=2.0, keep_keys_values=keep)
    with imagined_gpu() as watched:
        as_loaded(pipeline.transformer.model)  # type: ignore[attr-defined]
        pipeline.transformer.device = GPU  # type: ignore[misc]
        on_gpu(pipeline.vae)
        steps = Steps(watched)
        parts = list(pipeline.generate(given, settings, 5, steps))
        assert [(part.device.type, part.dtype) for part in parts] == [("cpu", torch.float32)] * 2
    assert watched.attentions > 0
    steps.check(settings.steps)
    assert steps.held[0] == steps.held[1]


@pytest.mark.slow
@pytest.mark.parametrize("keep", [True, False])
def test_an_s2v_generation_is_on_the_gpu(tmp_path: Path, keep: bool) -> None:
    write_s2v_14b(tmp_path, 0)
    pipeline = S2VPipeline.from_pretrained(str(tmp_path), device="cpu")
    settings = S2VSettings(steps=2, frames_per_clip=8, guidance=3.0, keep_keys_values=keep)
    rng = np.random.default_rng(1)

    def values(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    given = conditioning(
        1.4,
        audio_TLC=values(41, 25, AUDIO_WIDTH),
        text_LC=values(5, TEXT_WIDTH),
        negative_LC=values(3, TEXT_WIDTH),
        reference=latents_record(values(16, 1, 8, 8), vae_weights=pipeline.vae.fingerprint),
        settings=settings,
    )
    with imagined_gpu() as watched:
        as_loaded(pipeline.transformer)
        on_gpu(pipeline.vae)
        steps = Steps(watched)
        parts = list(pipeline.generate(given, settings, 5, steps))
        assert [(part.device.type, part.dtype) for part in parts] == [("cpu", torch.float32)] * 3
    assert watched.attentions > 0
    steps.check(settings.steps)
    assert steps.held[1] == steps.held[2]  # the first clip has no history


def test_an_animate_step_at_1280x720_takes_what_is_documented() -> None:
    """Of the published width; more blocks do not take more at a time."""
    frames, rows, columns = 20, 90, 160
    with imagined_gpu() as watched:
        model = as_loaded(AnimateModel(added_kv_proj_dim=5120, num_layers=5))
        transformer = AnimateTransformer(model, GPU, torch.bfloat16)
        latents_CTHW = torch.empty(16, frames + 1, rows, columns, device=GPU)
        y_CTHW = torch.empty(20, frames + 1, rows, columns, device=GPU, dtype=torch.bfloat16)
        tokens = transformer.prepare(
            context_LC=torch.empty(40, 4096),
            image_embed_TC=torch.empty(257, 1280),
            pose_latents_CTHW=torch.empty(16, frames, rows, columns),
            motion_TC=torch.empty(77, 512),
        )
        transformer.velocity(latents_CTHW, y_CTHW, 999, tokens)
        watched.restart()
        before = watched.live()
        transformer.velocity(latents_CTHW, y_CTHW, 500, tokens)
        assert (watched.peak - before) / GB == pytest.approx(8.5, abs=0.1)
        # In float32 are the time's layers alone, of one timestep.
        assert watched.multiplied[torch.float32] <= 5120
    assert watched.attentions == 2 * (3 * 5 + 1)


def test_patches_do_not_stay_while_the_blocks_run() -> None:
    """A name held them until the end of the step: 1.2 GB of S2V at 1024x704."""
    frames, rows, columns = 20, 88, 128
    with imagined_gpu() as watched:
        model = as_loaded(WanS2VTransformer3DModel(num_layers=3, audio_inject_layers=(0, 2)))
        tokens = model.prepare(
            audio_LCT=torch.empty(25, 1024, 80, device=GPU),
            context_LC=torch.empty(40, 4096, device=GPU),
            reference_latents_CTHW=torch.empty(16, 1, rows, columns, device=GPU),
            motion_latents_CTHW=torch.empty(16, 19, rows, columns, device=GPU),
            pose_latents_CTHW=torch.empty(16, frames, rows, columns, device=GPU),
            frames=frames,
        )
        latents_CTHW = torch.empty(16, frames, rows, columns, device=GPU)
        model.velocity(latents_CTHW, 999, tokens)
        watched.restart()
        before = watched.live()
        velocity_CTHW = model.velocity(latents_CTHW, 500, tokens)
        assert velocity_CTHW.dtype == torch.float32 and velocity_CTHW.device == GPU
        assert (watched.peak - before) / GB == pytest.approx(6.7, abs=0.1)
        # In float32 are time and head, whose result has 64 channels a token.
        assert watched.multiplied[torch.float32] <= 64 * 63360
    assert watched.attentions == 2 * (2 * 3 + 2)


@pytest.mark.parametrize(
    ("height", "width", "tile", "gigabytes"),
    [
        (720, 1280, None, 17.9),
        (704, 1024, None, 14.0),
        (480, 832, None, 7.8),
        pytest.param(720, 1280, 256, 1.3, marks=pytest.mark.slow),
    ],
)
def test_decoding_takes_what_is_documented(
    height: int, width: int, tile: int | None, gigabytes: float
) -> None:
    with imagined_gpu() as watched, torch.no_grad():
        model = as_loaded(diffusers.AutoencoderKLWan(), torch.float32)
        vae = Vae(model, GPU, torch.float32, np.zeros(16, np.float32), np.ones(16, np.float32), 8, 1)
        watched.restart()
        before = watched.live()
        decoder = vae.decoder(tile)
        latents_CTHW = torch.empty(16, 3, height // 8, width // 8, device=GPU)
        if tile is None:
            for place in range(3):
                decoder.add(latents_CTHW[:, place : place + 1])
        else:
            assert decoder.add(latents_CTHW).device.type == "cpu"
        assert (watched.peak - before) / GB == pytest.approx(gigabytes, abs=0.1)


def on_gpu(vae: Vae) -> None:
    as_loaded(vae.model, torch.float32)
    object.__setattr__(vae, "device", GPU)
