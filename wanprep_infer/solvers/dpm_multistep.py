"""DPM-Solver++ 2M, midpoint form (Lu et al. 2022, arXiv 2211.01095), on a flow-matching path."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from wanprep_infer.solvers.schedule import Schedule
from wanprep_infer.solvers.solver import Solver

if TYPE_CHECKING:
    from torch import Tensor


class DPMMultistep(Solver):
    """Second order from the estimates of this step and the one before; the first and last step are of first order."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(schedule)
        self._clean_before: Tensor | None = None

    def _advance(self, sample: Tensor, clean: Tensor) -> Tensor:
        now, after = self._step, self._step + 1
        before, self._clean_before = self._clean_before, clean
        if self._last:
            return clean
        h = self._log_snr(after) - self._log_snr(now)  # infinite where the path starts at pure noise
        # The exponential is 0 there, and the step is the estimate with fresh noise in proportion.
        towards_clean = -self._alpha(after) * math.expm1(-h)
        result = (self._sigmas[after] / self._sigmas[now]) * sample + towards_clean * clean
        if before is None:
            return result
        ratio = (self._log_snr(now) - self._log_snr(now - 1)) / h
        return result + (0.5 * towards_clean / ratio) * (clean - before)
