"""The Wan2.2-S2V transformer: velocity of a clip's latents under text, sound, pose, a reference and history.

Written from the published architecture (Wan-S2V, arXiv 2508.18621, and the Wan2.2 official code).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models._modeling_parallel import ContextParallelInput, ContextParallelOutput
from diffusers.models.attention import AttentionMixin
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from wanprep.models.errors import ModelBroken
from wanprep_infer.models.folder import GeneratorFolder
from wanprep_infer.models.s2v.attention import Rotary
from wanprep_infer.models.s2v.audio_encoder import CausalAudioEncoder
from wanprep_infer.models.s2v.audio_injector import AudioInjector, injected
from wanprep_infer.models.s2v.block import S2VTransformerBlock
from wanprep_infer.models.s2v.condition_embedder import ConditionEmbedder
from wanprep_infer.models.s2v.config import arguments
from wanprep_infer.models.s2v.frame_packer import FramePacker
from wanprep_infer.models.s2v.kept import Kept
from wanprep_infer.models.s2v.loading import load_shards
from wanprep_infer.models.s2v.positions import (
    REFERENCE_TIME,
    Grid,
    RotaryPositions,
    full_grid,
)
from wanprep_infer.models.s2v.shapes import check_audio, check_latents, check_scene, check_text
from wanprep_infer.models.s2v.tokens import AudioTokens, ClipTokens, SceneTokens, Span, TextTokens

__all__ = ["AudioTokens", "ClipTokens", "TextTokens", "WanS2VTransformer3DModel", "load_s2v_transformer"]

_VIDEO, _REFERENCE, _MOTION = 0, 1, 2  # rows of trainable_condition_mask
_PUBLISHED_INJECT_LAYERS = (0, 4, 8, 12, 16, 20, 24, 27, 30, 33, 36, 39)


class WanS2VTransformer3DModel(ModelMixin, ConfigMixin, PeftAdapterMixin, AttentionMixin):  # type: ignore[misc]
    """Wan2.2-S2V's transformer; the defaults are the 14B model's.

    Modules and tensors are named as in diffusers' Wan models (`blocks.0.attn1.to_q`, `condition_embedder`, ...), not
    as in the official files. LoRAs of other Wan models, group offload, layerwise casting, attention backends and
    context parallelism go by those names and by whole blocks, and folders of diffusers' pull request 12258 load as
    they are; the official names are one table away (`s2v.names`).

    `prepare` takes a clip's conditions, `velocity` does a step. All that the timestep does not touch is computed in
    the first step that needs it and kept in the tokens: sound and text tokens with every block's keys and values,
    pose, reference and history tokens, rotary tables, the modulation of timestep 0. It happens inside the forward
    pass because that is when offloaded weights are on the device. Offload with streams a leaf at a time expects the
    same layers at every step: prepare with `keep_keys_values=False` for it.

    Residual, norms, modulation, time, audio encoder and head are float32, as officially; the rest is in the model's
    dtype. diffusers' block caches are left out: they skip blocks, and here sound comes in between blocks.
    """

    _no_split_modules: ClassVar = ["S2VTransformerBlock"]
    _repeated_blocks: ClassVar = ["S2VTransformerBlock"]
    _keep_in_fp32_modules: ClassVar = [
        *("time_embedder", "time_proj", "causal_audio_encoder"),
        *("scale_shift_table", "norm2", "proj_out", "trainable_condition_mask"),
    ]
    _skip_layerwise_casting_patterns: ClassVar = [
        *("patch_embedding", "condition_embedder", "frame_packer", "norm"),
    ]
    _group_offload_block_modules: ClassVar = ["audio_injector"]
    _cp_plan: ClassVar = {
        "rope": {
            0: ContextParallelInput(split_dim=1, expected_dims=4, split_output=True),
            1: ContextParallelInput(split_dim=1, expected_dims=4, split_output=True),
            2: ContextParallelInput(split_dim=1, expected_dims=2, split_output=True),
        },
        "blocks.0": {"hidden_states": ContextParallelInput(split_dim=1, expected_dims=3)},
        "proj_out": ContextParallelOutput(gather_dim=1, expected_dims=3),
    }

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        patch_size: tuple[int, int, int] = (1, 2, 2),
        num_attention_heads: int = 40,
        attention_head_dim: int = 128,
        in_channels: int = 16,
        out_channels: int = 16,
        text_dim: int = 4096,
        text_len: int = 512,
        freq_dim: int = 256,
        ffn_dim: int = 13824,
        num_layers: int = 40,
        eps: float = 1e-6,
        pose_dim: int = 16,
        audio_dim: int = 1024,
        audio_layers: int = 25,
        num_audio_token: int = 4,
        audio_inject_layers: Sequence[int] = _PUBLISHED_INJECT_LAYERS,
        enable_adain: bool = True,
        adain_mode: Literal["attn_norm"] = "attn_norm",
        enable_framepack: bool = True,
        framepack_drop_mode: Literal["padd", "drop"] = "padd",
        add_last_motion: bool = True,
        zero_timestep: bool = True,
    ) -> None:
        """
        Args:
            patch_size: latents a token covers in time, rows and columns.
            text_dim, text_len: of the text encoder; shorter texts are filled with zeros to `text_len`, all attended.
            pose_dim: channels of the pose latents; 0: the model takes no pose.
            audio_dim, audio_layers: of the sound encoder's hidden states.
            num_audio_token: local tokens a latent frame, before the learned one.
            audio_inject_layers: blocks after which video tokens attend to sound.
            enable_adain: the norm before that is modulated by the frame's global sound.
            enable_framepack: history is packed (see `s2v.frame_packer`); otherwise it has a token a patch.
            zero_timestep: reference and history are modulated as at timestep 0.

        Raises:
            ValueError: arguments that make no such network.
        """
        super().__init__()
        if adain_mode != "attn_norm" or framepack_drop_mode not in ("padd", "drop"):
            raise ValueError(
                f"adain_mode is attn_norm, not {adain_mode!r}; framepack_drop_mode is padd or drop, not "
                f"{framepack_drop_mode!r}"
            )
        patch = (patch_size[0], patch_size[1], patch_size[2])
        if enable_framepack and patch != (1, 2, 2):
            raise ValueError(f"packed history takes patches of (1, 2, 2), not {patch}")
        dim = num_attention_heads * attention_head_dim
        self._mark = object()  # what tokens know the transformer by
        self.injected = injected(audio_inject_layers, num_layers)
        self.rope = RotaryPositions(attention_head_dim)
        self.patch_embedding = nn.Conv3d(in_channels, dim, patch, patch)
        self.frame_packer = FramePacker(in_channels, dim, framepack_drop_mode) if enable_framepack else None
        self.trainable_condition_mask = nn.Embedding(3, dim)
        self.condition_embedder = ConditionEmbedder(
            dim,
            freq_dim=freq_dim,
            text_dim=text_dim,
            pose_dim=pose_dim,
            patch_size=patch,
            audio_encoder=CausalAudioEncoder(audio_layers, audio_dim, dim, num_audio_token, enable_adain),
        )
        self.blocks = nn.ModuleList(
            S2VTransformerBlock(dim, ffn_dim, num_attention_heads, eps) for _ in range(num_layers)
        )
        self.audio_injector = AudioInjector(len(self.injected), dim, num_attention_heads, eps, enable_adain)
        self.proj_out = nn.Linear(dim, out_channels * math.prod(patch))
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)

    def text_tokens(self, context_LC: torch.Tensor, *, keep_keys_values: bool = True) -> TextTokens:
        """A prompt for `prepare`, to be shared by clips.

        Args:
            context_LC: states of the text encoder for the real tokens, at most text_len of them.
            keep_keys_values: of all blocks; 420 MB of the 14B model in bfloat16.

        Raises:
            ValueError: the shape is another.
        """
        check_text(context_LC, self.config)
        return TextTokens(self._mark, context_LC, projected=Kept(keep_keys_values))

    def audio_tokens(self, audio_LCT: torch.Tensor, *, keep_keys_values: bool = True) -> AudioTokens:
        """A clip's sound for `prepare`; zeros are silence, which guidance is against.

        Args:
            audio_LCT: [25,1024,N] hidden states, one step a video frame.
            keep_keys_values: of all injectors; 30 MB of the 14B model for 80 frames.

        Raises:
            ValueError: the shape is another, or N no multiple of 4.
        """
        check_audio(audio_LCT, self.config)
        return AudioTokens(self._mark, audio_LCT, projected=Kept(keep_keys_values))

    def prepare(
        self,
        *,
        audio_LCT: torch.Tensor | AudioTokens,
        context_LC: torch.Tensor | TextTokens,
        reference_latents_CTHW: torch.Tensor,
        motion_latents_CTHW: torch.Tensor | None = None,
        pose_latents_CTHW: torch.Tensor | None = None,
        frames: int,
        drop_motion: bool = False,
        add_last_motion: int = 2,
        keep_keys_values: bool = True,
    ) -> ClipTokens:
        """What `velocity` takes, for one clip and guidance branch. Nothing is computed yet.

        For the other branch see `ClipTokens.branch`: it shares all but text and sound.

        Args:
            audio_LCT: as in `audio_tokens`, or their result.
            context_LC: as in `text_tokens`, or their result.
            reference_latents_CTHW: [16,1,h,w]. All latents are whitened; h and w are multiples of 8 (64 pixels), or
                of 2 for a model without packed history.
            motion_latents_CTHW: [16,m,h,w] latents of the frames before the clip, oldest first.
            pose_latents_CTHW: [16,frames,h,w]; None: as all zeros, no pose.
            frames: latent frames of the clip, 1 to 30, a quarter of the steps of sound.
            drop_motion: there is no history, as for a first clip.
            add_last_motion: 0 to 2, see `s2v.frame_packer`; counts as 0 where the config's is off.
            keep_keys_values: as in `text_tokens` and `audio_tokens`; for tokens given ready, theirs counts.

        Tokens hold what the weights made of them: prepare anew after weights change, by a LoRA say.

        Raises:
            ValueError: shapes do not fit the model or each other; names the rule.
        """
        text, audio = context_LC, audio_LCT
        if isinstance(text, torch.Tensor):
            text = self.text_tokens(text, keep_keys_values=keep_keys_values)
        if isinstance(audio, torch.Tensor):
            audio = self.audio_tokens(audio, keep_keys_values=keep_keys_values)
        if not drop_motion and motion_latents_CTHW is None:
            raise ValueError("a clip with history needs motion_latents_CTHW; a first clip drop_motion=True")
        if add_last_motion not in (0, 1, 2):
            raise ValueError(f"add_last_motion {add_last_motion}: it is 0, 1 or 2")
        scene = SceneTokens(
            made_for=self._mark,
            reference_latents_CTHW=reference_latents_CTHW,
            motion_latents_CTHW=None if drop_motion else motion_latents_CTHW,
            pose_latents_CTHW=pose_latents_CTHW,
            frames=frames,
            add_last_motion=add_last_motion if self.config.add_last_motion else 0,
        )
        check_scene(scene, audio, self.config)
        return ClipTokens(text, audio, scene)

    @torch.no_grad()
    def velocity(
        self, latents_CTHW: torch.Tensor, timestep: int | torch.Tensor, tokens: ClipTokens
    ) -> torch.Tensor:
        """The velocity, noise minus clean, of noisy latents at a timestep.

        Args:
            latents_CTHW: [16,F,h,w], any float dtype.
            timestep: 0 to 1000, whole.

        Returns:
            float32 [16,F,h,w] where the latents are.

        Raises:
            ValueError: the latents are not of the tokens' shape, or the tokens of another transformer.
        """
        velocity: torch.Tensor = self(latents_CTHW.to(_device(self)), timestep, tokens)
        return velocity.to(latents_CTHW.device)

    def forward(
        self,
        latents_CTHW: torch.Tensor,
        timestep: int | torch.Tensor,
        tokens: ClipTokens | None = None,
        **conditions: Any,
    ) -> torch.Tensor:
        """As `velocity`, with gradients where they are wanted; without tokens everything at once, from `conditions`,
        the arguments of `prepare`."""
        clip = tokens or self.prepare(**conditions)
        text, audio, scene = clip.text, clip.audio, clip.scene
        check_latents(latents_CTHW, scene, self.config)
        if any(part.made_for is not self._mark for part in (text, audio, scene)):
            raise ValueError("the tokens are of another transformer: prepare them with this one")
        device, dtype = latents_CTHW.device, self.dtype
        embedder = self.condition_embedder
        local_FKD, global_FD = audio.kept.get(
            "tokens", lambda: embedder.causal_audio_encoder(audio.audio_LCT.to(device))
        )
        context_1SD = text.kept.get("tokens", lambda: self._context(text.context_LC.to(device, dtype)))
        pose_1LD, mask_D, still_1LD = scene.kept.get("tokens", lambda: self._scene(scene, device, dtype))
        rotary, span = scene.kept.get("places", lambda: self._places(scene, device))
        embedded_D, step_6D = embedder(torch.as_tensor(timestep, device=device).flatten()[:1])
        still_6D = step_6D
        if self.config.zero_timestep:
            still_6D = scene.kept.get("timestep 0", lambda: embedder(torch.zeros(1, device=device))[1])
        modulation_K6D = torch.stack([step_6D, still_6D])

        # In one expression: a name would hold the video tokens (1.2 GB at 1024x704) while the blocks run.
        states_1LD = torch.cat([self._patches(latents_CTHW, dtype).float() + pose_1LD + mask_D, still_1LD], 1)
        for index, block in enumerate(self.blocks):
            states_1LD = block(
                states_1LD, modulation_K6D, rotary, context_1SD, text.projected, index, span.video, dtype
            )
            if index in self.injected:
                states_1LD = self.audio_injector(
                    states_1LD, self.injected[index], local_FKD, global_FD, audio.projected, span, dtype
                )
        return self._head(states_1LD, embedded_D, scene)

    def _context(self, context_LC: torch.Tensor) -> torch.Tensor:
        filled_LC = F.pad(context_LC, (0, 0, 0, self.config.text_len - len(context_LC)))
        return cast(torch.Tensor, self.condition_embedder.text_embedder(filled_LC[None]))

    def _scene(
        self, scene: SceneTokens, device: torch.device, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What is added to the video tokens, [1,L,D] or [1,1,D] and [D], and the reference and history tokens."""
        mask_3D = self.trainable_condition_mask(torch.arange(3, device=device)).float()
        still = [self._patches(scene.reference_latents_CTHW.to(device), dtype).float() + mask_3D[_REFERENCE]]
        if scene.motion_latents_CTHW is not None:
            motion_CTHW = scene.motion_latents_CTHW.to(device, dtype)
            if self.frame_packer is not None:
                motion_1LD = self.frame_packer(motion_CTHW, scene.add_last_motion)
            else:
                motion_1LD = self._patches(motion_CTHW, dtype)
            still.append(motion_1LD.float() + mask_3D[_MOTION])
        return self._pose(scene, device, dtype), mask_3D[_VIDEO], torch.cat(still, 1)

    def _pose(self, scene: SceneTokens, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        embed = self.condition_embedder.pose_embedder
        if embed is None:
            return torch.zeros(1, 1, 1, device=device)
        pose_CTHW = scene.pose_latents_CTHW
        if pose_CTHW is None:  # zeros embed alike everywhere: one patch stands for all
            pose_CTHW = torch.zeros(self.config.pose_dim, *self.config.patch_size)
        return _sequence(embed(pose_CTHW[None].to(device, dtype)))

    def _patches(self, latents_CTHW: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return _sequence(self.patch_embedding(latents_CTHW[None].to(dtype)))

    def _places(self, scene: SceneTokens, device: torch.device) -> tuple[Rotary, Span]:
        cos, sin, places = self.rope(self._grids(scene), device)
        frames, height, width = self._patched(scene)
        span = Span(
            start=int(places[0, 0]),
            count=places.shape[1],
            video_total=frames * height * width,
            per_frame=height * width,
        )
        return (cos, sin), span

    def _grids(self, scene: SceneTokens) -> tuple[Grid, ...]:
        """Where the tokens of the sequence stand, in their order: video, reference, history."""
        frames, height, width = self._patched(scene)
        grids = [full_grid(range(frames), height, width), full_grid((REFERENCE_TIME,), height, width)]
        if scene.motion_latents_CTHW is not None:
            if self.frame_packer is not None:
                grids += self.frame_packer.grids(height, width, scene.add_last_motion)
            else:
                grids.append(full_grid(range(-scene.motion_latents_CTHW.shape[1], 0), height, width))
        return tuple(grids)

    def _patched(self, scene: SceneTokens) -> tuple[int, int, int]:
        frames, height, width = (
            size // patch for size, patch in zip(scene.shape, self.config.patch_size, strict=True)
        )
        return frames, height, width

    def _head(self, states_1LD: torch.Tensor, embedded_D: torch.Tensor, scene: SceneTokens) -> torch.Tensor:
        # All tokens go through, for only then can context parallelism gather them; the video ones are read.
        shift_D, scale_D = self.scale_shift_table[0].float() + embedded_D
        normed_1LD = F.layer_norm(states_1LD, states_1LD.shape[-1:], eps=self.config.eps)
        modulated_1LD = normed_1LD * (1 + scale_D) + shift_D
        values_1LV: torch.Tensor = self.proj_out(modulated_1LD.to(self.proj_out.weight.dtype)).float()
        frames, height, width = self._patched(scene)
        values_LV = values_1LV[0, : frames * height * width]
        patches = values_LV.reshape(frames, height, width, *self.config.patch_size, self.config.out_channels)
        return patches.permute(6, 0, 3, 1, 4, 2, 5).reshape(self.config.out_channels, *scene.shape)


def load_s2v_transformer(
    folder: GeneratorFolder, *, device: torch.device | str, dtype: torch.dtype
) -> WanS2VTransformer3DModel:
    """The transformer of a folder, on `device`; official, FastVideo's and diffusers' tensor names (see `s2v.names`).

    Shards are read a tensor at a time, straight to the device. Of the config, what is missing is as in the 14B model.

    Args:
        dtype: of the weights; those of `_keep_in_fp32_modules` are float32.

    Raises:
        ModelBroken: the config or the tensors make no S2V transformer; names the field or the tensor.
    """
    where = f"model {folder.transformer}"
    settings = arguments(folder.config(), where)
    try:
        with torch.device("meta"):
            model = WanS2VTransformer3DModel(**settings)
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
        reason = " ".join(str(error).split())
        raise ModelBroken(f"{where}: config.json makes no S2V transformer ({reason[:200]})") from error
    load_shards(
        model,
        folder.weights,
        folder.transformer,
        device=torch.device(device),
        dtype=dtype,
        float32_modules=WanS2VTransformer3DModel._keep_in_fp32_modules,
    )
    return cast(WanS2VTransformer3DModel, model.eval())


def _sequence(embedded_1DTHW: torch.Tensor) -> torch.Tensor:
    return embedded_1DTHW.flatten(2).transpose(1, 2)


def _device(model: nn.Module) -> torch.device:
    """Where the model computes, which with accelerate's offload is not where its weights are."""
    for module in model.modules():
        device = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
        if device is not None:
            return torch.device(device)
    return cast(torch.device, model.device)
