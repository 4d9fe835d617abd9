"""The estimators by name, one of each config a process."""

from __future__ import annotations

from functools import cache

from stages.person.estimator import EstimatorConfig, PersonEstimator


def estimator_for(config: EstimatorConfig) -> PersonEstimator:
    """This process's estimator of that config: one set of models however many clips, subjects and stages ask."""
    return _estimator(config.model_copy(update={"subject": 1}))


@cache
def _estimator(config: EstimatorConfig) -> PersonEstimator:
    if config.backend == "vitpose":
        from stages.person.vitpose.estimator import VitPoseEstimator

        return VitPoseEstimator(config)
    from stages.person.mediapipe import MediaPipeEstimator

    return MediaPipeEstimator(config)
