"""Stage `face_motion`: the motion vectors that Wan2.2-Animate takes of the face crops."""

from stages.face_motion.stage import FaceMotion, FaceMotionConfig

__all__ = ["FaceMotion", "FaceMotionConfig"]
