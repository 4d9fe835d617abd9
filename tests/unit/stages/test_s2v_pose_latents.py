"""The stage s2v_pose_latents: which pictures come when, how they are fitted, cut and filled, and what is skipped."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.media import level_index, write_sound, write_video
from helpers.skeletons import SOURCE, skeleton_of, standing_TKC
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

import wanprep
from schemas import ClipRecord, LatentsRecord, MediaRecord, Record
from stages.latents import ReferenceLatents
from stages.latents.reference import ReferenceLatentsConfig
from stages.s2v_pose_latents import S2VPoseLatents, S2VPoseLatentsConfig
from stages.s2v_pose_latents.fit import fit_pose
from stages.s2v_pose_latents.pictures import at_video_rate, skeleton_pictures, video_pictures
from wanprep.animate.pictures import skeleton_picture
from wanprep.animate.pose import pose_of
from wanprep.errors import MediaError, UsageError
from wanprep.media.probe import probe
from wanprep.media.speech_frames import video_frame_indices
from wanprep.models.vae_preview import decode_preview
from wanprep.stage import ClipContext, Media, Skipped

WIDTH, HEIGHT = 128, 64
SIZE = (WIDTH, HEIGHT)


def context_of(folder: Path, video: Path, fps: float | None = 16.0, start: float = 0.0) -> ClipContext:
    """A clip of the video from `start` on, on a timeline of `fps`; None: the video's own."""
    info = probe(str(video)).video
    assert info is not None
    media = MediaRecord(
        uri=str(video),
        kind="video",
        size=0,
        modified_ns=0,
        digest="",
        width=info.width,
        height=info.height,
        fps=info.fps,
        first_time=info.first_time,
        seconds=info.seconds,
    )
    rate = fps or info.fps
    clip = ClipRecord(
        clip_id="clip",
        recipe="recipe",
        video=str(video),
        start=start,
        end=info.seconds,
        fps=rate,
        frames=round((info.seconds - start) * rate),
        width=info.width,
        height=info.height,
        source_fps=info.fps,
    )
    return ClipContext(clip, {"video": media}, folder)


def reference_of(folder: Path, backend: str = "dct-z16", model: str = "wan2.1-vae") -> LatentsRecord:
    Image.new("RGB", SIZE).save(folder / "reference.png")
    config = {"fit": "s2v", "size": {"s2v_area": WIDTH * HEIGHT}, "backend": backend, "model": model}
    stage = ReferenceLatents(ReferenceLatentsConfig.model_validate(config))
    stage.setup()
    clip = ClipRecord(clip_id="clip", recipe="recipe", reference=str(folder / "reference.png"))
    made = stage.run(ClipContext(clip, {}, folder), {})
    assert isinstance(made, LatentsRecord) and (made.width, made.height) == SIZE
    return made


def made_of(context: ClipContext, inputs: dict[str, Record], **config: object) -> LatentsRecord:
    stage = S2VPoseLatents(S2VPoseLatentsConfig.model_validate(config))
    stage.setup()
    assert set(stage.needs) == set(inputs)
    made = stage.run(context, inputs)
    assert isinstance(made, LatentsRecord), made
    return made


@pytest.mark.parametrize(
    ("width", "height"), [(128, 64), (320, 240), (241, 135), (70, 200), (64, 64), (100, 50), (90, 160)]
)
def test_pictures_are_fitted_as_torchvision_fits_them_in_floats(width: int, height: int) -> None:
    torch = pytest.importorskip("torch")
    transforms = pytest.importorskip("torchvision.transforms")
    rgb_HWC = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture_CHW = torch.from_numpy(rgb_HWC).permute(2, 0, 1).float() / 255 * 2 - 1
    for size in (SIZE, (64, 128)):
        wanted = transforms.CenterCrop((size[1], size[0]))(
            transforms.Resize(min(size), antialias=True)(picture_CHW)
        )
        found_HWC = fit_pose(rgb_HWC, size)
        assert found_HWC.dtype == np.float32
        np.testing.assert_allclose(found_HWC, wanted.permute(1, 2, 0).numpy(), rtol=0, atol=5e-5)


