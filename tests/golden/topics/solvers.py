"""Flow-matching solvers: noise levels of each table, and whole paths under a known velocity."""

from __future__ import annotations

import numpy as np
import pytest

from golden.golden_file import GoldenFile
from golden.topic import Topic
from wanprep_infer.solvers import Grid, SolverName, make_solver, schedule

TABLES: dict[str, tuple[SolverName, Grid]] = {
    "official_dpmpp": ("dpm++", "official"),
    "official_unipc": ("unipc", "official"),
    "diffusers_unipc": ("unipc", "diffusers"),
}


def check_schedules(file: GoldenFile, case: str) -> None:
    fields = file.case(case)
    tables = fields.keys() - {"steps", "shift"}
    assert tables and tables <= TABLES.keys(), f"tables of {tables - TABLES.keys()} are not known"
    for table in tables:
        solver, grid = TABLES[table]
        found = schedule(solver, fields["steps"], fields["shift"], grid)
        assert found.timesteps_S.tolist() == fields[table]["timesteps"], table
        np.testing.assert_allclose(found.sigmas_S, fields[table]["sigmas"], rtol=0, atol=1e-5, err_msg=table)


def check_paths(file: GoldenFile, case: str) -> None:
    torch = pytest.importorskip("torch")
    fields = file.case(case)
    (about,) = [row for row in file.metadata["cases"] if row["index"] == int(case)]
    solver = make_solver(about["solver"], about["steps"], about["shift"])
    np.testing.assert_array_equal(solver.schedule.sigmas_S, fields["sigmas"])
    np.testing.assert_array_equal(solver.schedule.timesteps_S, fields["timesteps"])
    path = torch.from_numpy(fields["trajectory"])
    assert len(path) == solver.schedule.steps + 1
    sample = path[0]
    for timestep, expected in zip(solver.schedule.timesteps_S, path[1:], strict=True):
        velocity = about["a"] * sample + 0.3 * torch.sin(3 * sample) + 0.5 * int(timestep) / 1000
        sample = solver.step(velocity, sample)
        torch.testing.assert_close(sample, expected, rtol=0, atol=1e-4)


TOPICS = [
    Topic(files=("animate/schedules*.json",), check=check_schedules),
    Topic(files=("s2v/scheduler*.safetensors",), check=check_paths),
]
