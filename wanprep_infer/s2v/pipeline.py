"""Generates a clip's video with Wan2.2-S2V from stored conditioning, clip after clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wanprep.models.device import Device, Precision
from wanprep_infer.conditioning.latents_check import unfit_latents
from wanprep_infer.conditioning.unfit import UnfitConditioning
from wanprep_infer.progress import Progress, silent
from wanprep_infer.s2v.decode import decode_clip
from wanprep_infer.s2v.history import MotionHistory
from wanprep_infer.s2v.settings import S2VSettings
from wanprep_infer.s2v.timing import OPENING_FRAMES, S2VPlan, plan_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from wanprep.models.vae import Vae
    from wanprep_infer.conditioning.s2v import S2VConditioning
    from wanprep_infer.lora import Lora
    from wanprep_infer.memory import MemoryConfig
    from wanprep_infer.models.s2v_transformer import AudioTokens, WanS2VTransformer3DModel


class S2VPipeline:
    """A loaded S2V transformer and its VAE; the text and sound encoders are never loaded."""

    def __init__(
        self,
        transformer: WanS2VTransformer3DModel,
        vae: Vae,
        *,
        vae_digest: str | None = None,
        vae_weights: str | None = None,
        tile: int | None = None,
    ) -> None:
        """
        Args:
            transformer: on the VAE's device, or brought there as it runs.
            vae_digest: of the VAE's files; stored latents must have the same. None: not checked.
            vae_weights: `Vae.fingerprint`, which counts where the latents have it. None: not checked.
            tile: pixels; the VAE codes larger pictures in squares of this side.
        """
        self.transformer = transformer
        self.vae = vae
        self._vae_digest, self._vae_weights = vae_digest, vae_weights
        self._tile = tile
        self._silence: tuple[tuple[int, bool], AudioTokens] | None = None

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str,
        *,
        device: Device = "auto",
        precision: Precision = "bfloat16",
        memory: MemoryConfig | None = None,
        loras: Sequence[Lora] = (),
    ) -> S2VPipeline:
        """Loads transformer and VAE of a model folder, in the official layout or in diffusers'.

        Args:
            precision: of the transformer; the VAE runs in float32, as in the official code.
            memory: what is given up for less memory; None: nothing.
            loras: attached in this order.

        Raises:
            ModelMissing: it is not on this machine, or is another kind of model.
            ModelBroken: a tensor is missing, unexpected or misshapen; names it.
            ModelOutOfMemory: it does not fit on the GPU; says what is left to try.
            UsageError: cuda was asked for and there is none.
        """
        from wanprep_infer.models.loaded import load_generator
        from wanprep_infer.models.s2v_transformer import load_s2v_transformer

        found = load_generator(
            name_or_path,
            "s2v",
            load_s2v_transformer,
            lambda transformer: transformer,
            device=device,
            precision=precision,
            memory=memory,
            loras=loras,
        )
        found.place()
        return cls(
            found.transformer,
            found.vae,
            vae_digest=found.vae_digest,
            vae_weights=found.vae_weights,
            tile=found.memory.tile,
        )

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.vae.device

    def check(self, conditioning: S2VConditioning, settings: S2VSettings) -> None:
        """Lets through what this model can generate from.

        Raises:
            UnfitConditioning: anything else; one sentence that says what makes it right.
        """
        if why_not := self._unfit(conditioning, settings):
            raise UnfitConditioning(f"clip {conditioning.clip_id}: {why_not}")

    def generate(
        self,
        conditioning: S2VConditioning,
        settings: S2VSettings,
        seed: int,
        progress: Progress | None = None,
    ) -> Iterator[Tensor]:
        """The video's frames, a clip's at a time: float32 [3, T, height, width] in -1 to 1, on the CPU;
        `conditioning.frames` of them all together, 16 a second.

        Clip r starts from noise drawn on the CPU with seed + r, so that a seed means the same on every device.

        Raises:
            UnfitConditioning: see `check`; raised at once.
        """
        self.check(conditioning, settings)
        return self._frames(conditioning, settings, seed, progress or silent())

    def _frames(
        self, conditioning: S2VConditioning, settings: S2VSettings, seed: int, progress: Progress
    ) -> Iterator[Tensor]:
        from wanprep_infer.s2v.sampler import ClipSampler

        plan = plan_of(conditioning, settings)
        progress.begin(conditioning.clip_id, plan.clips, settings.steps)
        try:
            sampler = ClipSampler(self, conditioning, settings)
            reference_CHW = None
            if settings.start_from_reference:
                reference_CHW = _tensor(conditioning.reference_pixels_CHW())
            history = MotionHistory(conditioning.height, conditioning.width, reference_CHW)
            reference_CTHW = _tensor(conditioning.reference_latents_CTHW()).to(self.device)
            for clip in range(plan.clips):
                motion_CTHW = None
                if clip > 0 or not settings.drops_first_motion:
                    motion_CTHW = history.latents_CTHW(self.vae, self._tile)
                latents_CTHW = sampler.sample(clip, reference_CTHW, motion_CTHW, seed + clip, progress)
                before_CTHW = reference_CTHW if motion_CTHW is None else motion_CTHW
                frames_CTHW = decode_clip(self.vae, before_CTHW, latents_CTHW, self._tile)
                lost = OPENING_FRAMES if motion_CTHW is None else 0
                if clip + 1 < plan.clips:
                    history.add(frames_CTHW[:, lost:])
                shown_CTHW = _shown(frames_CTHW, clip, plan)
                progress.segment(shown_CTHW.shape[1])
                yield shown_CTHW
        finally:
            progress.end()

    def silence(self, frames_per_clip: int, keep_keys_values: bool = True) -> AudioTokens:
        """The sound of the branch that guidance leads away from: made once for all clips, seeds and videos."""
        import torch

        wanted = (frames_per_clip, keep_keys_values)
        if self._silence is None or self._silence[0] != wanted:
            config: Any = self.transformer.config
            shape = (config.audio_layers, config.audio_dim, frames_per_clip)
            silence_LCT = torch.zeros(shape, device=self.device)
            tokens = self.transformer.audio_tokens(silence_LCT, keep_keys_values=keep_keys_values)
            self._silence = (wanted, tokens)
        return self._silence[1]

    def black_pose_latents_CTHW(self, height: int, width: int, frames_per_clip: int) -> Tensor:
        """Pose latents of a clip in which nobody is posed, as the official code has them after the pose's end: black
        pictures, which is not the same as no pose."""
        import torch

        black_CTHW = torch.full((3, 1, 1, 1), -1.0).expand(3, frames_per_clip + 1, height, width)
        return self.vae.whiten(self.vae.encode(black_CTHW, self._tile).float())[:, 1:]

    def _unfit(self, conditioning: S2VConditioning, settings: S2VSettings) -> str | None:
        if plan_of(conditioning, settings) != plan_of(conditioning, conditioning.settings):
            return (
                "its conditioning was opened for other settings: open it with "
                "S2VConditioning.from_clip(clip, settings)"
            )
        if settings.guided and conditioning.negative_LC is None:
            return (
                "its conditioning was opened without a negative prompt, and guidance above 1 needs one: open it with "
                "S2VConditioning.from_clip(clip, settings)"
            )
        config: Any = self.transformer.config
        layers, channels = conditioning.audio_TLC.shape[1:]
        if (layers, channels) != (config.audio_layers, config.audio_dim):
            return (
                f"its sound's states are of {layers} layers and {channels} channels and the model takes "
                f"{config.audio_layers} and {config.audio_dim}: run again with the encoder that belongs to it, "
                "--set audio.model=DIR"
            )
        for name, states_LC in (("text", conditioning.text_LC), ("negative_text", conditioning.negative_LC)):
            if states_LC is not None and states_LC.shape[1] != config.text_dim:
                return (
                    f"its {name} embedding has {states_LC.shape[1]} channels and the model takes {config.text_dim}: "
                    f"run again with the encoder that belongs to it, --set {name}.model=DIR"
                )
        for name, record in (("reference", conditioning.reference), ("s2v_pose", conditioning.pose)):
            if record is None:
                continue
            why_not = unfit_latents(
                record,
                channels=self.vae.channels,
                vae_digest=self._vae_digest,
                vae_weights=self._vae_weights,
            )
            if why_not is not None:
                return why_not.replace(f"{record.view}_latents", f"{name}_latents")
        return None


def _shown(frames_CTHW: Tensor, clip: int, plan: S2VPlan) -> Tensor:
    """What of a clip's frames is part of the video."""
    import torch

    if clip == 0 and plan.skipped:
        kept_CTHW = frames_CTHW[:, plan.skipped :]
        frames_CTHW = torch.cat([kept_CTHW[:, :1].expand(-1, plan.held, -1, -1), kept_CTHW], 1)
    return frames_CTHW[:, : plan.frames_of(clip)].contiguous()


def _tensor(values: Any) -> Tensor:
    import torch

    return torch.from_numpy(values)
