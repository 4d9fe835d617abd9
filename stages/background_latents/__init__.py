"""Replacement: latents of the driving video without the person."""

from stages.background_latents.stage import BackgroundLatents

__all__ = ["BackgroundLatents"]
