"""Sound to video with Wan2.2-S2V, from stored conditioning alone."""

from wanprep_infer.s2v.pipeline import S2VPipeline
from wanprep_infer.s2v.settings import S2VSettings
from wanprep_infer.s2v.timing import S2VPlan, plan_of, sound_of

__all__ = ["S2VPipeline", "S2VPlan", "S2VSettings", "plan_of", "sound_of"]
