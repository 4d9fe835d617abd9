"""The Wan2.1 VAE with official tensor names: latents and pictures, in pieces and with the loader that users get."""

from __future__ import annotations

import numpy as np
import pytest

from golden.golden_file import GoldenFile
from golden.topic import Topic

_LATENTS, _PIXELS = 1e-4, 1e-3


def check(file: GoldenFile, case: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from wanprep.models.vae import load_vae

    fields = file.case(case)
    vae = load_vae(str(file.weights().path), "cpu")
    assert vae.streams, "the VAE no longer codes clips in pieces"
    video_CTHW = torch.tensor(fields["in.video"])
    latents_CTHW = vae.whiten(vae.encode(video_CTHW))
    np.testing.assert_allclose(latents_CTHW.numpy(), fields["out.latent_normalised"], rtol=0, atol=_LATENTS)
    stored_CTHW = vae.unwhiten(torch.tensor(fields["out.latent_normalised"]))
    pixels_CTHW = vae.decode(stored_CTHW, clamp=False)
    np.testing.assert_allclose(
        pixels_CTHW.numpy(), fields["out.reconstruction_unclamped"], rtol=0, atol=_PIXELS
    )
    clamped_CTHW = vae.decode(stored_CTHW)
    np.testing.assert_allclose(clamped_CTHW.numpy(), fields["out.reconstruction"], rtol=0, atol=_PIXELS)
    encoder = vae.encoder()
    pieces = [encoder.add(piece) for piece in video_CTHW.split(3, 1)]
    streamed_CTHW = vae.whiten(torch.cat([*pieces, encoder.finish()], 1))
    np.testing.assert_array_equal(streamed_CTHW.numpy(), latents_CTHW.numpy())


TOPICS = [
    Topic(
        files=("s2v/vae21_*.safetensors",),
        companions=("s2v/vae21_*.weights.safetensors",),
        check=check,
    )
]
