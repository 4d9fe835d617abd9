"""The stage face_motion: what the generator's own motion encoder makes of the pixels that the generator is fed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from helpers import animate_store, motion_files  # noqa: E402
from helpers.media import write_video  # noqa: E402

import wanprep  # noqa: E402
from schemas import ClipRecord, FaceCropsRecord, FaceMotionRecord, Record  # noqa: E402
from schemas.tensor import BFLOAT16  # noqa: E402
from stages.face_motion import FaceMotion, FaceMotionConfig  # noqa: E402
from wanprep.animate.face_pixels import segment_face_pixels  # noqa: E402
from wanprep.animate.face_size import SizedCrops  # noqa: E402
from wanprep.animate.segments import segments  # noqa: E402
from wanprep.key import stage_spec  # noqa: E402
from wanprep.models.motion_encoder import load_motion_encoder, motion_weights_digest  # noqa: E402
from wanprep.models.needed import lacking  # noqa: E402
from wanprep.stage import ClipContext, Stage, StageConfig  # noqa: E402

FRAMES = 11


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("model") / "animate"
    motion_files.write(folder / "transformer", motion_files.diffusers_tensors(motion_files.encoder(5)))
    return str(folder)


class Watched:
    """Crops that note how many are decoded at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.decoded: list[tuple[int, int]] = []
        read = FaceCropsRecord.crops_THWC

        def crops_THWC(record: FaceCropsRecord, start: int = 0, stop: int | None = None) -> Any:
            self.decoded.append((start, record.frames if stop is None else stop))
            return read(record, start, stop)

        monkeypatch.setattr(FaceCropsRecord, "crops_THWC", crops_THWC)


def crops() -> FaceCropsRecord:
    made = animate_store.face_crops(FRAMES)
    return replace(made, blocks=np.asarray(made.blocks))


def motion(folder: Path, model: str, record: FaceCropsRecord, **config: Any) -> FaceMotionRecord:
    stage = FaceMotion(FaceMotionConfig.model_validate({"model": model, "device": "cpu", **config}))
    stage.setup()
    clip = ClipRecord(clip_id="clip", recipe="recipe", frames=record.frames)
    made = stage.run(ClipContext(clip, {}, folder), {"face_crops": record})
    return replace(made, motion_TC=np.asarray(made.motion_TC))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_rows_are_what_the_generator_would_make_of_each_segment(
    tmp_path: Path, model: str, precision: str
) -> None:
    record, found = crops(), motion(tmp_path, model, crops(), precision=precision)
    assert (found.frames, found.size, found.device, found.precision) == (FRAMES, 16, "cpu", precision)
    assert (found.model, found.pixel_rounding) == ("animate", "bfloat16")
    assert found.encoder_digest == motion_weights_digest(model)
    assert found.motion_TC.dtype == BFLOAT16 and found.motion_TC.shape == (FRAMES, motion_files.CHANNELS)
    encoder = load_motion_encoder(model, "cpu", precision)  # type: ignore[arg-type]
    cut = segments(FRAMES, 9, 1)
    for number, (start, stop) in enumerate(cut.windows):
        pixels_CTHW = segment_face_pixels(SizedCrops(record, encoder.size), number, length=9)
        wanted_TC = encoder.encode(pixels_CTHW)
        rows_TC = found.motion_TC[cut.indices_T[start:stop]].astype(np.float32)
        np.testing.assert_allclose(rows_TC, wanted_TC, rtol=2**-7, atol=2**-7)
        assert np.std(wanted_TC, axis=0).max() > 0.01  # frames differ


