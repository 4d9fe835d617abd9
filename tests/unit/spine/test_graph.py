"""The order of stages, and which run together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wanprep import graph
from wanprep.errors import UsageError
from wanprep.stage import FrameStage, Resources, Stage, StageConfig


def make(
    name: str, needs: str = "", uses: str = "", *, frames: bool = True, gpus: float = 0.0
) -> Stage[StageConfig]:
    base = FrameStage if frames else Stage
    made = type(
        name,
        (base,),
        {
            "name": name,
            "needs": tuple(needs.split()),
            "uses": tuple(uses.split()),
            "resources": Resources(gpus=gpus),
        },
    )
    return made(StageConfig())


def order(*stages: Stage[StageConfig]) -> list[Stage[StageConfig]]:
    return graph.ordered({stage.name: stage for stage in stages})


def names(groups: list[list[Stage[StageConfig]]]) -> list[list[str]]:
    return [[stage.name for stage in group] for group in groups]


def test_each_stage_comes_after_what_it_takes_in() -> None:
    stages = order(
        make("quality", uses="skeleton flow"), make("flow"), make("retarget", "skeleton"), make("skeleton")
    )
    assert [stage.name for stage in stages] == ["flow", "skeleton", "quality", "retarget"]


def test_uses_that_are_absent_do_not_matter() -> None:
    quality = make("quality", needs="flow", uses="skeleton")
    assert graph.upstream(quality, ["flow", "quality"]) == ("flow",)
    assert graph.upstream(quality, ["flow", "skeleton"]) == ("flow", "skeleton")


def test_a_need_that_is_absent_is_named() -> None:
    with pytest.raises(UsageError, match=r"stages\.retarget: needs stage 'skeleton'"):
        order(make("retarget", "skeleton"), make("flow"))


@pytest.mark.parametrize("kind", ["needs", "uses"])
def test_circles_are_named(kind: str) -> None:
    stages = [make(name, **{kind: before}) for name, before in (("a", "b"), ("b", "c"), ("c", "a"))]
    with pytest.raises(UsageError, match=r"circle: [abc] -> [abc] -> [abc] -> [abc]"):
        order(*stages, make("d"))
    with pytest.raises(UsageError, match="circle: a -> a"):
        order(make("a", **{kind: "a"}))


def test_frame_stages_share_a_decode_unless_one_needs_another_first() -> None:
    stages = order(
        make("skeleton"), make("flow"), make("mask", "skeleton"), make("quality", uses="skeleton flow mask")
    )
    assert names(graph.passes(stages)) == [["flow", "skeleton"], ["mask", "quality"]]


def test_what_is_used_at_the_end_is_made_in_the_same_pass() -> None:
    stages = order(make("skeleton"), make("flow"), make("quality", uses="skeleton flow"))
    assert names(graph.passes(stages)) == [["flow", "skeleton", "quality"]]


def test_stages_without_frames_stand_alone() -> None:
    stages = order(
        make("audio", frames=False), make("flow"), make("note", "flow", frames=False), make("end", "note")
    )
    assert names(graph.passes(stages)) == [["audio"], ["flow"], ["note"], ["end"]]
    used = order(make("audio", frames=False), make("mix", uses="audio"), make("flow"))
    assert names(graph.passes(used)) == [["audio"], ["flow", "mix"]]


def test_operators_group_by_device() -> None:
    stages = order(
        make("flow"),
        make("latents", gpus=1),
        make("skeleton"),
        make("caption", "skeleton", gpus=1, frames=False),
        make("text", "caption", frames=False),
    )
    assert names(graph.operators(stages)) == [["flow", "skeleton"], ["latents", "caption"], ["text"]]


@st.composite
def graphs(draw: st.DrawFn) -> list[Stage[StageConfig]]:
    count = draw(st.integers(1, 8))
    stages = []
    for index in range(count):
        earlier = [f"s{number}" for number in range(index)]
        subset = st.lists(st.sampled_from(earlier), unique=True, max_size=3) if earlier else st.just([])
        stages.append(
            make(
                f"s{index}",
                " ".join(draw(subset)),
                " ".join(draw(subset)),
                frames=draw(st.booleans()),
                gpus=draw(st.sampled_from([0.0, 1.0])),
            )
        )
    return stages


@given(graphs(), st.randoms(use_true_random=False))
def test_any_graph_runs_each_stage_once_and_in_time(stages: list[Stage[StageConfig]], random: object) -> None:
    random.shuffle(stages)  # type: ignore[attr-defined]
    ordered = order(*stages)
    groups = graph.operators(ordered)
    assert sorted(stage.name for group in groups for stage in group) == sorted(stage.name for stage in stages)
    known: set[str] = set()
    for group in groups:
        assert len({stage.resources.gpus > 0 for stage in group}) == 1
        for step in graph.passes(group):
            shared = {stage.name for stage in step} if isinstance(step[0], FrameStage) else set()
            assert len(step) == 1 or all(isinstance(stage, FrameStage) for stage in step)
            finished: set[str] = set()
            for stage in step:
                assert set(stage.needs) <= known, "needs lie in earlier steps"
                assert set(stage.uses) <= known | (shared & finished), "uses lie before, or finish first"
                finished.add(stage.name)
            known |= finished
