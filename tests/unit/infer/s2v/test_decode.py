"""Decoding a clip behind its history: what is left out cannot be seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from wanprep.models.vae import Vae, as_vae  # noqa: E402
from wanprep_infer.s2v.decode import _enough_blocks, decode_clip  # noqa: E402

DEPTH = {
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_scales": [],
    "temperal_downsample": [False, True, True],
}


@pytest.fixture(scope="module")
def vae() -> Iterator[Vae]:
    """The published VAE's depth with narrow layers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny convolutions on many threads wait for each other
    torch.manual_seed(0)
    yield as_vae(diffusers.AutoencoderKLWan(base_dim=4, z_dim=16, **DEPTH))
    torch.set_num_threads(threads)


def latents(frames: int, seed: int = 1, side: int = 2) -> Any:
    return torch.randn((16, frames, side, side), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("before", [1, 4, 5, 8, 19])
def test_shortened_is_the_same_to_the_bit(before: int, vae: Vae) -> None:
    both = latents(before + 2)
    history, clip = both[:, :before], both[:, before:]
    whole = vae.decode(vae.unwhiten(both))[:, -8:]
    assert torch.equal(decode_clip(vae, history, clip), whole)
    assert torch.equal(decode_clip(vae, history, clip, shortened=False), whole)


def test_blocks_that_are_left_out_could_not_be_seen_but_one_frame_later_they_could(vae: Vae) -> None:
    """One latent frame less than is decoded in full shows: the count is the least that is exact."""
    assert [_enough_blocks(vae.model, left) for left in (19, 8, 7, 5, 4, 1)] == [2, 2, 3, 3, None, None]
    both = latents(21)
    whole = decode_clip(vae, both[:, :19], both[:, 19:])
    fewer = decode_clip(vae, both[:, 1:19], both[:, 19:])
    assert not torch.equal(whole, fewer)  # the low-rate blocks see all 19


def test_decoder_reaches_back_further_than_the_history(vae: Vae) -> None:
    """Why the low-rate blocks are given all of it: a change 19 latent frames back moves pixels."""
    both = latents(21)
    moved = both.clone()
    moved[:, 0] += 1
    change = decode_clip(vae, moved[:, :19], moved[:, 19:]) - decode_clip(vae, both[:, :19], both[:, 19:])
    assert change.abs().max() > 1e-3


def test_tiles_are_decoded_with_all_of_the_history(vae: Vae) -> None:
    both = latents(3, side=5)
    whole = vae.decode(vae.unwhiten(both), tile=32)[:, -4:]
    assert torch.equal(decode_clip(vae, both[:, :2], both[:, 2:], tile=32), whole)


def test_a_vae_that_does_not_stream_gives_the_same_frames(vae: Vae) -> None:
    from dataclasses import replace

    both = latents(6)
    whole = decode_clip(vae, both[:, :4], both[:, 4:])
    slow = decode_clip(replace(vae, streams=False), both[:, :4], both[:, 4:])
    torch.testing.assert_close(slow, whole, rtol=0, atol=1e-5)


def test_the_hook_is_gone_afterwards(vae: Vae) -> None:
    decode_clip(vae, latents(8), latents(1))
    assert not any(module._forward_pre_hooks for module in vae.model.modules())
