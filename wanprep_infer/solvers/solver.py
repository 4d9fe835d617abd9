"""What solvers have in common: the count of steps, precision, and the estimate of the clean sample."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from wanprep_infer.solvers.schedule import Schedule

if TYPE_CHECKING:
    from torch import Tensor


class Solver(ABC):
    """Takes a sample from noise to the clean one, one model call a step.

    Tensors are computed in float32 whatever the sample's dtype, coefficients in float64 on the CPU.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._step = 0
        self._sigmas = [float(sigma) for sigma in schedule.sigmas_S]

    def step(self, velocity: Tensor, sample: Tensor) -> Tensor:
        """The sample at the next noise level. Call it once a step, in order.

        Args:
            velocity: what the model gave for `sample` at `schedule.timesteps_S` of this step, the sample's shape.
            sample: what the step before returned; noise at first.

        Returns:
            A new tensor of the sample's shape, dtype and device.

        Raises:
            ValueError: all steps are done, or the shapes differ.
        """
        if self._step == self.schedule.steps:
            raise ValueError(f"all {self.schedule.steps} steps are done: a new sample takes a new solver")
        if velocity.shape != sample.shape:
            raise ValueError(f"a velocity of {tuple(velocity.shape)} for a sample of {tuple(sample.shape)}")
        sample_32 = sample.float()
        clean = sample_32 - self._sigmas[self._step] * velocity.float()
        result = self._advance(sample_32, clean)
        self._step += 1
        return result.to(sample.dtype)

    @property
    def _last(self) -> bool:
        return self._step == self.schedule.steps - 1

    def _alpha(self, step: int) -> float:
        """Share of the clean sample at a step."""
        return 1 - self._sigmas[step]

    def _log_snr(self, step: int) -> float:
        """Half the logarithm of the signal-to-noise ratio: -inf at pure noise, inf at the clean sample."""
        alpha, sigma = self._alpha(step), self._sigmas[step]
        if sigma == 0:
            return math.inf
        return math.log(alpha) - math.log(sigma) if alpha > 0 else -math.inf

    @abstractmethod
    def _advance(self, sample: Tensor, clean: Tensor) -> Tensor:
        """The next sample. Both tensors are float32; `clean` is the model's estimate at this step."""
