"""Workers an operator, and requests that no machine can hold."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from small_jobs import prepare

from ray_jobs.pools import Need, check, fit, local_cpus, local_limits, needs_of
from wanprep.errors import UsageError
from wanprep.stage import Resources

ONE_CPU = Need(stages=("flow",), resources={"CPU": 1.0}, largest={"CPU": "flow"})
ONE_GPU = Need(
    stages=("latents",), resources={"CPU": 1.0, "GPU": 1.0}, largest={"CPU": "latents", "GPU": "latents"}
)
READER = Need(
    stages=("scan",), resources={"CPU": 1.0, "reader": 1.0}, largest={"CPU": "scan", "reader": "scan"}
)
BIG = Need(stages=("a", "b"), resources={"CPU": 8.0, "memory": 2.0**33}, largest={"CPU": "b", "memory": "a"})


def test_one_operator_takes_all_cpus_and_no_more_than_allowed() -> None:
    assert fit([ONE_CPU], [{"CPU": 4.0}], [9]) == [4]
    assert fit([ONE_CPU], [{"CPU": 4.0}], [3]) == [3]
    assert fit([ONE_CPU], [{"CPU": 2.0}, {"CPU": 3.0}], [9]) == [5]


def test_operators_share_a_machine() -> None:
    assert fit([ONE_CPU, ONE_GPU], [{"CPU": 4.0, "GPU": 1.0}], [9, 9]) == [3, 1]
    assert fit([ONE_CPU, ONE_CPU], [{"CPU": 4.0}], [9, 9]) == [2, 2]


def test_a_small_worker_does_not_take_the_only_place_of_a_large_one() -> None:
    assert fit([ONE_CPU, ONE_GPU], [{"CPU": 1.0, "GPU": 1.0}, {"CPU": 1.0}], [9, 9]) == [1, 1]


def test_fractions_of_a_gpu_fill_it() -> None:
    tenth = Need(stages=("x",), resources={"GPU": 0.1}, largest={"GPU": "x"})
    assert fit([tenth], [{"CPU": 1.0, "GPU": 1.0}], [99]) == [10]


@pytest.mark.parametrize(
    ("need", "node", "words"),
    [
        (ONE_GPU, {"CPU": 8.0}, ("latents wants 1 GPU ", "more than 0 GPUs")),
        (READER, {"CPU": 8.0}, ("scan wants 1 of resource 'reader' ", "more than 0 of resource 'reader'")),
        (BIG, {"CPU": 4.0, "memory": 2.0**40}, ("stage b wants 8 CPUs", "more than 4 CPUs")),
        (BIG, {"CPU": 9.0, "memory": 2.0**30}, ("stage a wants 8.0 GiB of memory", "more than 1.0 GiB")),
    ],
)
def test_the_impossible_is_refused_by_name(
    need: Need, node: dict[str, float], words: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as caught:
        check([need], [node])
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_resources_on_different_machines_do_not_add_up() -> None:
    with pytest.raises(UsageError, match="no single machine"):
        check([BIG], [{"CPU": 9.0, "memory": 1.0}, {"CPU": 1.0, "memory": 2.0**40}])


def test_operators_that_only_fit_alone_are_refused() -> None:
    with pytest.raises(UsageError, match="finds no place beside"):
        fit([ONE_CPU, ONE_GPU], [{"CPU": 1.0, "GPU": 1.0}], [9, 9])


def test_a_custom_resource_that_two_operators_want_is_named_when_there_is_too_little() -> None:
    other = Need(stages=("print",), resources={"reader": 0.5}, largest={"reader": "print"})
    assert fit([READER, other], [{"CPU": 1.0, "reader": 2.0}, {"CPU": 9.0}], [9, 9]) == [1, 2]
    with pytest.raises(UsageError, match=r"need 1 of resource 'reader' \+ 0.5 of resource 'reader'"):
        fit([READER, other], [{"CPU": 4.0, "reader": 1.0}], [9, 9])


def test_a_custom_resource_is_not_to_be_had_on_a_ray_of_our_own() -> None:
    with pytest.raises(UsageError, match="of resource 'reader' a worker"):
        local_limits([READER], cores=8, workers=2, tasks=9)


def test_this_machine_runs_as_many_workers_as_it_was_asked_for() -> None:
    assert local_limits([ONE_CPU], cores=2, workers=2, tasks=99) == [2]
    assert local_limits([ONE_CPU], cores=2, workers=5, tasks=99) == [5]
    assert local_limits([ONE_CPU], cores=8, workers=8, tasks=3) == [3]
    assert local_limits([BIG], cores=16, workers=16, tasks=99) == [2]


def test_ray_believes_in_a_cpu_for_every_worker() -> None:
    needs = [ONE_CPU, ONE_GPU]
    limits = local_limits(needs, cores=2, workers=2, tasks=99)
    assert fit(needs, [{"CPU": float(local_cpus(needs, limits)), "GPU": 1.0}], limits) == [2, 1]


def test_more_cpus_than_the_machine_has_are_refused_before_ray_starts() -> None:
    with pytest.raises(UsageError, match="wants 8 CPUs a worker"):
        local_limits([BIG], cores=2, workers=2, tasks=99)


def test_operators_hold_what_their_stages_declare(tmp_path: Path) -> None:
    job, _ = prepare(tmp_path, ["a"], {"test_moody": {}, "test_after": {}})
    cpu, gpu = needs_of(job)
    assert (dict(cpu.resources), dict(gpu.resources)) == ({"CPU": 1.0}, {"CPU": 0.5, "GPU": 0.5})


def test_custom_resources_make_an_operator_and_come_with_its_need(tmp_path: Path) -> None:
    job, _ = prepare(tmp_path, ["a"], {"test_moody": {}, "test_reader": {}, "test_on_gpu": {}})
    needs = {need.stages: (dict(need.resources), need.custom) for need in needs_of(job)}
    assert needs == {
        ("test_moody",): ({"CPU": 1.0}, {}),
        ("test_reader",): ({"test_reader": 1.0}, {"test_reader": 1.0}),
        ("test_on_gpu",): ({"GPU": 1.0}, {}),
    }


def test_resources_cannot_be_changed_and_travel() -> None:
    wanted = Resources(cpus=2, custom={"reader": 1})
    assert pickle.loads(pickle.dumps(wanted)) == wanted != Resources(cpus=2)
    assert hash(wanted) == hash(Resources(cpus=2, custom={"reader": 1}))
    with pytest.raises(TypeError):
        wanted.custom["reader"] = 2  # type: ignore[index]
    for custom in ({"CPU": 1.0}, {"reader": 0.0}):
        with pytest.raises(ValueError, match="custom resource"):
            Resources(custom=custom)
