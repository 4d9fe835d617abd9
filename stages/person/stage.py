"""What the stages on this estimator have in common."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata, util
from typing import ClassVar, TypeVar

from pydantic import Field

from stages.person.backends import estimator_for
from stages.person.estimator import EstimatorConfig
from wanprep.stage import FrameStage, Media, Resources, StageConfig


class PersonConfig(StageConfig):
    estimator: EstimatorConfig = Field(
        default=EstimatorConfig(),
        description="How people are found. skeleton, face and mask share one pass when theirs are equal; unequal ones "
        "cost a pass each.",
    )


P = TypeVar("P", bound=PersonConfig)

_PACKAGES = {"mediapipe": "mediapipe==0.10.21"}  # backend -> what pip installs it
# Bytes beyond the interpreter's: a third of what the three stages hold together, 600 MB of models and libraries
# and a window's results (measured); an operator's needs are the sum of its stages'.
_MEMORY = 200 << 20


class PersonStage(FrameStage[P]):
    """A frame stage fed by the shared person pass."""

    reads: ClassVar[frozenset[Media]] = frozenset({Media.VIDEO})
    resources: ClassVar[Resources] = Resources(cpus=1, memory=_MEMORY)

    def models(self) -> Mapping[str, str]:
        """The backend's exact version: its models are inside its wheel."""
        backend = self.config.estimator.backend
        try:
            return {backend: metadata.version(backend)}
        except metadata.PackageNotFoundError:
            return {backend: "not installed"}

    def unavailable(self) -> str | None:
        backend = self.config.estimator.backend
        if util.find_spec(backend) is None:
            return f"{self.name}: {backend} is not installed: pip install '{_PACKAGES[backend]}' (Python 3.11 or 3.12)"
        return None

    def setup(self) -> None:
        estimator_for(self.config.estimator).load()
