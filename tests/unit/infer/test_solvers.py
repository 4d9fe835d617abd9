"""Flow-matching solvers: equal to diffusers' on its grid, precise in every dtype, and honest about misuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wanprep.errors import UsageError
from wanprep_infer.solvers import GRIDS, SOLVERS, Grid, SolverName, make_solver, schedule

torch = pytest.importorskip("torch")


def toy_velocity(sample: torch.Tensor, timestep: int) -> torch.Tensor:
    return -1.1 * sample + 0.3 * torch.sin(3 * sample) + 0.5 * timestep / 1000


def noise(seed: int = 0) -> torch.Tensor:
    return torch.randn(1, 4, 2, 3, 5, generator=torch.Generator().manual_seed(seed))


def path(
    solver: SolverName, steps: int, shift: float, grid: Grid, sample: torch.Tensor
) -> list[torch.Tensor]:
    made = make_solver(solver, steps, shift, grid)
    found = [sample]
    for timestep in made.schedule.timesteps_S:
        found.append(made.step(toy_velocity(found[-1], int(timestep)), found[-1]))
    return found


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 20, 50])
@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0, 12.0])
def test_on_its_grid_every_step_is_diffusers_own(steps: int, shift: float) -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
    )
    theirs.set_timesteps(steps)
    ours = schedule("unipc", steps, shift, "diffusers")
    np.testing.assert_array_equal(ours.sigmas_S, theirs.sigmas.numpy())
    np.testing.assert_array_equal(ours.timesteps_S, theirs.timesteps.numpy())
    sample = noise()
    for found in path("unipc", steps, shift, "diffusers", sample)[1:]:
        timestep = theirs.timesteps[theirs.step_index or 0]
        sample = theirs.step(toy_velocity(sample, int(timestep)), timestep, sample, return_dict=False)[0]
        torch.testing.assert_close(found, sample, rtol=0, atol=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_end_is_far_nearer_to_the_true_one_than_eulers(solver: SolverName) -> None:
    def slope(sample: torch.Tensor, sigma: float) -> torch.Tensor:
        return torch.sin(sample) + sigma

    first = float(schedule(solver, 40, 1.0).sigmas_S[0])

    def euler(steps: int) -> torch.Tensor:
        sample = noise().double()
        for step in range(steps):
            sample = sample - slope(sample, first * (1 - step / steps)) * first / steps
        return sample

    made, sample = make_solver(solver, 40, 1.0), noise()
    for sigma in made.schedule.sigmas_S[:-1]:
        sample = made.step(slope(sample, float(sigma)), sample)
    truth = 2 * euler(2000) - euler(1000)  # extrapolated
    error, eulers = (float((end - truth).abs().max()) for end in (sample.double(), euler(40)))
    assert error < eulers / 10


@given(
    solver=st.sampled_from(SOLVERS),
    grid=st.sampled_from(GRIDS),
    steps=st.integers(1, 200),
    shift=st.floats(0.1, 50),
)
def test_levels_fall_from_noise_to_the_clean_sample(
    solver: SolverName, grid: Grid, steps: int, shift: float
) -> None:
    found = schedule(solver, steps, shift, grid)
    assert found.sigmas_S.dtype == np.float32 and found.timesteps_S.dtype == np.int64
    assert found.steps == steps == len(found.sigmas_S) - 1
    assert (np.diff(found.sigmas_S) < 0).all() and (np.diff(found.timesteps_S) <= 0).all()
    assert 0.98 < found.sigmas_S[0] <= 1 and found.sigmas_S[-1] == 0
    assert np.abs(found.timesteps_S - found.sigmas_S[:-1].astype(float) * 1000).max() < 1.001


@given(
    solver=st.sampled_from(SOLVERS),
    grid=st.sampled_from(GRIDS),
    steps=st.integers(1, 12),
    shift=st.floats(0.5, 20),
)
def test_a_straight_path_ends_at_its_end_whatever_the_steps(
    solver: SolverName, grid: Grid, steps: int, shift: float
) -> None:
    clean, start = noise(1), noise(2)
    made = make_solver(solver, steps, shift, grid)
    first = float(made.schedule.sigmas_S[0])
    sample = first * start + (1 - first) * clean
    for _ in range(steps):
        sample = made.step(start - clean, sample)
    torch.testing.assert_close(sample, clean, rtol=0, atol=1e-4)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_samples_dtype_is_kept_and_the_arithmetic_is_float32(
    solver: SolverName, dtype: torch.dtype
) -> None:
    low, high = make_solver(solver, 4, 5.0), make_solver(solver, 4, 5.0)
    sample = noise().to(dtype)
    velocity = noise(1).to(dtype)
    for step in range(2):  # the same inputs in both, so that only the precision of the result differs
        found = low.step(velocity * (step + 1), sample)
        assert found.dtype == dtype
        assert torch.equal(found, high.step((velocity * (step + 1)).float(), sample.float()).to(dtype))
        sample = found


@pytest.mark.parametrize("solver", SOLVERS)
def test_inputs_are_left_as_they_are(solver: SolverName) -> None:
    made, sample, velocity = make_solver(solver, 3, 3.0), noise(), noise(1)
    for _ in range(3):
        before = sample.clone(), velocity.clone()
        after = made.step(velocity, sample)
        assert torch.equal(sample, before[0]) and torch.equal(velocity, before[1])
        sample = after


def test_a_solver_that_is_done_or_gets_another_shape_says_so() -> None:
    made = make_solver("unipc", 1, 5.0)
    with pytest.raises(ValueError, match=r"a velocity of \(2,\) for a sample of \(3,\)"):
        made.step(torch.zeros(2), torch.zeros(3))
    made.step(torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match="all 1 steps are done: a new sample takes a new solver"):
        made.step(torch.zeros(3), torch.zeros(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("euler", 20, 5.0), "no solver is called 'euler': take one of unipc, dpm\\+\\+"),
        (("unipc", 20, 5.0, "karras"), "no grid of sigmas is called 'karras'"),
        (("unipc", 0, 5.0), "0 steps: a run takes 1 to 1000"),
        (("dpm++", 1001, 5.0), "1001 steps"),
        (("unipc", 20, 0.0), "a shift of 0.0"),
        (("unipc", 20, math.nan), "a shift of nan"),
        (("dpm++", 20, 1e12), "leaves no distance between 20 noise levels"),
    ],
)
def test_what_cannot_be_a_schedule_is_one_line(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_solver(*arguments)  # type: ignore[arg-type]