def test_beside_a_picture_that_does_not_reach_there_is_grey_and_strips_are_refused() -> None:
    fitted_HWC = fit_pose(np.full((200, 100, 3), 255, np.uint8), SIZE)  # 64 pixels of 128 across
    assert (fitted_HWC[:, :32] == 0).all() and (fitted_HWC[:, 96:] == 0).all()
    assert (fitted_HWC[:, 32:96] == 1).all()
    with pytest.raises(MediaError, match="a picture of 2x2000 is too long a strip"):
        fit_pose(np.zeros((2000, 2, 3), np.uint8), SIZE)


@given(frames=st.integers(1, 400), fps=st.floats(1, 120))
def test_by_time_every_frame_is_the_one_on_screen(frames: int, fps: float) -> None:
    taken = at_video_rate(frames, fps, "robust")
    assert len(taken) == max(1, int(frames / fps * 16 + 0.5))
    assert (np.diff(taken) >= 0).all() and taken[0] >= 0 and taken[-1] < frames
    on_screen = np.arange(len(taken)) / 16 * fps
    held = on_screen < frames - 1
    assert (np.abs(taken - on_screen)[held] <= 1 + 0.25 / 16 * fps).all()


@given(frames=st.integers(1, 400))
def test_at_16_frames_a_second_both_rules_take_every_frame(frames: int) -> None:
    for compat in ("robust", "official"):
        assert at_video_rate(frames, 16.0, compat).tolist() == list(range(frames))


@pytest.mark.parametrize("fps", [12, 16, 24, Fraction(24_000, 1001), 25, 30, 50])
@pytest.mark.parametrize("timeline", [16.0, None])
def test_frames_of_a_video_are_those_of_the_rule(
    tmp_path: Path, fps: int | Fraction, timeline: float | None
) -> None:
    video = write_video(tmp_path / "pose.mp4", 20, fps=fps, flat=True)
    for compat in ("robust", "official"):
        count, pictures = video_pictures(context_of(tmp_path, video, timeline), compat)
        found = [level_index(picture_HWC) for picture_HWC in pictures]
        wanted = at_video_rate(20, float(fps), compat).tolist()
        assert count == len(found) and found == wanted
    assert wanted == video_frame_indices(20, float(fps), 20).tolist()


def test_a_clip_from_the_middle_begins_there(tmp_path: Path) -> None:
    video = write_video(tmp_path / "pose.mp4", 20, fps=16, flat=True)
    for compat in ("robust", "official"):
        count, pictures = video_pictures(context_of(tmp_path, video, start=0.5), compat)
        assert count == 12
        assert [level_index(picture_HWC) for picture_HWC in pictures] == list(range(8, 20))


