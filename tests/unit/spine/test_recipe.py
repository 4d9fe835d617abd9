"""Recipes are checked before anything starts; what is wrong is said in one line, with the place and a suggestion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.stages import Count, Digest, Note

from wanprep.errors import UsageError
from wanprep.recipe import load_recipe, presets
from wanprep.stage import Stage, StageConfig


def stage_names(*arguments: Any, **options: Any) -> list[str]:
    return [stage.name for stage in load_recipe(*arguments, **options).stages]


def config_of(recipe: Any, stage: str) -> Any:
    return next(made.config for made in recipe.stages if made.name == stage)


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        load_recipe(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", presets())
def test_presets_load(name: str) -> None:
    by_name, by_option = load_recipe(name), load_recipe(preset=name)
    assert by_name.stages
    assert [(s.name, s.config) for s in by_name.stages] == [(s.name, s.config) for s in by_option.stages]
    assert by_name.timeline == by_option.timeline


def test_default_is_the_features_preset() -> None:
    assert load_recipe().digest == load_recipe("features").digest


def test_document_on_top_of_a_preset() -> None:
    recipe = load_recipe({"preset": "motion", "stages": {"flow": {"short_side": 120}, "quality": False}})
    flow = config_of(recipe, "flow")
    assert (flow.preset, flow.consistency, flow.short_side) == ("fast", False, 120)
    assert [stage.name for stage in recipe.stages] == ["flow"]


def test_yaml_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("timeline: {fps: 16}\nstages:\n  flow:\n    short_side: 64\n")
    recipe = load_recipe(path)
    assert recipe.timeline.fps == 16
    assert config_of(recipe, "flow").short_side == 64
    assert (
        recipe.digest
        == load_recipe({"stages": {"flow": {"short_side": 64}}, "timeline": {"fps": 16.0}}).digest
    )


def test_folder_called_like_a_preset_is_no_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--recipe motion` beside a folder `motion` was refused: Is a directory."""
    (tmp_path / "motion").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_recipe("motion").digest == load_recipe(preset="motion").digest


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            {"stage": {}},
            "recipe: unknown section 'stage'; did you mean 'stages'? (a recipe has preset, timeline,",
        ),
        ({"stages": {"flwo": {}}}, "no stage is called 'flwo'; did you mean 'flow'? (there are: "),
        (
            {"stages": {"flow": {"short_sides": 5}}},
            "recipe, stages.flow: unknown field 'short_sides'; did you mean 'short_side'? (fields: backend, ",
        ),
        (
            {"stages": {"flow": {"short_side": "wide"}}},
            "recipe, stages.flow.short_side: input should be a valid integer",
        ),
        ({"stages": {"flow": {"short_side": 2}}}, "greater than or equal to 16, not 2"),
        ({"stages": {"flow": 5}}, "recipe, stages.flow: settings are a mapping"),
        ({"stages": ["flow"]}, "recipe, stages: is a mapping"),
        ({"stages": {}}, "the recipe has no stages"),
        (
            {"stages": {"flow": {}}, "timeline": {"fsp": 5}},
            "timeline: unknown field 'fsp'; did you mean 'fps'?",
        ),
        (
            {"stages": {"flow": {}}, "timeline": {"fps": -1}},
            "timeline.fps: input should be greater than 0, not -1",
        ),
        ({"stages": {"flow": {}}, "timeline": 30}, "timeline: is a mapping of fields"),
        ({"preset": "feature"}, "no preset is called 'feature'; did you mean 'features'?"),
        (
            {"stages": {"flow": {}}, "shared": {"short_sid": 5}},
            "no stage has this field; did you mean 'short_side'?",
        ),
        ({"stages": {"flow": {}}, "shared": [5]}, "shared: is a mapping"),
        ({"stages": {"flow": {5: 5}}}, "stages.flow"),
        ({5: {}}, "unknown section '5'"),
    ],
    ids=str,
)
def test_what_is_unknown_or_wrong_is_refused(document: dict[str, Any], said: str) -> None:
    assert said in refusal(document)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stages:\n  flow: {short_side: [1\n", "line 3: is not valid YAML"),
        ("stages:\n\tflow: {}\n", "line 2: is not valid YAML"),
        ("- a\n- b\n", "a recipe is a mapping"),
        ("just words", "a recipe is a mapping"),
        ("0", "a recipe is a mapping"),
        ("false", "a recipe is a mapping"),
        ("a: !!python/object/apply:os.system [ls]", "is not valid YAML"),
        ("stages: {flow: {short_side: 2001-13-45}}", "is not valid YAML"),
        ("[" * 5000, "is not valid YAML"),
        ("stages:\n  ? [a]\n  : 1\n", "is not valid YAML"),
    ],
    ids=lambda value: value[:20],
)
def test_bad_yaml_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    message = refusal(path)
    assert said in message and "bad.yaml" in message


def test_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory)" in refusal(str(tmp_path / "none.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"stages: \xff\xfe")
    assert "is no UTF-8 text" in refusal(tmp_path / "binary.yaml")
    assert "no preset is called 'fetures'; did you mean 'features'?" in refusal("fetures")


