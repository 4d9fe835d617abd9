"""Which noise levels a solver visits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from wanprep.errors import UsageError

SolverName = Literal["unipc", "dpm++"]
Grid = Literal["official", "diffusers"]
SOLVERS: tuple[SolverName, ...] = get_args(SolverName)
GRIDS: tuple[Grid, ...] = get_args(Grid)

#: Noise levels that Wan is trained on; a timestep is a sigma in thousandths.
TRAIN_TIMESTEPS = 1000
#: The official UniPC starts at the end of its table of 1000 levels, which it keeps in float32.
_UNIPC_TOP = float(np.float32(1) - np.float32(1) / np.float32(TRAIN_TIMESTEPS))
#: diffusers moves a first sigma of 1 by this, so that its logarithm stays finite.
_DIFFUSERS_EPSILON = 1e-6


@dataclass(frozen=True)
class Schedule:
    """The noise levels of S steps, from noise to the clean sample."""

    sigmas_S: npt.NDArray[np.float32]  # [S+1], falling, 1 (or just below) to 0: share of noise in the sample
    timesteps_S: npt.NDArray[np.int64]  # [S], 1000 to 0: what the model is told at each step

    @property
    def steps(self) -> int:
        return len(self.timesteps_S)


def schedule(solver: SolverName, steps: int, shift: float, grid: Grid = "official") -> Schedule:
    """The noise levels of a run.

    "official" is Wan2.2's own code, where each solver has its table; "diffusers" is that of
    `UniPCMultistepScheduler` with flow sigmas, for either solver. They differ by up to 0.007 in sigma and by a
    few timesteps.

    Args:
        solver: "unipc" or "dpm++".
        steps: calls of the model, 1 to 1000.
        shift: k in sigma = k u / (1 + (k - 1) u), u falling evenly; above 0.
        grid: whose table.

    Raises:
        UsageError: another name, or a number out of its range.
    """
    if solver not in SOLVERS:
        raise UsageError(f"no solver is called {solver!r}: take one of {', '.join(SOLVERS)}")
    if grid not in GRIDS:
        raise UsageError(f"no grid of sigmas is called {grid!r}: take one of {', '.join(GRIDS)}")
    if not 1 <= steps <= TRAIN_TIMESTEPS:
        raise UsageError(f"{steps} steps: a run takes 1 to {TRAIN_TIMESTEPS}")
    if not (math.isfinite(shift) and shift > 0):
        raise UsageError(f"a shift of {shift}: it is a number above 0 (Wan2.2-Animate takes 5, S2V 3)")
    if grid == "diffusers":
        top, bottom = 1.0, 1 / TRAIN_TIMESTEPS
    else:
        top, bottom = (_UNIPC_TOP if solver == "unipc" else 1.0), 0.0
    even_S: npt.NDArray[Any] = np.linspace(top, bottom, steps + 1)[:-1]
    sigmas_S = shift * even_S / (1 + (shift - 1) * even_S)
    if grid == "diffusers" and abs(sigmas_S[0] - 1) < _DIFFUSERS_EPSILON:
        sigmas_S[0] -= _DIFFUSERS_EPSILON
    # Truncated from float64: rounding to float32 first moves some timesteps by one.
    timesteps_S = (sigmas_S * TRAIN_TIMESTEPS).astype(np.int64)
    levels_S = np.append(sigmas_S, 0.0).astype(np.float32)
    if not (np.diff(levels_S) < 0).all():
        raise UsageError(
            f"a shift of {shift:g} leaves no distance between {steps} noise levels: take a smaller one"
        )
    return Schedule(levels_S, timesteps_S)
