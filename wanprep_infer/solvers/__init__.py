"""Flow-matching solvers: from noise to latents in a few calls of a velocity model.

Every segment or clip takes a fresh solver: what one remembers of earlier steps belongs to its own path.

    solver = make_solver("unipc", steps=20, shift=5.0)
    for timestep in solver.schedule.timesteps_S:
        latents_CTHW = solver.step(velocity(latents_CTHW, int(timestep)), latents_CTHW)
"""

from __future__ import annotations

from wanprep_infer.solvers.dpm_multistep import DPMMultistep
from wanprep_infer.solvers.schedule import GRIDS, SOLVERS, Grid, Schedule, SolverName, schedule
from wanprep_infer.solvers.solver import Solver
from wanprep_infer.solvers.unipc import UniPC

__all__ = [
    "GRIDS",
    "SOLVERS",
    "DPMMultistep",
    "Grid",
    "Schedule",
    "Solver",
    "SolverName",
    "UniPC",
    "make_solver",
    "schedule",
]


def make_solver(solver: SolverName, steps: int, shift: float, grid: Grid = "official") -> Solver:
    """A solver at its first step.

    Args:
        solver: "unipc" or "dpm++".
        steps: calls of the model, 1 to 1000.
        shift: how far the grid leans towards noise; 1 not at all. Wan2.2-Animate: 5, S2V: 3.
        grid: whose sigmas, see `schedule`.

    Raises:
        UsageError: another name, or a number out of its range.
    """
    kind = UniPC if solver == "unipc" else DPMMultistep
    return kind(schedule(solver, steps, shift, grid))
