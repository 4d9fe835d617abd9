"""What the stages on this estimator have in common."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata, util
from typing import ClassVar, TypeVar

from pydantic import Field

from stages.person.backends import estimator_for
from stages.person.estimator import EstimatorConfig
from wanprep.models.resolve import digest, missing
from wanprep.stage import FrameStage, Media, Resources, Stage, StageConfig


class PersonConfig(StageConfig):
    estimator: EstimatorConfig = Field(
        default=EstimatorConfig(),
        description="How people are found. skeleton, face and mask share one pass when theirs are equal; unequal ones "
        "cost a pass each.",
    )


P = TypeVar("P", bound=PersonConfig)

# backend -> its module, and what pip installs it
_PACKAGES = {
    "mediapipe": ("mediapipe", "'mediapipe==0.10.21' (Python 3.11 or 3.12)"),
    "vitpose": ("onnxruntime", "'wanprep[onnx]'"),
}
# Bytes beyond the interpreter's: a third of what the three stages hold together, 600 MB of models and libraries
# and a window's results (measured), or ViTPose-H's 2.5 GB of weights; an operator's needs are the sum of its stages'.
_MEMORY = {"mediapipe": 200 << 20, "vitpose": 1100 << 20}


class EstimatorStage(Stage[P]):
    """A stage that measures people."""

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        estimator = self.config.estimator
        gpus = 1.0 if (estimator.backend, estimator.device) == ("vitpose", "cuda") else 0.0
        return Resources(cpus=1, gpus=gpus, memory=_MEMORY[estimator.backend])

    def models(self) -> Mapping[str, str]:
        """MediaPipe's exact version, whose models are inside its wheel; or digests of the networks."""
        estimator = self.config.estimator
        if estimator.backend == "vitpose":
            return {"detector": digest(estimator.detector_model), "pose": digest(estimator.pose_model)}
        try:
            return {estimator.backend: metadata.version(estimator.backend)}
        except metadata.PackageNotFoundError:
            return {estimator.backend: "not installed"}

    def unavailable(self) -> str | None:
        estimator = self.config.estimator
        module, wanted = _PACKAGES[estimator.backend]
        if util.find_spec(module) is None:
            return f"{self.name}: {module} is not installed: pip install {wanted}"
        if estimator.backend == "vitpose":
            return missing(estimator.detector_model) or missing(estimator.pose_model)
        return None

    def setup(self) -> None:
        estimator_for(self.config.estimator).load()


class PersonStage(EstimatorStage[P], FrameStage[P]):
    """A frame stage fed by the shared person pass."""

    reads: ClassVar[frozenset[Media]] = frozenset({Media.VIDEO, Media.SUBJECT})
