"""Replacement: which part of each frame is generated anew."""

from stages.replace_mask.stage import ReplaceMask

__all__ = ["ReplaceMask"]
