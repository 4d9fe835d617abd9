"""Conditioning out of a store, typed and checked: what generation takes instead of media."""

from __future__ import annotations

from wanprep_infer.conditioning.animate import AnimateConditioning
from wanprep_infer.conditioning.coverage import CONDITIONING_SETS, Coverage, coverage, unfit_reason
from wanprep_infer.conditioning.s2v import S2VConditioning

__all__ = [
    "CONDITIONING_SETS",
    "AnimateConditioning",
    "Coverage",
    "S2VConditioning",
    "coverage",
    "unfit_reason",
]