def test_empty_file_takes_the_preset(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_recipe(tmp_path / "empty.yaml").digest == load_recipe().digest


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("flow.short_side=320", "short_side", 320),
        ("flow.preset=ultrafast", "preset", "ultrafast"),
        ("flow.cut_similarity=0", "cut_similarity", 0.0),
        ("flow.consistency=false", "consistency", False),
        ("flow.consistency=true", "consistency", True),
        (" flow.cut_similarity = 0.25", "cut_similarity", 0.25),
    ],
)
def test_set_takes_yaml_values(override: str, field: str, value: Any) -> None:
    """`flow.consistency=false` and `=0` arrived as empty mappings."""
    found = getattr(config_of(load_recipe("motion", overrides=[override]), "flow"), field)
    assert found == value and type(found) is type(value)


def test_set_reaches_timeline_and_shared_and_the_last_one_counts() -> None:
    recipe = load_recipe("motion", overrides=["timeline.fps=16", "timeline.fps=30", "shared.short_side=64"])
    assert recipe.timeline.fps == 30
    assert config_of(recipe, "flow").short_side == 64


def test_set_leaves_a_stage_out() -> None:
    """The message of a stage that cannot run here advises it."""
    assert stage_names("motion", overrides=["flow=false"]) == ["quality"]
    recipe = load_recipe("motion", overrides=["flow=false", "flow=true"])
    assert [stage.name for stage in recipe.stages] == ["flow", "quality"]
    assert config_of(load_recipe("motion", overrides=["flow=true"]), "flow").preset == "fast"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("flow.short_sied=5", "unknown field 'short_sied'; did you mean 'short_side'?"),
        (
            "flwo.short_side=5",
            "--set flwo.short_side=5: the recipe has no stage 'flwo'; did you mean 'flow'?",
        ),
        ("timelin.fps=5", "did you mean 'timeline'?"),
        ("short_side=5", "write it as stage.field=value"),
        ("flow.short_side", "write it as stage.field=value"),
        ("flow.=5", "write it as stage.field=value"),
        ("flow.short_side=[", "is not valid YAML"),
        ("flow.short_side=", "should be a valid integer, not None"),
        ("timeline=false", "is no stage to leave out"),
        ("flow.backend.name=x", "stages.flow.backend"),
    ],
)
def test_bad_set_is_refused(override: str, said: str) -> None:
    assert said in refusal("motion", overrides=[override])


def test_overrides_leave_the_callers_mapping_alone() -> None:
    document = {"stages": {"flow": {"short_side": 64}}, "timeline": {"fps": 16}}
    load_recipe(document, overrides=["flow.short_side=128", "timeline.fps=30"])
    assert document == {"stages": {"flow": {"short_side": 64}}, "timeline": {"fps": 16}}


def test_only_keeps_what_is_taken_in(add_stages: Callable[..., None]) -> None:
    add_stages(Count, Note, Digest)
    document = {"stages": {"count": {}, "note": {}, "digest": {}, "flow": {}}}
    assert stage_names(document, only=["note"]) == ["count", "note"]
    # `digest` merely uses the others: without them it would get another key than under the whole recipe.
    assert stage_names(document, only=["digest"]) == ["count", "note", "digest"]
    assert "--only nte: the recipe has no such stage; did you mean 'note'?" in refusal(document, only=["nte"])
    assert "needs stage 'count', which the recipe does not have" in refusal({"stages": {"note": {}}})


def test_shared_fields_reach_all_stages_that_have_them(add_stages: Callable[..., None]) -> None:
    class Estimator(StageConfig):
        model: str = "small"
        size: int = 256

    class OneConfig(StageConfig):
        estimator: Estimator = Estimator()
        size: int = 1

    class TwoConfig(StageConfig):
        estimator: Estimator = Estimator()

    one = type("One", (Stage,), {"name": "one", "Config": OneConfig})
    two = type("Two", (Stage,), {"name": "two", "Config": TwoConfig})
    add_stages(one, two)
    recipe = load_recipe(
        {
            "shared": {"estimator": {"model": "large"}, "size": 7},
            "stages": {"one": {"estimator": {"size": 512}, "size": 3}, "two": {}},
        }
    )
    assert config_of(recipe, "one") == OneConfig(estimator=Estimator(model="large", size=512), size=3)
    assert config_of(recipe, "two") == TwoConfig(estimator=Estimator(model="large", size=256))
    message = refusal({"stages": {"one": {"estimator": {"modle": "x"}}}})
    assert "unknown field 'estimator.modle'; did you mean 'model'? (fields: model, size)" in message


def test_digest_is_of_what_determines_keys(add_stages: Callable[..., None]) -> None:
    add_stages(Count)
    base = load_recipe({"stages": {"count": {}}})
    assert load_recipe({"stages": {"count": {"batch": 99}}}).digest == base.digest
    assert load_recipe({"stages": {"count": {"scale": 2}}}).digest != base.digest
    assert load_recipe({"stages": {"count": {}}, "timeline": {"fps": 5}}).digest != base.digest
