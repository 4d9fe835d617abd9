"""Parts of the S2V transformer by themselves: who sees which sound, where tokens stand, shares of a sequence."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from wanprep_infer.models.s2v.audio_encoder import CausalAudioEncoder  # noqa: E402
from wanprep_infer.models.s2v.audio_injector import AudioInjector  # noqa: E402
from wanprep_infer.models.s2v.condition_embedder import sinusoid  # noqa: E402
from wanprep_infer.models.s2v.frame_packer import FramePacker  # noqa: E402
from wanprep_infer.models.s2v.kept import Kept  # noqa: E402
from wanprep_infer.models.s2v.positions import full_grid, rotate, rotations  # noqa: E402
from wanprep_infer.models.s2v.tokens import Span  # noqa: E402

torch.set_num_threads(1)
DIM, FRAMES, PER_FRAME, STILL = 24, 4, 6, 11
LENGTH = FRAMES * PER_FRAME + STILL


def seeded(module: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    for tensor in module.requires_grad_(False).parameters():
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    return module


def noise(*shape: int) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.fixture(scope="module")
def encoder() -> Any:
    return seeded(CausalAudioEncoder(layers=3, audio_dim=5, dim=32, tokens=4, has_global=True))


@pytest.mark.parametrize("step", range(20))
def test_a_latent_frame_hears_its_four_steps_and_five_before(encoder: Any, step: int) -> None:
    sound = noise(3, 5, 20)
    louder = sound.clone()
    louder[..., step] += 3
    (local, overall), (local_2, overall_2) = encoder(sound), encoder(louder)
    heard = {frame for frame in range(5) if 4 * frame - 5 <= step <= 4 * frame + 3}
    assert {frame for frame in range(5) if not torch.equal(local[frame], local_2[frame])} == heard
    assert {frame for frame in range(5) if not torch.equal(overall[frame], overall_2[frame])} == heard


def test_one_repeated_step_is_as_good_as_seventy_three(encoder: Any) -> None:
    """The official code puts 73 copies of the first step in front and drops the 19 latent frames that they make."""
    sound = noise(3, 5, 12)
    weights = torch.nn.functional.silu(encoder.weights.flatten())
    mixed_TC = torch.einsum("lct,l->tc", sound, weights / weights.sum())
    local, overall = encoder.encoder(torch.cat([mixed_TC[:1].expand(73, -1), mixed_TC]))
    for ours, theirs in zip(encoder(sound), (local[19:], overall[19:]), strict=True):
        assert len(ours) == 3
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_the_learned_token_comes_last(encoder: Any) -> None:
    local, _ = encoder(noise(3, 5, 8))
    assert local.shape == (2, 5, 32)
    assert torch.equal(local[:, -1], encoder.encoder.padding_tokens[0, 0].expand(2, -1))


@pytest.mark.parametrize("adain", [True, False])
@given(cuts=st.lists(st.integers(0, LENGTH), max_size=5))
@settings(max_examples=25, deadline=None)
def test_shares_of_the_sequence_take_in_what_the_whole_does(adain: bool, cuts: list[int]) -> None:
    """Wherever context parallelism cuts, in the middle of a latent frame and among the history tokens too."""
    injector = seeded(AudioInjector(2, DIM, 2, 1e-6, adain))
    states, local = noise(1, LENGTH, DIM), noise(FRAMES, 5, DIM)
    overall = noise(FRAMES, DIM) if adain else None

    def run(start: int, stop: int) -> Any:
        span = Span(start, stop - start, FRAMES * PER_FRAME, PER_FRAME)
        return injector(states[:, start:stop], 1, local, overall, Kept(), span, torch.float32)

    whole = run(0, LENGTH)
    assert (whole - states)[:, : FRAMES * PER_FRAME].abs().amin(-1).max() > 0
    assert torch.equal(whole[:, FRAMES * PER_FRAME :], states[:, FRAMES * PER_FRAME :])
    parts = [run(start, stop) for start, stop in pairwise(sorted({0, *cuts, LENGTH}))]
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-5)


def test_patches_of_a_frame_hear_that_frame_alone() -> None:
    injector = seeded(AudioInjector(1, DIM, 2, 1e-6, True))
    states, local, overall = noise(1, LENGTH, DIM), noise(FRAMES, 5, DIM), noise(FRAMES, DIM)
    span = Span(0, LENGTH, FRAMES * PER_FRAME, PER_FRAME)
    before = injector(states, 0, local, overall, Kept(), span, torch.float32)
    for changed in (local, overall):
        changed[2] += 1
    after = injector(states, 0, local, overall, Kept(), span, torch.float32)
    differs = (before != after).any(-1)[0].tolist()
    assert differs == [2 * PER_FRAME <= token < 3 * PER_FRAME for token in range(LENGTH)]


@given(start=st.integers(0, 40), count=st.integers(1, 40), per_frame=st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_a_span_covers_whole_frames(start: int, count: int, per_frame: int) -> None:
    span = Span(start, count, 4 * per_frame, per_frame)
    there = [token for token in range(start, start + count) if token < 4 * per_frame]
    assert span.video == len(there)
    if there:
        frames, lead, tail = span.frames()
        assert frames.start == there[0] // per_frame and frames.stop == there[-1] // per_frame + 1
        assert lead + len(there) + tail == (frames.stop - frames.start) * per_frame
        assert 0 <= lead < per_frame and 0 <= tail < per_frame


def test_history_stands_where_its_patches_lie() -> None:
    grids = FramePacker(16, 8, "padd").grids(9, 13)
    assert [grid.times for grid in grids] == [(-1,), (-3,), (-19, -14, -9, -4)]
    assert grids[0].rows == tuple(range(9)) and grids[0].columns == tuple(range(13))
    # Truncated, not rounded: 0, 2.66, 5.33, 8 of nine rows and 0, 6, 12 of thirteen columns.
    assert grids[1].rows == (0, 2, 5, 8) and grids[2].columns == (0, 6, 12)


def test_attention_depends_on_distance_alone() -> None:
    query, key = noise(1, 1, 1, 16), noise(1, 1, 2, 16)[:, :, :1]

    def product(query_time: int, key_time: int) -> float:
        turned = []
        for states, time in ((query, query_time), (key, key_time)):
            table = rotations((full_grid((time,), 1, 1),), 16)[None, :, None]
            turned.append(rotate(states.double(), table.real, table.imag))
        return float((turned[0] * turned[1]).sum())

    assert product(5, 3) == pytest.approx(product(0, -2), abs=1e-9)
    assert product(5, 3) != pytest.approx(product(5, 2), abs=1e-3)


def test_timesteps_are_cosines_then_sines() -> None:
    waves = sinusoid(torch.tensor([500]), 8)
    assert waves.dtype == torch.float64
    expected = torch.tensor([500.0, 50.0, 5.0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(waves, torch.cat([expected.cos(), expected.sin()]))


def test_kept_makes_once_and_the_other_each_time() -> None:
    made: list[int] = []
    for keep in (True, False):
        kept = Kept(keep)
        assert [kept.get("a", lambda: made.append(1) or len(made)) for _ in range(2)] in ([1, 1], [2, 3])
    assert len(made) == 3
