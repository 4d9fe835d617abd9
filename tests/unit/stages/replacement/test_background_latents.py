"""The stage background_latents: what is coded is the video without the person, segment by segment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden.discovery import OWN as GOLDEN
from golden.golden_file import GoldenFile
from helpers.latent_clips import Frames, moving_THWC, windows
from helpers.mask_clips import clip_of, replace_record

from schemas import LatentsRecord, ReplaceMaskRecord
from stages.background_latents import BackgroundLatents
from stages.background_latents.stage import BackgroundFold, BackgroundLatentsConfig
from wanprep.animate.segments import segments
from wanprep.errors import UsageError
from wanprep.key import stage_spec
from wanprep.models.dct_codec import dct_codec
from wanprep.stage import ClipContext

WIDTH, HEIGHT = 96, 64


def mask_of(folder: Path, frames: int) -> ReplaceMaskRecord:
    masks_THW = np.zeros((frames, HEIGHT, WIDTH), bool)
    for index in range(frames):
        masks_THW[index, 20:40, 10 + index : 30 + index] = True
    return replace_record(folder, masks_THW, iterations=0)


def background(
    folder: Path, frames_THWC: Frames, mask: ReplaceMaskRecord, cuts: tuple[int, ...] = (), **config: object
) -> LatentsRecord:
    config = {"storage": "float32", "segment_frames": 9, **config}
    stage = BackgroundLatents(BackgroundLatentsConfig.model_validate(config))
    stage.setup()
    frames, height, width = frames_THWC.shape[:3]
    context = ClipContext(clip_of(frames, width, height), {}, folder)
    fold = stage.begin(context, {"replace_mask": mask})
    for window in windows(frames_THWC, cuts):
        fold.add(window)
    return fold.finish({})


@pytest.mark.parametrize("carried", ["video", "background"])
def test_the_person_is_black_but_in_frames_carried_over(tmp_path: Path, carried: str) -> None:
    frames_THWC, mask = moving_THWC(15), mask_of(tmp_path, 15)
    ground_THWC = frames_THWC * ~mask.masks_THW()[..., None]
    for cuts in ((), (1, 2, 8, 9)):
        record = background(tmp_path, frames_THWC, mask, cuts, carried=carried)
        assert (record.view, record.fit, record.width, record.height) == ("background", "letterbox", 96, 64)
        assert (record.segment_starts, record.frames, record.frames_repeated) == ([0, 8], 15, 2)
        found, codec = segments(15, 9, 1), dct_codec("dct-z16-v1")
        for index, (start, stop) in enumerate(found.windows):
            shown_THWC = ground_THWC[found.indices_T[start:stop]]
            if index and carried == "video":
                shown_THWC[:1] = frames_THWC[start : start + 1]
            wanted_TCHW = codec.encode(shown_THWC)
            np.testing.assert_array_equal(record.segment_CTHW(index), np.moveaxis(wanted_TCHW, 0, 1))


class Kept:
    """In the place of a writer: keeps what it is given."""

    def __init__(self) -> None:
        self.ground: list[Frames] = []
        self.carried: list[Frames] = []

    def add(self, frames_THWC: Frames, carried_THWC: Frames) -> None:
        self.ground.append(frames_THWC)
        self.carried.append(carried_THWC)


def test_pictures_are_the_official_ones(tmp_path: Path) -> None:
    """From the vectors of the whole preprocessing: the mask as given, dilated, and the background it leaves."""
    file = GoldenFile(GOLDEN / "animate" / "preprocess_e2e.npz")
    fields = next(
        fields
        for fields in map(file.case, file.cases())
        # The vectors' mask is one of the letterboxed picture: the video's own where there are no bars.
        if fields["replace"] and fields["frames"].shape[1] == fields["frames"].shape[2]
    )
    numbers_T = fields["indices"]
    video_THWC = fields["frames"][numbers_T % len(fields["frames"])]
    names = ("iterations", "w_len", "h_len")
    mask = replace_record(
        tmp_path,
        fields["sam_masks"].astype(bool),
        video=(video_THWC.shape[2], video_THWC.shape[1]),
        size={"area": int(np.prod(fields["area"]))},
        kernel=int(fields["k"]),
        compat="official",
        **{name: int(fields[name]) for name in names},
    )
    np.testing.assert_array_equal(mask.masks_THW() * np.uint8(255), fields["src_mask"])
    kept = Kept()
    fold = BackgroundFold(kept, mask, "video")  # type: ignore[arg-type]
    for window in windows(video_THWC, (1,)):
        fold.add(window)
    np.testing.assert_array_equal(np.concatenate(kept.ground), fields["src_bg"])
    outside_THW = ~mask.masks_THW()
    carried_THWC = np.concatenate(kept.carried)
    np.testing.assert_array_equal(carried_THWC[outside_THW], fields["src_bg"][outside_THW])
    assert carried_THWC[~outside_THW].any()


def test_sizes_that_the_codec_does_not_take_are_one_line(tmp_path: Path) -> None:
    masks_THW = np.ones((1, 48, 80), bool)
    mask = replace_record(tmp_path, masks_THW)
    with pytest.raises(UsageError, match="takes multiples of 32 pixels and replace_mask is 80x48; take"):
        background(tmp_path, moving_THWC(1, 80, 48), mask, backend="dct-z48")


def test_the_key_holds_segments_and_encoder_but_not_the_device() -> None:
    def spec(**config: object) -> dict[str, object]:
        return stage_spec(BackgroundLatents(BackgroundLatentsConfig.model_validate(config)))

    assert spec() == spec(device="cpu")
    others = [
        spec(segment_frames=81),
        spec(segment_overlap=5),
        spec(backend="dct-z48"),
        spec(pixel_rounding="bfloat16"),
        spec(carried="background"),
    ]
    assert all(other != spec() for other in others)
    assert spec()["models"] == {"codec": "dct-z16-v1"}
