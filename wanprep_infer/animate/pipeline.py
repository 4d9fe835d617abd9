"""Wan2.2-Animate from a store: the official segment loop over stored conditioning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from schemas.tensor import Tensor as StoredTensor
from wanprep.models.device import Device, Precision
from wanprep.models.motion_encoder import motion_encoder_digest
from wanprep.models.vae import Vae
from wanprep_infer.animate.checks import ModelIdentity, check_fit
from wanprep_infer.animate.condition import Conditioner, Grounds
from wanprep_infer.animate.denoise import decode, denoise, noise_CTHW
from wanprep_infer.animate.history import carried_frames
from wanprep_infer.animate.motion import Motion
from wanprep_infer.animate.settings import AnimateSettings
from wanprep_infer.animate.transformer import Transformer
from wanprep_infer.conditioning.animate import AnimateConditioning
from wanprep_infer.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

    from wanprep_infer.lora import Lora
    from wanprep_infer.memory import MemoryConfig


class AnimatePipeline:
    """A loaded Animate model: its transformer and its VAE. Text and image encoders are never opened."""

    def __init__(
        self,
        transformer: Transformer,
        vae: Vae,
        *,
        identity: ModelIdentity | None = None,
        motion_digest: str | None = None,
        tile: int | None = None,
    ) -> None:
        """
        Args:
            transformer, vae: loaded, each on its device.
            identity: what stored latents are compared with; None: nothing.
            motion_digest: of the transformer's motion encoder; None: motion vectors of the store are not taken.
            tile: pixels a side of the squares that the VAE works in; None: whole pictures.
        """
        self.transformer = transformer
        self.vae = vae
        self._identity = identity or ModelIdentity()
        self._motion = Motion(transformer, motion_digest)
        self._tile = tile
        self._conditioners: dict[bool, Conditioner] = {}

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str,
        *,
        device: Device = "auto",
        precision: Precision = "bfloat16",
        memory: MemoryConfig | None = None,
        loras: Sequence[Lora] = (),
    ) -> AnimatePipeline:
        """Loads what a run from the store needs, from a diffusers folder or the official one.

        Args:
            precision: of the transformer; the VAE runs in float32, as the official code's does.
            memory: how to make it fit; None: everything on the device.

        Raises:
            ModelMissing, ModelBroken: a part is not there, of another kind of model, or damaged; names it.
            ModelOutOfMemory: it does not fit on the GPU; says what is left to try.
            UsageError: cuda was asked for and there is none.
        """
        from wanprep_infer.models.animate_transformer import AnimateTransformer
        from wanprep_infer.models.loaded import load_generator

        found = load_generator(
            name_or_path,
            "animate",
            AnimateTransformer.load,
            lambda transformer: transformer.model,
            device=device,
            precision=precision,
            memory=memory,
            loras=loras,
        )
        motion_digest = motion_encoder_digest(found.network.motion_encoder)
        found.place()
        found.transformer.device = found.vae.device
        identity = ModelIdentity(found.vae_digest, found.vae_weights)
        return cls(
            found.transformer,
            found.vae,
            identity=identity,
            motion_digest=motion_digest,
            tile=found.memory.tile,
        )

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.transformer.device

    def check(self, conditioning: AnimateConditioning, settings: AnimateSettings) -> None:
        """Lets through conditioning that this model takes with these settings.

        Raises:
            UnfitConditioning: it does not; one sentence that says which command makes it right.
        """
        check_fit(conditioning, settings, self.transformer, self._motion, self._identity)

    def generate(
        self,
        conditioning: AnimateConditioning,
        settings: AnimateSettings,
        seed: int,
        progress: Progress | None = None,
    ) -> Iterator[Tensor]:
        """The clip's frames, a segment at a time: float32 [3,T,H,W] on the CPU, -1 to 1, together exactly
        `conditioning.frames`.

        Memory does not grow with the clip's length: what is not asked for yet is not made, and closing the iterator
        frees what a segment holds.

        Raises:
            UnfitConditioning: at once, as `check`; on the way, when a driving video does not decode.
        """
        self.check(conditioning, settings)
        return self._segments(conditioning, settings, seed, progress or silent())

    def _segments(
        self, conditioning: AnimateConditioning, settings: AnimateSettings, seed: int, progress: Progress
    ) -> Iterator[Tensor]:
        windows = conditioning.segments.windows
        generator = torch.Generator("cpu").manual_seed(seed)
        left = conditioning.frames
        carried_CTHW: Tensor | None = None
        with ExitStack() as stack:
            grounds: Iterator[Grounds] | None = None
            if conditioning.mode == "replace" and len(windows) > 1:
                grounds = stack.enter_context(closing(cast(Any, conditioning.later_backgrounds())))
            progress.begin(conditioning.clip_id, len(windows), settings.steps)
            stack.callback(progress.end)
            for segment in range(len(windows)):
                with torch.no_grad():
                    ground = next(grounds) if grounds is not None and segment else None
                    y_CTHW = self._condition(conditioning, settings, segment, carried_CTHW, ground)
                    latents_CTHW = self._denoised(
                        conditioning, settings, segment, y_CTHW, generator, progress
                    )
                    frames_CTHW = decode(
                        self.vae, latents_CTHW[:, 1:], conditioning.carried(segment), self._tile
                    )
                    carried_CTHW = carried_frames(
                        frames_CTHW, conditioning.segment_overlap, carried_CTHW, rounds=settings.rounds
                    )
                del ground, y_CTHW, latents_CTHW
                frames_CTHW = frames_CTHW[:, :left]
                left -= frames_CTHW.shape[1]
                progress.segment(frames_CTHW.shape[1])
                yield frames_CTHW
                del frames_CTHW  # its taker may free it while the next one is made

    def _condition(
        self,
        conditioning: AnimateConditioning,
        settings: AnimateSettings,
        segment: int,
        carried_CTHW: Tensor | None,
        ground: Grounds | None,
    ) -> Tensor:
        rounds = settings.rounds
        if rounds not in self._conditioners:
            self._conditioners[rounds] = Conditioner(self.vae, tile=self._tile, rounds=rounds)
        conditioner = self._conditioners[rounds]
        if carried_CTHW is None:
            return conditioner.first(conditioning)
        return conditioner.later(conditioning, segment, carried_CTHW, ground)

    def _denoised(
        self,
        conditioning: AnimateConditioning,
        settings: AnimateSettings,
        segment: int,
        y_CTHW: Tensor,
        generator: torch.Generator,
        progress: Progress,
    ) -> Tensor:
        transformer = self.transformer
        motion_TC = self._motion.vectors_TC(conditioning, segment, settings.rounding)
        pose_CTHW = torch.from_numpy(conditioning.pose_latents_CTHW(segment)).to(transformer.device)

        with_face = transformer.prepare(
            context_LC=self._moved(conditioning.text.states_LC),
            image_embed_TC=self._moved(conditioning.image_embed.embed_TC),
            pose_latents_CTHW=pose_CTHW,
            motion_TC=motion_TC,
            keep_keys_values=settings.keep_keys_values,
        )
        without: Any = None
        if settings.guided and conditioning.negative_text is not None:
            negative_LC = conditioning.negative_text.states_of(settings.negative_name)
            without = transformer.other_branch(
                with_face,
                context_LC=self._moved(negative_LC),
                motion_TC=self._motion.no_face_TC(conditioning.segment_frames),
            )
        latents_CTHW = noise_CTHW(generator, y_CTHW, transformer.latent_channels).to(transformer.device)
        return denoise(
            transformer,
            latents_CTHW,
            y_CTHW.to(transformer.device),
            settings,
            with_face,
            without,
            progress.step,
        )

    def _moved(self, stored: StoredTensor) -> Tensor:
        """A stored tensor on the transformer's device, in its precision."""
        values = torch.from_numpy(np.array(stored, np.float32))
        return values.to(self.transformer.device, self.transformer.dtype)
