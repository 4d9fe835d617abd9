"""Stage `s2v_pose_latents`: a video of poses through a video autoencoder, as Wan2.2-S2V takes it."""

from stages.s2v_pose_latents.stage import S2VPoseLatents, S2VPoseLatentsConfig

__all__ = ["S2VPoseLatents", "S2VPoseLatentsConfig"]
