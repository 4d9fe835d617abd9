"""Whether a clip's conditioning can be given to a loaded model with these settings."""

from __future__ import annotations

from dataclasses import dataclass

from schemas import LatentsRecord
from wanprep_infer.animate.motion import Motion
from wanprep_infer.animate.settings import AnimateSettings
from wanprep_infer.animate.transformer import Transformer
from wanprep_infer.conditioning.animate import AnimateConditioning
from wanprep_infer.conditioning.latents_check import unfit_latents
from wanprep_infer.conditioning.text_check import unfit_text
from wanprep_infer.conditioning.unfit import UnfitConditioning

TEXT_TOKENS = 512  # rows of text that the transformer takes (Wan2.2 official config)
HIDDEN_LAYER = -2  # of CLIP's hidden states (Wan2.2 official code: the output of block 31 of 32)
_LETTERBOXED = ("animate", "replace")  # rules of image_embed that are the official one


@dataclass(frozen=True)
class ModelIdentity:
    """What stored tensors are compared with. None: nothing is known, and anything passes."""

    vae_digest: str | None = None  # of its files
    vae_weights: str | None = None  # `Vae.fingerprint`


def check_fit(
    conditioning: AnimateConditioning,
    settings: AnimateSettings,
    transformer: Transformer,
    motion: Motion,
    identity: ModelIdentity,
) -> None:
    """Lets through what fits.

    Raises:
        UnfitConditioning: anything else; one sentence that names the clip and what makes it right.
    """
    why_not = (
        _mode(conditioning, settings)
        or _latents(conditioning, settings, transformer, identity)
        or _text(conditioning, settings, transformer)
        or _image(conditioning, settings, transformer)
        or _face(conditioning, settings, motion)
    )
    if why_not:
        raise UnfitConditioning(f"clip {conditioning.clip_id}: {why_not}")


def _mode(conditioning: AnimateConditioning, settings: AnimateSettings) -> str | None:
    if conditioning.mode == settings.mode:
        return None
    return f"its conditioning was opened for mode {conditioning.mode}: take that mode, or open it for {settings.mode}"


def _latents(
    conditioning: AnimateConditioning,
    settings: AnimateSettings,
    transformer: Transformer,
    identity: ModelIdentity,
) -> str | None:
    records: list[LatentsRecord] = [conditioning.pose_latents, conditioning.reference_latents]
    if conditioning.background_latents is not None:
        records.append(conditioning.background_latents)
    for record in records:
        why_not = unfit_latents(
            record,
            channels=transformer.latent_channels,
            vae_digest=identity.vae_digest,
            vae_weights=identity.vae_weights,
        )
        if why_not:
            return why_not
        if settings.compat == "diffusers" and record.pixel_rounding != "float32":
            stage = f"{record.view}_latents"
            return (
                f"{stage} are of pixels rounded to {record.pixel_rounding}, which diffusers does not do: run again "
                f"with --set {stage}.pixel_rounding=float32, or take compat official"
            )
    return None


def _text(
    conditioning: AnimateConditioning, settings: AnimateSettings, transformer: Transformer
) -> str | None:
    text, negative = conditioning.text, conditioning.negative_text
    if why_not := unfit_text(text, channels=transformer.text_channels):
        return why_not
    if len(text.states_LC) > TEXT_TOKENS:
        return (
            f"the text has {len(text.states_LC)} tokens and the model takes {TEXT_TOKENS}: run again with "
            f"--set text.limit={TEXT_TOKENS}"
        )
    if not settings.guided:
        return None
    name = settings.negative_name
    if negative is None:
        return (
            "guidance above 1 takes a negative prompt, and the store has none for it: run again with the stage "
            f"negative_text and --set 'negative_text.prompts=[{name}]', or take guidance 1"
        )
    if name not in negative.names:
        return (
            f"the store has no negative prompt '{name}' (it has {', '.join(negative.names)}): run again with "
            f"--set 'negative_text.prompts=[{name}]', or choose another with --negative"
        )
    if why_not := unfit_text(negative, channels=transformer.text_channels):
        return why_not
    if len(negative.states_of(name)) > TEXT_TOKENS:
        return (
            f"the negative prompt '{name}' has more than the {TEXT_TOKENS} tokens that the model takes: run again "
            f"with --set negative_text.limit={TEXT_TOKENS}"
        )
    return None


def _image(
    conditioning: AnimateConditioning, settings: AnimateSettings, transformer: Transformer
) -> str | None:
    embed = conditioning.image_embed
    width = int(embed.embed_TC.shape[1])
    if width != transformer.image_channels or embed.hidden_layer != HIDDEN_LAYER:
        return (
            f"image_embed is layer {embed.hidden_layer} of {embed.encoder}, {width} wide, and the model takes layer "
            f"{HIDDEN_LAYER} of an encoder {transformer.image_channels} wide: run again with --set "
            "image_embed.model=DIR, the encoder that belongs to it"
        )
    if settings.compat == "diffusers":
        if embed.rule == "centre_crop":
            return None
        return (
            f"image_embed shows the reference by the rule {embed.rule}, and diffusers crops its middle: run again "
            "with --set image_embed.rule=centre_crop, or take compat official"
        )
    size = f"--set image_embed.size.width={conditioning.width} --set image_embed.size.height={conditioning.height}"
    if embed.rule not in _LETTERBOXED:
        return (
            f"image_embed shows the reference by the rule {embed.rule}, and the official code letterboxes it: run "
            f"again with --set image_embed.rule={conditioning.mode} {size}, or take compat diffusers"
        )
    if (embed.width, embed.height) != (conditioning.width, conditioning.height):
        return (
            f"image_embed shows the reference letterboxed to {embed.width}x{embed.height}, and the pictures are "
            f"{conditioning.width}x{conditioning.height}: run again with {size}"
        )
    return None


def _face(conditioning: AnimateConditioning, settings: AnimateSettings, motion: Motion) -> str | None:
    if conditioning.face_crops is not None or motion.is_stored(conditioning, settings.rounding):
        return None
    return (
        f"its face_motion is not what the model's own motion encoder makes with pixels in {settings.rounding}, and "
        "there are no face_crops to encode: run again with the stage face_crops, or with --set face_motion.model=DIR, "
        f"the model's own folder, and --set face_motion.pixel_rounding={settings.rounding}"
    )