def test_only_a_batch_of_crops_is_decoded_at_a_time(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = motion(tmp_path, model, crops(), batch_size=64)
    watched = Watched(monkeypatch)
    parts = motion(tmp_path, model, crops(), batch_size=4)
    assert watched.decoded == [(0, 4), (4, 8), (8, 11)]
    np.testing.assert_allclose(
        parts.motion_TC.astype(np.float32), whole.motion_TC.astype(np.float32), rtol=2**-6, atol=2**-6
    )


def test_rounding_of_pixels_is_seen_in_float32(tmp_path: Path, model: str) -> None:
    rounded, exact = (
        motion(tmp_path, model, crops(), precision="float32", pixel_rounding=rounding)
        for rounding in ("bfloat16", "float32")
    )
    assert exact.pixel_rounding == "float32"
    assert not np.array_equal(rounded.motion_TC, exact.motion_TC)


def spec(model: str, **config: Any) -> dict[str, Any]:
    return stage_spec(FaceMotion(FaceMotionConfig.model_validate({"model": model, **config})))


def test_the_key_holds_the_weights_and_not_their_files(model: str, tmp_path: Path) -> None:
    base = spec(model)
    assert spec(model, batch_size=2, device="cpu") == base
    assert spec(model, precision="float32") != base != spec(model, pixel_rounding="float32")
    shutil.copytree(model, tmp_path / "moved")
    assert spec(str(tmp_path / "moved")) == base
    official = motion_files.official_tensors(motion_files.encoder(5))
    motion_files.write(tmp_path / "official", official, shards=3)
    assert spec(str(tmp_path / "official")) == base
    motion_files.write(tmp_path / "other", motion_files.diffusers_tensors(motion_files.encoder(6)))
    assert spec(str(tmp_path / "other")) != base


def test_weights_that_change_under_the_same_name_change_the_key(tmp_path: Path) -> None:
    specs = []
    for seed in (1, 2):
        folder = tmp_path / "model"
        shutil.rmtree(folder, ignore_errors=True)
        motion_files.write(folder, motion_files.diffusers_tensors(motion_files.encoder(seed)))
        specs.append(spec(str(folder)))
    assert specs[0] != specs[1]


def test_what_is_missing_is_one_line_and_can_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.delenv("WANPREP_MODELS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    stage = FaceMotion(FaceMotionConfig())
    told = stage.unavailable()
    assert told is not None and "\n" not in told and "`wanprep models fetch wan2.2-animate-14b`" in told
    assert lacking(stage) == "wan2.2-animate-14b"
    here = FaceMotion(FaceMotionConfig(model=model))
    assert here.unavailable() is None and lacking(here) is None


def test_memory_is_told_by_batch() -> None:
    small, large = (
        FaceMotion(FaceMotionConfig(model="nowhere", batch_size=size, device="cpu")).resources
        for size in (1, 16)
    )
    assert large.memory - small.memory == 15 * 200 << 20
    assert FaceMotion(FaceMotionConfig(device="cuda")).resources.gpus == 1


class Crops(Stage[StageConfig]):
    """A `face_crops` of known crops."""

    name: ClassVar[str] = "face_crops"
    record: ClassVar[type[Record]] = FaceCropsRecord
    Config: ClassVar[type[StageConfig]] = StageConfig

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> FaceCropsRecord:
        return animate_store.face_crops(FRAMES)


def test_in_a_run_it_is_made_stored_and_read(
    tmp_path: Path, model: str, add_stages: Callable[..., None]
) -> None:
    add_stages(Crops)
    video = write_video(tmp_path / "clip.mp4", FRAMES, size=(64, 64))
    recipe = {"stages": {"face_crops": {}, "face_motion": {"model": model, "device": "cpu"}}}
    summary = wanprep.run(video, store=tmp_path / "store", recipe=recipe, engine="inline", workers=1)
    assert (summary.failed, summary.stages["face_motion"].done) == (0, 1)
    (clip,) = wanprep.open(tmp_path / "store").clips()
    stored = clip.face_motion
    assert isinstance(stored, FaceMotionRecord) and stored.motion_TC.dtype == BFLOAT16
    np.testing.assert_array_equal(stored.motion_TC, motion(tmp_path, model, crops()).motion_TC)
    assert wanprep.run(
        video, store=tmp_path / "store", recipe=recipe, engine="inline", workers=1
    ).nothing_to_do
