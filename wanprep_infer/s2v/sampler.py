"""From noise to one clip's latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from wanprep_infer.progress import Progress
from wanprep_infer.s2v.settings import S2VSettings
from wanprep_infer.solvers import make_solver

if TYPE_CHECKING:
    from wanprep_infer.conditioning.s2v import S2VConditioning
    from wanprep_infer.models.s2v_transformer import TextTokens
    from wanprep_infer.s2v.pipeline import S2VPipeline


class ClipSampler:
    """Samples the clips of one generation. What steps share is prepared once a clip, what clips share once."""

    def __init__(self, pipeline: S2VPipeline, conditioning: S2VConditioning, settings: S2VSettings) -> None:
        self._pipeline = pipeline
        self._conditioning = conditioning
        self._settings = settings
        self._text = self._tokens(conditioning.text_LC)
        self._negative: TextTokens | None = None
        if settings.guided and conditioning.negative_LC is not None:
            self._negative = self._tokens(conditioning.negative_LC)
        self._black_CTHW: torch.Tensor | None = None

    @torch.no_grad()
    def sample(
        self,
        clip: int,
        reference_CTHW: torch.Tensor,
        motion_CTHW: torch.Tensor | None,
        seed: int,
        progress: Progress,
    ) -> torch.Tensor:
        """A clip's whitened latents, float32 [16, frames_per_clip/4, height/8, width/8].

        Args:
            motion_CTHW: latents of the history; None: the clip has none.
        """
        settings, transformer = self._settings, self._pipeline.transformer
        frames = settings.frames_per_clip // 4
        shape = (reference_CTHW.shape[0], frames, *reference_CTHW.shape[2:])
        # Drawn on the CPU in float32, whatever runs the model: a seed gives the same noise everywhere.
        noise_CTHW = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        audio_LCT = torch.from_numpy(self._conditioning.audio_LCT(clip)).to(self._pipeline.device)
        audio = transformer.audio_tokens(audio_LCT, keep_keys_values=settings.keep_keys_values)
        tokens = transformer.prepare(
            audio_LCT=audio,
            context_LC=self._text,
            reference_latents_CTHW=reference_CTHW,
            motion_latents_CTHW=motion_CTHW,
            pose_latents_CTHW=self._pose_CTHW(clip),
            frames=frames,
            drop_motion=motion_CTHW is None,
        )
        unguided = None
        if self._negative is not None:
            silence = self._pipeline.silence(settings.frames_per_clip, settings.keep_keys_values)
            unguided = tokens.branch(text=self._negative, audio=silence)
        solver = make_solver(settings.solver, settings.steps, settings.shift)
        latents_CTHW = noise_CTHW.to(self._pipeline.device)
        for timestep in solver.schedule.timesteps_S.tolist():
            velocity_CTHW = transformer.velocity(latents_CTHW, timestep, tokens)
            if unguided is not None:
                without_CTHW = transformer.velocity(latents_CTHW, timestep, unguided)
                velocity_CTHW = without_CTHW + settings.guidance * (velocity_CTHW - without_CTHW)
            latents_CTHW = solver.step(velocity_CTHW, latents_CTHW)
            progress.step()
        return latents_CTHW

    def _tokens(self, states_LC: object) -> TextTokens:
        context_LC = torch.as_tensor(states_LC, device=self._pipeline.device)
        return self._pipeline.transformer.text_tokens(
            context_LC, keep_keys_values=self._settings.keep_keys_values
        )

    def _pose_CTHW(self, clip: int) -> torch.Tensor | None:
        conditioning = self._conditioning
        if conditioning.pose is None:
            return None
        found_CTHW = conditioning.pose_latents_CTHW(clip)
        if found_CTHW is not None:
            return torch.from_numpy(found_CTHW).to(self._pipeline.device)
        if self._black_CTHW is None:
            self._black_CTHW = self._pipeline.black_pose_latents_CTHW(
                conditioning.height, conditioning.width, self._settings.frames_per_clip
            )
        return self._black_CTHW
