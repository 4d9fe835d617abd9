"""The order of stages: who needs whom, and which run together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from wanprep.errors import UsageError
from wanprep.hints import did_you_mean
from wanprep.stage import FrameStage, Stage


def upstream(stage: Stage[Any], present: Iterable[str]) -> tuple[str, ...]:
    """The stages whose artifacts enter this one, sorted: its needs, and its uses that are present."""
    present = set(present)
    return tuple(sorted({*stage.needs, *(name for name in stage.uses if name in present)}))


def ordered(stages: Mapping[str, Stage[Any]]) -> list[Stage[Any]]:
    """Stages so that each comes after all it takes in; equal ranks by name.

    Raises:
        UsageError: a needed stage is not among them, or they need each other in a circle.
    """
    for stage in stages.values():
        for need in stage.needs:
            if need not in stages:
                hint = did_you_mean(need, stages)
                raise UsageError(
                    f"stages.{stage.name}: needs stage '{need}', which the recipe does not have{hint}; add it"
                )
    sorter = TopologicalSorter({name: sorted(upstream(stages[name], stages)) for name in sorted(stages)})
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " -> ".join(str(name) for name in error.args[1])
        raise UsageError(f"stages need each other in a circle: {circle}") from error
    result: list[Stage[Any]] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        result.extend(stages[name] for name in ready)
        sorter.done(*ready)
    return result


def operators(stages: Sequence[Stage[Any]]) -> list[list[Stage[Any]]]:
    """Groups ordered stages into operators: neighbours on the same device share a worker and its decode pass."""
    groups: list[list[Stage[Any]]] = []
    remaining = list(stages)
    done: set[str] = set()
    names = {stage.name for stage in stages}
    while remaining:
        device = _device(remaining[0])
        group: list[Stage[Any]] = []
        for stage in remaining:
            ready = all(name in done for name in upstream(stage, names))
            if _device(stage) == device and ready:
                group.append(stage)
                done.add(stage.name)
        groups.append(group)
        remaining = [stage for stage in remaining if stage.name not in done]
    return groups


def _device(stage: Stage[Any]) -> tuple[bool, frozenset[str]]:
    """What a machine must have besides CPUs: whether a GPU, and which custom resources."""
    return stage.resources.gpus > 0, frozenset(stage.resources.custom)


def passes(stages: Sequence[Stage[Any]]) -> list[list[Stage[Any]]]:
    """Splits an operator's ordered stages into steps: one stage without frames, or frame stages that share a
    decode because none needs another before its first frame."""
    steps: list[list[Stage[Any]]] = []
    place: dict[str, int] = {}  # stage name -> index of its step
    for stage in stages:
        frames = isinstance(stage, FrameStage)
        earliest = max((place[name] + 1 for name in stage.needs if name in place), default=0)
        for name in stage.uses:
            if name in place:
                # What is used at the end may be made in the same step.
                same = frames and isinstance(steps[place[name]][0], FrameStage)
                earliest = max(earliest, place[name] + (0 if same else 1))
        joined = next(
            (i for i in range(earliest, len(steps)) if frames and isinstance(steps[i][0], FrameStage)),
            len(steps),
        )
        if joined == len(steps):
            steps.append([])
        steps[joined].append(stage)
        place[stage.name] = joined
    return steps


def decodes(stages: Sequence[Stage[Any]]) -> list[frozenset[str]]:
    """The names of the frame stages of each decode that a run of these stages makes of a clip."""
    steps = [step for group in operators(stages) for step in passes(group)]
    return [frozenset(stage.name for stage in step) for step in steps if isinstance(step[0], FrameStage)]
