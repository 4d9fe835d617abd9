"""Stage `face_crops`: the square picture of the subject's face in each frame, as Wan2.2-Animate is fed it."""

from stages.face_crops.stage import FaceCrops, FaceCropsConfig

__all__ = ["FaceCrops", "FaceCropsConfig"]
