"""Whether stored latents are of the VAE that a model was trained with."""

from __future__ import annotations

from schemas import LatentsRecord
from wanprep_infer.conditioning.unfit import UnfitConditioning


class UnfitLatents(UnfitConditioning):
    """The latents are not what the model was trained with; the message says how to make some that are."""


def unfit_latents(
    record: LatentsRecord,
    *,
    channels: int | None = None,
    vae_digest: str | None = None,
    vae_weights: str | None = None,
) -> str | None:
    """Why a Wan model cannot take these latents, in one sentence; None when it can.

    Args:
        channels: that the model takes (16: Wan2.1's VAE, 48: Wan2.2's); None: any.
        vae_digest: of the files of the VAE that the model comes with; None: any VAE will do. It counts where the
            record or the caller has no `vae_weights`.
        vae_weights: of the same VAE, `Vae.fingerprint`, which is the same for an official file and a diffusers
            folder.
    """
    stage = f"{record.view}_latents"
    if record.backend != "vae":
        return (
            f"{stage} were made by {record.vae}, a codec without weights that no Wan model was trained with: "
            f"run again with --set {stage}.backend=vae"
        )
    if channels is not None and record.channels != channels:
        name = "wan2.2-vae" if channels == 48 else "wan2.1-vae"
        return (
            f"{stage} have {record.channels} channels and the model takes {channels}: "
            f"run again with the VAE that belongs to it, --set {stage}.model={name}"
        )
    if vae_weights is not None and record.vae_weights is not None:
        alike = record.vae_weights == vae_weights
    else:
        alike = vae_digest is None or record.vae_digest == vae_digest
    if not alike:
        return (
            f"{stage} were made by another VAE ({record.vae}) than the model comes with: "
            f"run again with --set {stage}.model=DIR, the model's own folder"
        )
    return None


def check_latents(
    record: LatentsRecord,
    *,
    channels: int | None = None,
    vae_digest: str | None = None,
    vae_weights: str | None = None,
) -> None:
    """Lets through what `unfit_latents` finds nothing wrong with.

    Raises:
        UnfitLatents: anything else.
    """
    why_not = unfit_latents(record, channels=channels, vae_digest=vae_digest, vae_weights=vae_weights)
    if why_not:
        raise UnfitLatents(why_not)
