"""Sound to video with Wan2.2-S2V, from stored conditioning alone. Settings come without the rest: a command line
describes itself with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wanprep_infer.s2v.settings import S2VSettings

if TYPE_CHECKING:
    from wanprep_infer.s2v.pipeline import S2VPipeline
    from wanprep_infer.s2v.timing import S2VPlan, plan_of, sound_of

__all__ = ["S2VPipeline", "S2VPlan", "S2VSettings", "plan_of", "sound_of"]


def __getattr__(name: str) -> Any:
    if name == "S2VPipeline":
        from wanprep_infer.s2v.pipeline import S2VPipeline

        return S2VPipeline
    if name in ("S2VPlan", "plan_of", "sound_of"):
        from wanprep_infer.s2v import timing

        return getattr(timing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
