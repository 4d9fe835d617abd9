"""Stage `pose_latents`: the drawn skeleton through a video autoencoder, as Wan2.2-Animate takes it."""

from stages.pose_latents.stage import PoseLatents, PoseLatentsConfig

__all__ = ["PoseLatents", "PoseLatentsConfig"]
