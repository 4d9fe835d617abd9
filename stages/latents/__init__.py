"""Latents of a clip's pictures: what the Wan VAEs, or a codec without weights, make of them."""

from stages.latents.reference import ReferenceLatents
from stages.latents.video import VideoLatents

__all__ = ["ReferenceLatents", "VideoLatents"]
