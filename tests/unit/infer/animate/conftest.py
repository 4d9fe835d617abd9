"""What the tests of the Animate loop share: a tiny generator's folder, and small transformers and VAEs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Pictures of a few pixels: more threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def generator_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Animate model, a whole diffusers pipeline."""
    from wanprep_infer.tiny.pipelines import write_animate_14b

    folder = tmp_path_factory.mktemp("generator") / "animate"
    write_animate_14b(folder, 0)
    return folder


@pytest.fixture(scope="session")
def vae(generator_folder: Path) -> Any:
    from wanprep.models.vae import load_vae

    return load_vae(str(generator_folder), "cpu")


class Flow:
    """A transformer without a network: the clean latents are a tenth of pose, condition and face, so that each
    shows in the frames."""

    face_size, text_channels, image_channels, latent_channels = 8, 32, 32, 16

    def __init__(self) -> None:
        self.dtype, self.device = torch.float32, torch.device("cpu")
        self.faces = 0
        self.prepared: list[dict[str, Any]] = []
        self.conditions: list[Any] = []

    def motion_vectors(self, face_pixels_CTHW: Any) -> Any:
        self.faces += face_pixels_CTHW.shape[1]
        return face_pixels_CTHW.mean((2, 3)).T

    def prepare(self, **given: Any) -> Any:
        self.prepared.append(given)
        return given

    def other_branch(self, tokens: Any, **given: Any) -> Any:
        return {**tokens, **given}

    def velocity(self, latents_CTHW: Any, y_CTHW: Any, timestep: int, tokens: Any) -> Any:
        if not self.conditions or self.conditions[-1] is not y_CTHW:
            self.conditions.append(y_CTHW)
        clean_CTHW = 0.1 * y_CTHW[4:].float()
        clean_CTHW[:, 1:] += 0.1 * tokens["pose_latents_CTHW"]
        clean_CTHW += 0.1 * tokens["motion_TC"].mean() + 0.01 * tokens["context_LC"].mean()
        return (latents_CTHW - clean_CTHW) / max(timestep / 1000, 1e-3)


@pytest.fixture
def flow() -> Flow:
    return Flow()
