"""Wan2.2-Animate, animation and replacement, generated from a store. Imports torch when the pipeline is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wanprep_infer.animate.settings import AnimateSettings

if TYPE_CHECKING:
    from wanprep_infer.animate.pipeline import AnimatePipeline

__all__ = ["AnimatePipeline", "AnimateSettings"]


def __getattr__(name: str) -> Any:
    if name == "AnimatePipeline":
        from wanprep_infer.animate.pipeline import AnimatePipeline

        return AnimatePipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