def test_segments_begin_with_a_copy_and_black_fills_the_last(tmp_path: Path) -> None:
    video = write_video(tmp_path / "pose.mp4", 19, fps=16, size=SIZE, flat=True)
    reference = {"reference_latents": reference_of(tmp_path)}
    record = made_of(context_of(tmp_path, video), reference, frames_per_clip=8, storage="float32")
    assert (record.view, record.fit, record.width, record.height) == ("pose", "s2v", WIDTH, HEIGHT)
    assert record.segment_frames == 9 and record.segment_starts == [0, 8, 16]
    assert (record.frames, record.frames_repeated, record.frames_left_out) == (19, 5, 0)
    assert record.latents_TCHW.shape == (9, 16, HEIGHT // 8, WIDTH // 8)
    shown = [decode_preview(record, segment=segment).mean(axis=(1, 2, 3)) for segment in range(3)]
    # The codec tells the mean of the four frames of a latent frame.
    means = [[20 + 10 * first, *(20 + 10 * (first + k) for k in (1.5, 5.5))] for first in (0, 8)]
    means.append([180, (180 + 190 + 200 + 0) / 4, 0])
    for levels, wanted in zip(shown, means, strict=True):
        found = [levels[0], levels[1:5].mean(), levels[5:].mean()]
        np.testing.assert_allclose(found, wanted, atol=6)


def test_a_stored_skeleton_is_drawn_by_time_and_sharp(tmp_path: Path) -> None:
    skeleton = skeleton_of(standing_TKC(30, sway=2))
    pose = pose_of(skeleton.keypoints_TKC, SOURCE)
    drawn = (85, 64)
    count, pictures = skeleton_pictures(skeleton, 24.0, drawn, "measured", "robust")
    taken = at_video_rate(30, 24.0, "robust")
    found = list(pictures)
    assert count == len(found) == len(taken) == 20
    for index, picture_HWC in zip(taken, found, strict=True):
        np.testing.assert_array_equal(picture_HWC, skeleton_picture(pose, int(index), drawn))
    count, pictures = skeleton_pictures(skeleton, 24.0, drawn, "measured", "official")
    found = list(pictures)
    assert count == len(found) == 15 and found[3].shape == (SOURCE[1], SOURCE[0], 3)
    np.testing.assert_array_equal(found[3], skeleton_picture(pose, 6))


def test_a_skeleton_slower_than_the_timeline_shows_frames_again(tmp_path: Path) -> None:
    skeleton = skeleton_of(standing_TKC(6, sway=9))
    count, pictures = skeleton_pictures(skeleton, 8.0, (85, 64), "measured", "robust")
    found = list(pictures)
    assert count == len(found) == 12
    assert all((found[index] == found[index + 1]).all() for index in range(0, 12, 2))
    assert all((found[index] != found[index + 1]).any() for index in range(1, 11, 2))


def test_a_skeletons_latents_show_it_in_the_size_of_the_reference(tmp_path: Path) -> None:
    video = write_video(tmp_path / "person.mp4", 8, fps=16, size=SOURCE)
    inputs = {
        "reference_latents": reference_of(tmp_path),
        "skeleton": skeleton_of(standing_TKC(8)),
    }
    record = made_of(
        context_of(tmp_path, video), inputs, source="skeleton", frames_per_clip=8, storage="float32"
    )
    shown_HWC = decode_preview(record)[-1].astype(int)
    pose = pose_of(inputs["skeleton"].keypoints_TKC, SOURCE)  # type: ignore[attr-defined]
    wanted_HWC = (fit_pose(skeleton_picture(pose, 7, (85, 64)), SIZE) + 1) * 127.5
    assert np.corrcoef(shown_HWC.ravel(), wanted_HWC.ravel())[0, 1] > 0.9


def test_with_a_vae_latents_are_those_of_the_official_steps(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    transforms = pytest.importorskip("torchvision.transforms")
    from stages.latents.tiny import write_wan21
    from wanprep.models.vae import load_vae

    torch.set_num_threads(1)
    write_wan21(tmp_path / "vae", 0)
    video = write_video(tmp_path / "pose.mp4", 30, fps=25, size=(200, 112))
    inputs: dict[str, Any] = {"reference_latents": reference_of(tmp_path, "vae", str(tmp_path / "vae"))}
    config = {"backend": "vae", "model": str(tmp_path / "vae"), "frames_per_clip": 8, "compat": "official"}
    record = made_of(context_of(tmp_path, video), inputs, **config)
    with av.open(str(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][:30:2]
    pixels_TCHW = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    pixels_TCHW = transforms.CenterCrop((HEIGHT, WIDTH))(
        transforms.Resize(HEIGHT, antialias=True)(pixels_TCHW)
    )
    pixels_TCHW = torch.cat([pixels_TCHW, -torch.ones(1, 3, HEIGHT, WIDTH)])
    vae = load_vae(str(tmp_path / "vae"), "cpu")
    assert record.segments == 2 and record.frames == 15
    for segment, chunk_TCHW in enumerate(pixels_TCHW.split(8)):
        encoder = vae.encoder()
        first = encoder.add(torch.cat([chunk_TCHW[:1], chunk_TCHW]).transpose(0, 1))
        wanted_CTHW = torch.cat([first, encoder.finish()], dim=1)
        found_CTHW = record.segment_CTHW(segment)
        assert found_CTHW.shape == (16, 3, HEIGHT // 8, WIDTH // 8)
        np.testing.assert_allclose(found_CTHW, wanted_CTHW.float().numpy(), rtol=0, atol=1e-4)


def test_reads_and_needs_what_the_source_takes() -> None:
    of_video = S2VPoseLatents(S2VPoseLatentsConfig())
    assert of_video.reads == {Media.VIDEO} and of_video.needs == ("reference_latents",)
    of_skeleton = S2VPoseLatents(S2VPoseLatentsConfig(source="skeleton"))
    assert of_skeleton.reads == set() and of_skeleton.needs == ("reference_latents", "skeleton")


@pytest.mark.parametrize("frames", [4, 10, 124])
def test_clips_that_the_generator_cannot_make_are_refused(frames: int) -> None:
    with pytest.raises(ValidationError):
        S2VPoseLatentsConfig(frames_per_clip=frames)


def test_an_autoencoder_whose_cells_the_reference_does_not_fill_is_told(tmp_path: Path) -> None:
    Image.new("RGB", (80, 80)).save(tmp_path / "reference.png")
    stage = ReferenceLatents(ReferenceLatentsConfig.model_validate({"size": {"width": 80, "height": 80}}))
    stage.setup()
    clip = ClipRecord(clip_id="clip", recipe="recipe", reference=str(tmp_path / "reference.png"))
    reference = stage.run(ClipContext(clip, {}, tmp_path), {})
    assert isinstance(reference, LatentsRecord)
    video = write_video(tmp_path / "pose.mp4", 4, fps=16)
    with pytest.raises(UsageError, match=r"multiples of 32 pixels and reference_latents are of 80x80"):
        made_of(context_of(tmp_path, video), {"reference_latents": reference}, backend="dct-z48")


def test_a_clip_without_video_is_skipped(tmp_path: Path) -> None:
    stage = S2VPoseLatents(S2VPoseLatentsConfig())
    stage.setup()
    clip = ClipRecord(clip_id="clip", recipe="recipe", audio="talk.wav")
    made = stage.run(ClipContext(clip, {}, tmp_path), {"reference_latents": reference_of(tmp_path)})
    assert made == Skipped("the clip has no video whose poses could be coded", 0.0)


def test_in_a_store_poses_have_the_references_size_and_what_lacks_is_said(tmp_path: Path) -> None:
    write_video(tmp_path / "pose.mp4", 15, fps=30)
    write_sound(tmp_path / "talk.wav", 0.5)
    Image.new("RGB", (120, 200)).save(tmp_path / "person.png")
    (tmp_path / "clips.csv").write_text(
        "id,video,audio,reference\nboth,pose.mp4,talk.wav,person.png\nsound,,talk.wav,person.png\n"
        "bare,pose.mp4,talk.wav,\n"
    )
    recipe = {
        "timeline": {"fps": 16},
        "stages": {
            "reference_latents": {"fit": "s2v", "size": {"s2v_area": 64 * 128}},
            "s2v_pose_latents": {"frames_per_clip": 8},
        },
    }
    store = tmp_path / "store"
    assert wanprep.run(tmp_path / "clips.csv", store=store, recipe=recipe, engine="inline").failed == 0
    clips = {clip.id: clip for clip in wanprep.open(str(store)).clips()}
    record, reference = clips["both"].s2v_pose_latents, clips["both"].reference_latents
    assert (record.width, record.height) == (reference.width, reference.height) == (64, 128)
    assert (record.view, record.frames, record.segments) == ("pose", 8, 1)
    reasons = {
        row.clip_id: row.reason
        for row in wanprep.open(str(store)).outcomes()
        if row.stage == "s2v_pose_latents"
    }
    assert reasons == {
        "sound": "the clip has no video whose poses could be coded",
        "bare": "reference_latents: the clip has no reference picture",
    }
    assert wanprep.run(tmp_path / "clips.csv", store=store, recipe=recipe, engine="inline").nothing_to_do
    recipe["stages"]["reference_latents"] = {"fit": "s2v", "size": {"s2v_area": 128 * 192}}  # type: ignore[index]
    wanprep.run(tmp_path / "clips.csv", store=store, recipe=recipe, engine="inline")
    clip = wanprep.open(str(store)).clip("both")
    assert (clip.s2v_pose_latents.width, clip.s2v_pose_latents.height) == (
        clip.reference_latents.width,
        clip.reference_latents.height,
    )
    assert clip.s2v_pose_latents.width > 64
