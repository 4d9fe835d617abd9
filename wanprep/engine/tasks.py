"""Cuts a plan into tasks: batches of clips of about equal work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from schemas import ClipRecord, MediaRecord
from wanprep import graph
from wanprep.engine.job import ClipTask, Input, Task
from wanprep.plan import Plan
from wanprep.states import State
from wanprep.store.store import Store

MAX_FRAMES = 3_000  # of a task: minutes of work, the most that a killed worker loses
MAX_CLIPS = 256  # of a task: keeps a shard's Parquet file small where clips have no frames
_TASKS_PER_WORKER = 4  # fewer leave workers idle at the end, more make small shards


def make_tasks(plan: Plan, media: Mapping[str, MediaRecord], store: Store, workers: int) -> list[Task]:
    """Tasks over all clips with anything to do, in the clips' order."""
    units = _together(_clip_tasks(plan, media, store))
    total = sum(_weight(unit) for unit in units)
    limit = min(MAX_FRAMES, max(1, total // max(1, workers * _TASKS_PER_WORKER)))
    tasks: list[Task] = []
    batch: list[ClipTask] = []
    weight = 0
    for unit in units:
        if batch and (weight + _weight(unit) > limit or len(batch) + len(unit) > MAX_CLIPS):
            tasks.append(Task(number=len(tasks), clips=tuple(batch)))
            batch, weight = [], 0
        batch += unit
        weight += _weight(unit)
    if batch:
        tasks.append(Task(number=len(tasks), clips=tuple(batch)))
    return tasks


def _weight(unit: Iterable[ClipTask]) -> int:
    return sum(max(item.clip.frames, 25) for item in unit)


def _together(items: Iterable[ClipTask]) -> list[list[ClipTask]]:
    """Clips that take in what an earlier clip makes go into one task with it, after it."""
    units: dict[int, list[ClipTask]] = {}
    made_in: dict[str, int] = {}  # key -> unit that makes it
    for number, item in enumerate(items):
        before = {made_in[given.key] for given in item.inputs.values() if given.key in made_in}
        unit = min(before, default=number)
        members = units.setdefault(unit, [])
        for other in sorted(before - {unit}):
            members += units.pop(other)
        members.append(item)
        for member in members if len(before) > 1 else [item]:
            made_in.update((member.clip.keys[name], unit) for name in member.to_do)
    return list(units.values())


def _clip_tasks(plan: Plan, media: Mapping[str, MediaRecord], store: Store) -> Iterator[ClipTask]:
    present = [stage.name for stage in plan.recipe.stages]
    inputs_of = {stage.name: graph.upstream(stage, present) for stage in plan.recipe.stages}
    taken: dict[str, set[str]] = {name: set() for name in present}
    for index in plan.to_do:
        clip = plan.clips[int(index)]
        to_do: list[str] = []
        for name in present:
            key = clip.keys[name]
            # Clips that share a video share its artifacts: the first one makes them.
            if plan.stages[name].states[index] == State.TO_DO and key not in taken[name]:
                taken[name].add(key)
                to_do.append(name)
        if not to_do:
            continue
        needed = {need for name in to_do for need in inputs_of[name]} - set(to_do)
        yield ClipTask(
            clip=clip,
            media=media_of_clip(clip, media),
            to_do=tuple(to_do),
            inputs={name: _input(plan, name, int(index), store) for name in sorted(needed)},
        )


def _input(plan: Plan, stage: str, index: int, store: Store) -> Input:
    row = int(plan.stages[stage].rows[index])
    file = store.index(stage).file(row) if row >= 0 else None
    return Input(key=plan.stages[stage].keys[index], file=file)


def media_of_clip(clip: ClipRecord, media: Mapping[str, MediaRecord]) -> dict[str, MediaRecord]:
    """The clip's files by the role they play."""
    named = {"video": clip.video, "reference": clip.reference, "audio": clip.audio}
    return {role: media[uri] for role, uri in named.items() if uri is not None}
