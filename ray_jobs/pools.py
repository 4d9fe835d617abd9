"""How many workers each operator gets, and whether the machines can hold them at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wanprep.engine.job import Job
from wanprep.errors import UsageError

_LOCAL_GPUS = 8  # how many GPU workers a machine is prepared for; Ray finds out how many it really has
_SLACK = 1e-6  # fractions of a GPU add up inexactly
_OWN_NAMES = ("CPU", "GPU", "memory")


@dataclass(frozen=True)
class Need:
    """What one worker of an operator holds while it runs, in Ray's units (memory in bytes)."""

    stages: tuple[str, ...]
    resources: Mapping[str, float]  # CPU, GPU, memory, custom ones; what is not needed is left out
    largest: Mapping[str, str]  # resource -> the stage that wants most of it

    def fits(self, free: Mapping[str, float]) -> bool:
        return all(free.get(name, 0.0) + _SLACK >= amount for name, amount in self.resources.items())

    def of(self, name: str) -> float:
        return self.resources.get(name, 0.0)

    @property
    def custom(self) -> dict[str, float]:
        return {name: amount for name, amount in self.resources.items() if name not in _OWN_NAMES}


def needs_of(job: Job) -> list[Need]:
    """One need an operator.

    Stages of an operator run one after the other, so CPUs, whole GPUs and custom resources do not add up. Their
    models stay loaded side by side: memory adds up, and so do fractions of a GPU, to at most a whole one.
    """
    needs = []
    for names in job.groups:
        wanted = {stage.name: stage.resources for stage in job.build(names)}
        columns = {
            "CPU": {name: float(given.cpus) for name, given in wanted.items()},
            "GPU": {name: float(given.gpus) for name, given in wanted.items()},
            "memory": {name: float(given.memory) for name, given in wanted.items()},
        }
        for custom in sorted({custom for given in wanted.values() for custom in given.custom}):
            columns[custom] = {name: float(given.custom.get(custom, 0.0)) for name, given in wanted.items()}
        totals = {name: max(column.values()) for name, column in columns.items()} | {
            "GPU": max(max(columns["GPU"].values()), min(1.0, sum(columns["GPU"].values()))),
            "memory": sum(columns["memory"].values()),
        }
        needs.append(
            Need(
                stages=tuple(names),
                resources={name: total for name, total in totals.items() if total > 0},
                largest={
                    name: max(column, key=lambda stage: column[stage]) for name, column in columns.items()
                },
            )
        )
    return needs


def local_limits(needs: Sequence[Need], *, cores: int, workers: int, tasks: int) -> list[int]:
    """The most workers of each operator on this machine.

    Each operator may use all cores: while one waits for another, the operating system gives its share away.
    """
    check(needs, [{"CPU": float(cores), "GPU": math.inf, "memory": math.inf}])
    room = max(cores, workers)
    limits = []
    for need in needs:
        most = min(workers, tasks, math.floor(room / need.of("CPU")) if need.of("CPU") else workers)
        limits.append(max(1, min(most, _LOCAL_GPUS) if need.of("GPU") else most))
    return limits


def local_cpus(needs: Sequence[Need], limits: Sequence[int]) -> int:
    """How many CPUs Ray must believe in for all of these workers to run side by side."""
    return max(1, math.ceil(sum(need.of("CPU") * limit for need, limit in zip(needs, limits, strict=True))))


def check(needs: Sequence[Need], nodes: Sequence[Mapping[str, float]]) -> None:
    """Whether each operator's worker fits a node that has nothing else to do.

    Raises:
        UsageError: one does not; Ray would wait for such a node for ever, without a word.
    """
    for need in needs:
        if any(need.fits(node) for node in nodes):
            continue
        for name, amount in need.resources.items():
            most = max((node.get(name, 0.0) for node in nodes), default=0.0)
            if amount > most + _SLACK:
                raise UsageError(
                    f"stage {need.largest[name]} wants {_amount(name, amount)} a worker, but no machine here has "
                    f"more than {_amount(name, most)}; add such a machine, or leave the stage out"
                )
        wanted = ", ".join(_amount(name, amount) for name, amount in need.resources.items())
        raise UsageError(
            f"stage {need.stages[0]} wants {wanted} a worker, and no single machine here has all of it; "
            "add such a machine, or leave the stage out"
        )


def fit(needs: Sequence[Need], nodes: Sequence[Mapping[str, float]], limits: Sequence[int]) -> list[int]:
    """Workers of each operator: one each, then one more each in turn while they fit, up to `limits`.

    Raises:
        UsageError: not even one of each fits.
    """
    check(needs, nodes)
    free = [dict(node) for node in nodes]
    sizes = [0] * len(needs)
    # The greediest first, so that small ones do not take the only place of a large one.
    order = sorted(
        range(len(needs)), key=lambda i: (-needs[i].of("GPU"), -len(needs[i].custom), -needs[i].of("CPU"), i)
    )
    growing = set(order)
    while growing:
        for index in [i for i in order if i in growing]:
            if sizes[index] < limits[index] and _place(needs[index], free):
                sizes[index] += 1
            else:
                growing.discard(index)
    for need, size in zip(needs, sizes, strict=True):
        if size == 0:
            name = _scarce(needs, nodes)
            wanted = " + ".join(_amount(name, other.of(name)) for other in needs if other.of(name))
            has = sum(node.get(name, 0.0) for node in nodes)
            raise UsageError(
                f"stage {need.stages[0]} finds no place beside the other operators: their workers need {wanted}, "
                f"and the cluster has {_amount(name, has)} in all; add a machine"
            )
    return sizes


def _scarce(needs: Sequence[Need], nodes: Sequence[Mapping[str, float]]) -> str:
    """The resource of which one worker of each operator wants more than there is; CPU when it is a matter of where
    it is."""
    for name in sorted({name for need in needs for name in need.custom}):
        if sum(need.of(name) for need in needs) > sum(node.get(name, 0.0) for node in nodes) + _SLACK:
            return name
    return "CPU"


def _place(need: Need, free: list[dict[str, float]]) -> bool:
    # The node with the fewest GPUs that fits: workers without a need for one stay off the others.
    for node in sorted(free, key=lambda node: (node.get("GPU", 0.0), -node.get("CPU", 0.0))):
        if need.fits(node):
            for name, amount in need.resources.items():
                node[name] = node.get(name, 0.0) - amount
            return True
    return False


def _amount(name: str, amount: float) -> str:
    if name == "memory":
        return f"{amount / 2**30:.1f} GiB of memory"
    if name not in _OWN_NAMES:
        return f"{amount:g} of resource '{name}'"
    return f"{amount:g} {name}{'' if amount == 1 else 's'}"
