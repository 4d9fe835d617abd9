"""Wan2.2-Animate's transformer for generation: what does not depend on the timestep is computed once a segment."""

from __future__ import annotations

from typing import Any

import torch

from wanprep_infer.models.adapter_state import adapter_state
from wanprep_infer.models.animate_attention import AttendedTokens, PromptTokens
from wanprep_infer.models.animate_inputs import padded_context, with_reference
from wanprep_infer.models.animate_loading import load_animate_model
from wanprep_infer.models.animate_model import AnimateModel, SegmentTokens
from wanprep_infer.models.folder import GeneratorFolder
from wanprep_infer.models.shape_check import check_shape

__all__ = ["AnimateTransformer", "SegmentTokens"]


class AnimateTransformer:
    """Computes velocities of one segment at a time.

    Tensors that are given may be of any floating type and on any device; they are moved to `device` and `dtype`, and
    results are there. No gradients.

    Args:
        model: with weights. `device`: where it computes, which with offloading is not where its weights lie; may be set
            anew. `dtype`: of its activations.
    """

    def __init__(self, model: AnimateModel, device: torch.device, dtype: torch.dtype) -> None:
        model.keep_tokens()
        self.model = model
        self.device = device
        self.dtype = dtype
        settings = model.config
        self.face_size = int(settings.motion_encoder_size)  # pixels a side
        self.motion_channels = int(settings.motion_encoder_dim)
        self.text_channels = int(settings.text_dim)
        self.image_channels = int(settings.image_dim or 0)  # 0: takes no image embedding
        self.latent_channels = int(settings.latent_channels)  # of the noise, the pose and the result
        self.condition_channels = int(settings.in_channels) - self.latent_channels  # of y: mask and latents
        self._rope: tuple[Any, Any] | None = None  # grid and place of the last tables, and the tables

    @classmethod
    def load(
        cls, folder: GeneratorFolder, *, device: torch.device | str, dtype: torch.dtype
    ) -> AnimateTransformer:
        """The transformer of a folder (`find_generator`), of diffusers' or official tensor names.

        Raises:
            ModelBroken: a file is damaged, or a tensor is missing, unexpected or misshapen; names it.
        """
        place = torch.device(device)
        return cls(load_animate_model(folder, place, dtype), place, dtype)

    @torch.no_grad()
    def motion_vectors(self, face_pixels_CTHW: torch.Tensor, *, batch: int | None = None) -> torch.Tensor:
        """Motion vectors [T, motion_channels] of face pixels [3, T, face_size, face_size] in -1 to 1. A frame's vector
        depends on that frame alone.

        Args:
            batch: frames encoded at a time; None: what the model's config says (8). More take more memory.

        Raises:
            ValueError: pixels of another size.
        """
        size = self.face_size
        check_shape("face_pixels_CTHW", face_pixels_CTHW, (3, None, size, size))
        frames_TCHW = face_pixels_CTHW.transpose(0, 1)
        step = batch or int(self.model.config.motion_encoder_batch_size)

        def work() -> torch.Tensor:
            # Pieces are moved one by one: 77 faces of 512 pixels are 121 MB in bfloat16.
            return torch.cat(
                [self.model.motion_encoder(self._placed(each)) for each in torch.split(frames_TCHW, step)]
            )

        return self.model.run(work)

    def black_motion(self, frames: int) -> torch.Tensor:
        """Motion vectors [frames, motion_channels] of black faces, which guidance is away from (Wan2.2 official code:
        face pixels -1)."""
        size = self.face_size
        black_CTHW = torch.full((3, 1, size, size), -1.0)
        return self.motion_vectors(black_CTHW).expand(frames, -1)

    @torch.no_grad()
    def prepare(
        self,
        *,
        context_LC: torch.Tensor,
        image_embed_TC: torch.Tensor | None,
        pose_latents_CTHW: torch.Tensor,
        motion_TC: torch.Tensor,
        keep_keys_values: bool = True,
    ) -> SegmentTokens:
        """What all steps of a segment share, of one guidance branch.

        Args:
            context_LC: umT5's [up to 512, text_channels] without padding; padded with zeros here.
            image_embed_TC: CLIP's [257, image_channels] of the reference; None for a model that takes none.
            pose_latents_CTHW: whitened [16, lt, h, w] of this segment's skeleton frames.
            motion_TC: [T, motion_channels] of this segment's faces, T = 4 lt - 3.
            keep_keys_values: keeps every block's keys and values of text, image and face and the embedded pose: at 14B
                0.65 GB a branch and another 0.74 GB a segment of 1280x720 in bfloat16, against their computation at
                each step.

        Raises:
            ValueError: a shape that the model does not take, or lengths that do not belong together; names them.
        """
        check_shape("motion_TC", motion_TC, (None, self.motion_channels))
        frames = pose_latents_CTHW.shape[1] if pose_latents_CTHW.ndim == 4 else 0
        if motion_TC.shape[0] != 4 * frames - 3:
            raise ValueError(
                f"motion_TC is of {motion_TC.shape[0]} frames; {frames} latent frames of pose_latents_CTHW are "
                f"of {4 * frames - 3}"
            )
        return self._prepare(
            context_LC,
            image_embed_TC,
            None,
            pose_latents_CTHW,
            self._face_tokens(motion_TC),
            keep_keys_values,
        )

    @torch.no_grad()
    def prepare_tokens(
        self,
        *,
        context_LC: torch.Tensor,
        image_tokens_TC: torch.Tensor | None,
        pose_latents_CTHW: torch.Tensor,
        face_tokens_TNC: torch.Tensor,
        keep_keys_values: bool = True,
    ) -> SegmentTokens:
        """`prepare` from what the image projector and the face encoder put out: [257, C], and [lt, heads+1, C] without
        the reference's frame.

        Raises:
            ValueError: as `prepare`.
        """
        return self._prepare(
            context_LC, None, image_tokens_TC, pose_latents_CTHW, face_tokens_TNC, keep_keys_values
        )

    @torch.no_grad()
    def other_branch(
        self, tokens: SegmentTokens, *, context_LC: torch.Tensor, motion_TC: torch.Tensor
    ) -> SegmentTokens:
        """The same segment with another text and other faces: guidance's second branch. Pose and image are shared.

        Raises:
            ValueError: as `prepare`, or the tokens are of another model or of adapters that have changed.
        """
        self._check_tokens(tokens)
        check_shape("motion_TC", motion_TC, (None, self.motion_channels))
        face_TNC = self._face_tokens(motion_TC)
        keep = tokens.prompt.text.keep
        text_BLC, _ = self._embedded(context_LC, None)
        return SegmentTokens(
            model=self.model,
            adapters=tokens.adapters,
            prompt=PromptTokens(AttendedTokens(text_BLC, keep), tokens.prompt.image),
            face=AttendedTokens(with_reference(face_TNC, tokens.grid[0] - 1), keep),
            pose=tokens.pose,
            pose_embedded=tokens.pose_embedded,
            rope=tokens.rope,
            grid=tokens.grid,
        )

    @torch.no_grad()
    def velocity(
        self, latents_CTHW: torch.Tensor, y_CTHW: torch.Tensor, timestep: int, tokens: SegmentTokens
    ) -> torch.Tensor:
        """The velocity [16, lt+1, h, w] of the segment's noisy latents at a timestep of 0 to 1000, in their type.

        Args:
            latents_CTHW: [16, lt+1, h, w], the reference's frame first.
            y_CTHW: mask and condition latents [20, lt+1, h, w].
            tokens: this segment's and branch's (`prepare`).

        Raises:
            ValueError: latents of another size or length than the tokens, or tokens of another model or of adapters
                that have changed.
        """
        self._check_tokens(tokens)
        check_shape(
            "latents_CTHW", latents_CTHW, (self.latent_channels, *tokens.grid), "the segment's tokens are for"
        )
        check_shape("y_CTHW", y_CTHW, (self.condition_channels, *tokens.grid), "the segment's tokens are for")
        inputs_BCTHW = torch.cat([self._placed(latents_CTHW), self._placed(y_CTHW)])[None]
        velocity_BCTHW = self.model.run(lambda: self.model.denoise(inputs_BCTHW, timestep, tokens))
        return velocity_BCTHW[0].to(latents_CTHW.dtype)

    @torch.no_grad()
    def velocity_plain(
        self,
        latents_CTHW: torch.Tensor,
        y_CTHW: torch.Tensor,
        timestep: int,
        *,
        context_LC: torch.Tensor,
        image_embed_TC: torch.Tensor | None,
        pose_latents_CTHW: torch.Tensor,
        motion_TC: torch.Tensor | None = None,
        face_pixels_CTHW: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """`velocity` by diffusers' own forward pass, everything at once: what `velocity` is checked against.

        Faces come as motion vectors or as pixels.

        Raises:
            ValueError: neither or both of motion vectors and pixels, or what diffusers refuses.
        """
        if (motion_TC is None) == (face_pixels_CTHW is None):
            raise ValueError("give either motion_TC or face_pixels_CTHW")
        inputs = {
            "hidden_states": torch.cat([self._placed(latents_CTHW), self._placed(y_CTHW)])[None],
            "timestep": torch.tensor([timestep], dtype=torch.long, device=self.device),
            "encoder_hidden_states": self._padded(context_LC),
            "encoder_hidden_states_image": None
            if image_embed_TC is None
            else self._placed(image_embed_TC)[None],
            "pose_hidden_states": self._placed(pose_latents_CTHW)[None],
            "return_dict": False,
        }
        if face_pixels_CTHW is not None:
            (velocity_BCTHW,) = self.model(**inputs, face_pixel_values=self._placed(face_pixels_CTHW)[None])
        else:
            assert motion_TC is not None
            motion_BCTHW = self._placed(motion_TC).T[None, :, :, None, None]
            with self.model.given_motion():
                (velocity_BCTHW,) = self.model(**inputs, face_pixel_values=motion_BCTHW)
        result: torch.Tensor = velocity_BCTHW[0].to(latents_CTHW.dtype)
        return result

    def _prepare(
        self,
        context_LC: torch.Tensor,
        image_embed_TC: torch.Tensor | None,
        image_tokens_TC: torch.Tensor | None,
        pose_latents_CTHW: torch.Tensor,
        face_tokens_TNC: torch.Tensor,
        keep: bool,
    ) -> SegmentTokens:
        check_shape("pose_latents_CTHW", pose_latents_CTHW, (self.latent_channels, None, None, None))
        grid = (pose_latents_CTHW.shape[1] + 1, pose_latents_CTHW.shape[2], pose_latents_CTHW.shape[3])
        patch = self.model.config.patch_size
        if any(side % step for side, step in zip(grid, patch, strict=True)):
            raise ValueError(
                f"pose_latents_CTHW is {list(pose_latents_CTHW.shape)}: no multiple of {list(patch)}"
            )
        face_BTNC = with_reference(self._placed(face_tokens_TNC), grid[0] - 1)
        text_BLC, image_BLC = self._embedded(context_LC, image_embed_TC)
        if image_tokens_TC is not None:
            image_BLC = self._placed(image_tokens_TC)[None]
        if (image_BLC is None) != (self.model.config.added_kv_proj_dim is None):
            raise ValueError(
                "the model takes no image embedding"
                if image_BLC is not None
                else "the model takes an image embedding"
            )
        pose_BCTHW = self._placed(pose_latents_CTHW)[None]
        return SegmentTokens(
            model=self.model,
            adapters=adapter_state(self.model),
            prompt=PromptTokens(
                AttendedTokens(text_BLC, keep), None if image_BLC is None else AttendedTokens(image_BLC, keep)
            ),
            face=AttendedTokens(face_BTNC, keep),
            pose=self.model.run(lambda: self.model.pose_patch_embedding(pose_BCTHW)) if keep else pose_BCTHW,
            pose_embedded=keep,
            rope=self._rope_of(grid),
            grid=grid,
        )

    def _embedded(
        self, context_LC: torch.Tensor, image_embed_TC: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        context_BLC = self._padded(context_LC)
        if image_embed_TC is None:
            return self.model.run(lambda: self.model.embed(context_BLC, None))
        if not self.image_channels:
            raise ValueError("image_embed_TC is given, and the model has no image projector")
        check_shape("image_embed_TC", image_embed_TC, (None, self.image_channels))
        image_BLC = self._placed(image_embed_TC)[None]
        return self.model.run(lambda: self.model.embed(context_BLC, image_BLC))

    def _padded(self, context_LC: torch.Tensor) -> torch.Tensor:
        check_shape("context_LC", context_LC, (None, self.text_channels))
        return padded_context(self._placed(context_LC))

    def _face_tokens(self, motion_TC: torch.Tensor) -> torch.Tensor:
        """[lt, heads+1, C] of a segment's motion vectors; a token takes from earlier frames of the segment."""
        motion_BTC = self._placed(motion_TC)[None]
        tokens_BTNC: torch.Tensor = self.model.run(lambda: self.model.face_encoder(motion_BTC))
        return tokens_BTNC[0]

    def _rope_of(self, grid: tuple[int, int, int]) -> Any:
        """Rotary tables, which depend on the grid alone; segments and branches of one size share them."""
        wanted = (grid, self.device)
        if self._rope is None or self._rope[0] != wanted:
            like_BCTHW = torch.zeros(1, device=self.device).expand(1, 1, *grid)
            self._rope = (wanted, self.model.run(lambda: self.model.rope(like_BCTHW)))
        return self._rope[1]

    def _placed(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.device, self.dtype)

    def _check_tokens(self, tokens: SegmentTokens) -> None:
        if tokens.model is not self.model:
            raise ValueError("the tokens were prepared by another model; prepare the segment again")
        if tokens.adapters != adapter_state(self.model):
            raise ValueError(
                "the model's LoRAs have changed since the tokens were prepared; prepare the segment again"
            )
