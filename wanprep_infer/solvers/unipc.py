"""UniPC of order 2 with B2(h) (Zhao et al. 2023, arXiv 2302.04867), on a flow-matching path."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from wanprep_infer.solvers.schedule import Schedule
from wanprep_infer.solvers.solver import Solver

if TYPE_CHECKING:
    from torch import Tensor


class UniPC(Solver):
    """Predictor and corrector share each model call: the estimate at a predicted sample first corrects that sample.

    The first and last step are of first order, the others of second.
    """

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(schedule)
        self._estimates: list[Tensor] = []  # of the clean sample: the step before, and the one before that
        self._corrected: Tensor | None = None  # the sample that the step before started from
        self._order = 0  # of the predictor of the step before

    def _advance(self, sample: Tensor, clean: Tensor) -> Tensor:
        if self._corrected is not None:
            sample = self._correct(self._corrected, clean)
        order = 1 if self._last else min(2, len(self._estimates) + 1)
        result = clean if self._last else self._predict(sample, clean, order)
        self._corrected, self._order = sample, order
        self._estimates = [clean, *self._estimates[:1]]
        return result

    def _predict(self, sample: Tensor, clean: Tensor, order: int) -> Tensor:
        """From this step's noise level to the next one's."""
        now, after = self._step, self._step + 1
        h = self._log_snr(after) - self._log_snr(now)
        weight = -self._alpha(after) * math.expm1(-h)
        result = (self._sigmas[after] / self._sigmas[now]) * sample + weight * clean
        if order == 1:
            return result
        ratio = (self._log_snr(now - 1) - self._log_snr(now)) / h
        return result + (0.5 * weight / ratio) * (self._estimates[0] - clean)

    def _correct(self, sample: Tensor, clean: Tensor) -> Tensor:
        """The step before done again, now that the model was called where it led.

        Args:
            sample: that it started from, float32.
            clean: the model's estimate at its result, float32.
        """
        before, now = self._step - 1, self._step
        h = self._log_snr(now) - self._log_snr(before)
        bh = math.expm1(-h)
        weight = -self._alpha(now) * bh
        start = self._estimates[0]
        result = (self._sigmas[now] / self._sigmas[before]) * sample + weight * start
        if self._order == 1:
            return result + (0.5 * weight) * (clean - start)
        ratio = (self._log_snr(before - 1) - self._log_snr(before)) / h
        earlier_weight, new_weight = _corrector_weights(h, bh, ratio)
        result = result + (weight * earlier_weight / ratio) * (self._estimates[1] - start)
        return result + (weight * new_weight) * (clean - start)


def _corrector_weights(h: float, bh: float, ratio: float) -> tuple[float, float]:
    """Of the differences to the earlier and to the new estimate: what makes the result exact to second order.

    They solve a + b = b1 and ratio * a + b = b2, where b1 and b2 are the first two moments of the exponential
    integrator over a step of `h`.
    """
    first_moment = bh / -h - 1
    second_moment = first_moment / -h - 0.5
    b1, b2 = first_moment / bh, 2 * second_moment / bh
    earlier = (b1 - b2) / (1 - ratio)
    return earlier, b1 - earlier
