"""The codec without weights: exact in pieces, orthonormal, and its pictures are recognisable."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wanprep.models.dct_codec import CODEC_NAMES, DctCodec, dct_codec, to_bytes
from wanprep.sample.clip import Look, plan_clip, render_frames

Frames = npt.NDArray[np.uint8]


@pytest.fixture(params=CODEC_NAMES)
def codec(request: pytest.FixtureRequest) -> DctCodec:
    return dct_codec(request.param)


@pytest.fixture(scope="module")
def drawn_THWC() -> Frames:
    """The drawn figure, gesturing: 9 frames of 416x240."""
    _, poses = plan_clip(0.36, 25, 1, Look())
    return np.stack(list(render_frames(poses[:9], size=(416, 240))))


def noise(frames: int, height: int = 32, width: int = 48) -> Frames:
    return np.random.default_rng(frames).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def psnr(ours: Frames, theirs: Frames) -> float:
    return float(20 * np.log10(255) - 10 * np.log10(np.mean((ours.astype(np.float64) - theirs) ** 2)))


@pytest.mark.parametrize(("name", "channels", "stride"), [("dct-z16-v1", 16, 8), ("dct-z48-v1", 48, 16)])
def test_geometry_is_the_wan_vaes(name: str, channels: int, stride: int) -> None:
    codec = dct_codec(name)
    latents_TCHW = codec.encode(noise(9))
    assert latents_TCHW.shape == (3, channels, 32 // stride, 48 // stride)
    assert latents_TCHW.dtype == np.float32
    assert codec.decode(latents_TCHW).shape == (9, 32, 48, 3)
    assert codec.encode(noise(1)).shape[0] == 1


def test_channels_mean_the_same_in_all_frames(codec: DctCodec) -> None:
    first, later = codec.components
    assert len(set(first)) == len(set(later)) == codec.channels
    assert all(one == other for one, other in zip(first, later, strict=True) if other.time == 0)
    assert all(one.time == 0 for one in first)
    assert sum(component.time > 0 for component in later) >= 3
    # A picture that stands still: equal latents where channels hold pictures, 0 where they hold changes.
    still_THWC = np.repeat(noise(1), 5, axis=0)
    latents_TCHW = codec.encode(still_THWC)
    for channel, component in enumerate(later):
        expected = latents_TCHW[0, channel] if component.time == 0 else 0
        np.testing.assert_allclose(latents_TCHW[1, channel], expected, atol=1e-6)


def test_the_lowest_channel_is_the_cells_mean_luma(codec: DctCodec) -> None:
    frames_THWC = noise(5)
    signed = frames_THWC.astype(np.float64) / 127.5 - 1
    luma_THW = signed @ [0.299, 0.587, 0.114]
    side = codec.stride
    rows, columns = 32 // side, 48 // side
    means = luma_THW.reshape(5, rows, side, columns, side).mean(axis=(2, 4))
    latents_TCHW = codec.encode(frames_THWC)
    np.testing.assert_allclose(latents_TCHW[0, 0], means[0], atol=1e-6)
    np.testing.assert_allclose(latents_TCHW[1, 0], means[1:].mean(axis=0), atol=1e-6)


def test_coding_a_decoded_clip_again_changes_nothing(codec: DctCodec) -> None:
    latents_TCHW = codec.encode(noise(9))
    np.testing.assert_allclose(codec.encode(codec.decode(latents_TCHW)), latents_TCHW, atol=1e-6)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.sampled_from(CODEC_NAMES))
def test_pieces_are_the_whole(sizes: list[int], name: str) -> None:
    codec = dct_codec(name)
    frames = (sum(sizes) - 1) // 4 * 4 + 1
    frames_THWC = noise(frames, 16, 32)
    whole_TCHW = codec.encode(frames_THWC)
    encoder = codec.encoder()
    edges = np.cumsum([0, *sizes])
    parts = [encoder.add(frames_THWC[start:stop]) for start, stop in pairwise(edges) if start < frames]
    encoder.finish()
    np.testing.assert_array_equal(np.concatenate(parts), whole_TCHW)
    decoder = codec.decoder()
    shown = [decoder.add(whole_TCHW[index : index + 2]) for index in range(0, len(whole_TCHW), 2)]
    np.testing.assert_array_equal(np.concatenate(shown), codec.decode(whole_TCHW))


@pytest.mark.parametrize(("name", "decibels"), [("dct-z16-v1", 31.0), ("dct-z48-v1", 31.0)])
def test_a_drawn_clip_stays_recognisable(drawn_THWC: Frames, name: str, decibels: float) -> None:
    codec = dct_codec(name)
    latents_TCHW = codec.encode(drawn_THWC)
    plain = psnr(to_bytes(codec.decode(latents_TCHW)), drawn_THWC)
    soft = psnr(to_bytes(codec.decode(latents_TCHW, smooth=True)), drawn_THWC)
    assert soft > decibels
    assert soft > plain + 0.1
    halved = codec.decode(latents_TCHW.astype(np.float16).astype(np.float32), smooth=True)
    assert psnr(to_bytes(halved), drawn_THWC) == pytest.approx(soft, abs=0.01)


def test_whitening_gives_channels_one_scale(codec: DctCodec, drawn_THWC: Frames) -> None:
    still = [channel for channel, component in enumerate(codec.components[1]) if component.time == 0]
    latents_TCHW = codec.encode(drawn_THWC)[:, still]
    raw_C = latents_TCHW.std(axis=(0, 2, 3))
    spread_C = raw_C / codec.std_C[still]
    assert raw_C.max() / raw_C.min() > 20
    assert spread_C.min() > 0.25 and spread_C.max() < 4
    assert not codec.mean_C.any()


def test_floating_point_pixels_are_taken(codec: DctCodec) -> None:
    frames_THWC = noise(5)
    signed_THWC = frames_THWC.astype(np.float32) / 127.5 - 1
    np.testing.assert_array_equal(codec.encode(signed_THWC), codec.encode(frames_THWC))
    np.testing.assert_array_equal(to_bytes(signed_THWC), frames_THWC)


@pytest.mark.parametrize("frames", [2, 3, 4, 6])
def test_frames_that_are_not_4n1_are_refused(codec: DctCodec, frames: int) -> None:
    with pytest.raises(ValueError, match=f"{frames} frames are not 4n\\+1"):
        codec.encode(noise(frames))


def test_wrong_shapes_and_names_are_refused(codec: DctCodec) -> None:
    with pytest.raises(
        ValueError, match=f"40x33 do not fit {codec.name}: sides must be multiples of {codec.stride}"
    ):
        codec.encode(noise(1, 33, 40))
    with pytest.raises(ValueError, match=f"{codec.channels} channels, the latents have 7"):
        codec.decode(np.zeros((1, 7, 2, 2), np.float32))
    with pytest.raises(
        ValueError, match=r"no codec is called 'dct-z4' \(there are: dct-z16-v1, dct-z48-v1\)"
    ):
        dct_codec("dct-z4")
