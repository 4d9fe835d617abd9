"""The user's choices: which stages, with which settings, on which timeline. Validated before anything starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from wanprep import graph, registry, safe_yaml
from wanprep.errors import UsageError
from wanprep.hints import did_you_mean
from wanprep.key import canonical_json, config_fields, stage_spec, text_digest
from wanprep.models.places import ModelPlaces
from wanprep.stage import Stage
from wanprep.timeline import TimelineConfig

M = TypeVar("M", bound=BaseModel)

DEFAULT_PRESET = "features"
_SECTIONS = ("preset", "timeline", "shared", "stages")


@dataclass(frozen=True)
class Recipe:
    """A checked recipe: the timeline and the stages in running order, configured."""

    timeline: TimelineConfig
    stages: tuple[Stage[Any], ...]

    @property
    def specs(self) -> dict[str, dict[str, Any]]:
        """Stage name -> what determines its artifacts."""
        return {stage.name: stage_spec(stage) for stage in self.stages}

    def to_document(self) -> dict[str, Any]:
        """All that determines keys, as plain data; stored beside the artifacts so that a plan can say what changed."""
        return {"timeline": config_fields(self.timeline), "stages": self.specs}

    @property
    def digest(self) -> str:
        return text_digest(canonical_json(self.to_document()))

    def with_models(self, models: str | os.PathLike[str] | None) -> Recipe:
        """The recipe with each stage's model taken from `models`/name where that is there; see `load_recipe`."""
        if models is None:
            return self
        places = ModelPlaces(models)
        return Recipe(self.timeline, tuple(type(stage)(places.placed(stage.config)) for stage in self.stages))


def presets() -> list[str]:
    return sorted(
        item.name.removesuffix(".yaml") for item in _preset_folder().iterdir() if item.name.endswith(".yaml")
    )


def load_recipe(
    source: str | Path | Mapping[str, Any] | None = None,
    *,
    preset: str | None = None,
    overrides: Iterable[str] = (),
    only: Iterable[str] = (),
    models: str | os.PathLike[str] | None = None,
) -> Recipe:
    """The recipe of a YAML file, a mapping or a preset's name, with `stage.field=value` overrides on top.

    Args:
        source: path of a YAML file, name of a preset, or the document itself; None takes `preset`.
        preset: a preset to start from; a document's own `preset:` line does the same.
        overrides: `stage.field=value`, `timeline.field=value` or `shared.field=value`; values are YAML.
        only: keep just these stages and those they take in.
        models: a folder of models: a stage's model is taken from `models`/name where that is there. None takes
            the folder that `WANPREP_MODELS` names, if it is set.

    Raises:
        UsageError: an unknown preset, stage or field, or a bad value; says where and suggests the nearest name.
    """
    document, where = _document(source)
    base_name = document.pop("preset", None) or preset or (None if "stages" in document else DEFAULT_PRESET)
    # Merged even with nothing: overrides must not write into a mapping of the caller's.
    document = _merged(_preset(str(base_name)) if base_name is not None else {}, document)
    for override in overrides:
        _apply(document, override)
    return _build(document, where, list(only), ModelPlaces(models))


def _document(source: str | Path | Mapping[str, Any] | None) -> tuple[dict[str, Any], str]:
    if source is None:
        return {}, "recipe"
    if isinstance(source, Mapping):
        return _checked(dict(source), "recipe"), "recipe"
    path = Path(source)
    if isinstance(source, str) and path.suffix not in (".yaml", ".yml") and not path.is_file():
        return _preset(source), f"preset {source}"
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(safe_yaml.MAX_CHARS + 1)
    except OSError as error:
        raise UsageError(f"recipe {path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"recipe {path}: is no UTF-8 text") from error
    return _checked(_parse(text, str(path)), str(path)), str(path)


def _parse(text: str, where: str) -> Any:
    try:
        return safe_yaml.load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(
            f"{where}{line}: is not valid YAML ({getattr(error, 'problem', 'unreadable')})"
        ) from error
    except safe_yaml.UnsafeYaml as error:
        raise UsageError(f"{where}: {error}; a recipe is a page of settings") from error
    except (ValueError, RecursionError) as error:
        # Dates that do not exist, numbers of too many digits, brackets without end.
        raise UsageError(f"{where}: is not valid YAML ({type(error).__name__}: {error})") from error


def _checked(document: Any, where: str) -> dict[str, Any]:
    document = {} if document is None else document
    if not isinstance(document, dict):
        raise UsageError(f"{where}: a recipe is a mapping with the sections {', '.join(_SECTIONS)}")
    for name in document:
        if name not in _SECTIONS:
            hint = did_you_mean(str(name), _SECTIONS)
            raise UsageError(f"{where}: unknown section '{name}'{hint} (a recipe has {', '.join(_SECTIONS)})")
    return document


def _preset_folder() -> Any:
    return files("wanprep") / "presets"


def _preset(name: str) -> dict[str, Any]:
    if name not in presets():
        hint = did_you_mean(name, presets())
        raise UsageError(f"no preset is called '{name}'{hint} (there are: {', '.join(presets())})")
    return _checked(
        _parse((_preset_folder() / f"{name}.yaml").read_text(encoding="utf-8"), name), f"preset {name}"
    )


def _merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for name, value in top.items():
        below = result.get(name)
        if isinstance(value, Mapping):
            result[name] = _merged(below if isinstance(below, Mapping) else {}, value)
        elif not (
            value is None and isinstance(below, Mapping)
        ):  # an empty `flow:` keeps the preset's settings
            result[name] = value
    return result


def _apply(document: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    names = path.strip().split(".")
    value = _parse(text, f"--set {override}") if text else None
    switch = len(names) == 1 and isinstance(value, bool)
    if not equals or not all(names) or (len(names) < 2 and not switch):
        raise UsageError(
            f"--set {override}: write it as stage.field=value, for example flow.short_side=320, or stage=false"
        )
    top, *rest = names
    branch = document
    if top not in ("timeline", "shared"):
        stages = document.get("stages") or {}
        if not isinstance(stages, dict) or top not in stages:
            known = [*(stages if isinstance(stages, dict) else ()), "timeline", "shared"]
            raise UsageError(f"--set {override}: the recipe has no stage '{top}'{did_you_mean(top, known)}")
        branch = stages
    elif switch:
        raise UsageError(f"--set {override}: {top} is no stage to leave out; give {top}.field=value")
    if switch:
        # Settings that the stage has stay when it is switched on.
        if value is False or not isinstance(branch[top], Mapping):
            branch[top] = value
        return
    for name in (top, *rest[:-1]):
        below = branch.get(name)
        branch[name] = dict(below) if isinstance(below, Mapping) else {}
        branch = branch[name]
    branch[rest[-1]] = value


def _build(document: Mapping[str, Any], where: str, only: list[str], places: ModelPlaces) -> Recipe:
    chosen = document.get("stages") or {}
    if not isinstance(chosen, Mapping):
        raise UsageError(f"{where}, stages: is a mapping of stage names to their settings")
    shared = document.get("shared") or {}
    if not isinstance(shared, Mapping):
        raise UsageError(f"{where}, shared: is a mapping of fields to values for all stages that have them")
    stages: dict[str, Stage[Any]] = {}
    used: set[str] = set()
    for name, settings in chosen.items():
        if settings is False:
            continue
        if settings is not None and settings is not True and not isinstance(settings, Mapping):
            raise UsageError(
                f"{where}, stages.{name}: settings are a mapping of fields (or false to leave it out)"
            )
        stage = registry.stage_class(str(name))
        fields = dict(settings) if isinstance(settings, Mapping) else {}
        for field, value in shared.items():
            if field in stage.Config.model_fields:
                used.add(field)
                own = fields.get(field)
                fields[field] = _merged(value, own) if isinstance(own, Mapping) else fields.get(field, value)
        config = _validated(stage.Config, fields, f"{where}, stages.{name}")
        stages[stage.name] = stage(places.placed(config))
    if unused := sorted(set(shared) - used):
        known = {field for stage in stages.values() for field in type(stage.config).model_fields}
        raise UsageError(
            f"{where}, shared.{unused[0]}: no stage has this field{did_you_mean(unused[0], known)}"
        )
    if only:
        stages = _kept(stages, only)
    if not stages:
        raise UsageError(f"{where}: the recipe has no stages; add some under 'stages:' or take a preset")
    timeline = _validated(TimelineConfig, document.get("timeline") or {}, f"{where}, timeline")
    return Recipe(timeline=timeline, stages=tuple(graph.ordered(stages)))


def _kept(stages: Mapping[str, Stage[Any]], only: Iterable[str]) -> dict[str, Stage[Any]]:
    kept: dict[str, Stage[Any]] = {}
    wanted = list(only)
    while wanted:
        name = wanted.pop()
        if name not in stages:
            raise UsageError(f"--only {name}: the recipe has no such stage{did_you_mean(name, stages)}")
        if name not in kept:
            kept[name] = stages[name]
            # Also what it merely uses: without, it would get another key than under the whole recipe.
            wanted.extend(other for other in (*stages[name].needs, *stages[name].uses) if other in stages)
    return kept


def _validated(model: type[M], fields: Any, where: str) -> M:
    if not isinstance(fields, Mapping):
        raise UsageError(f"{where}: is a mapping of fields to values, not {fields!r}")
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        raise UsageError(_first_problem(model, error, where)) from error


def _first_problem(model: type[BaseModel], error: ValidationError, where: str) -> str:
    problem = error.errors(include_url=False)[0]
    path = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        owner: Any = model
        for part in path[:-1]:
            owner = getattr(owner.model_fields.get(part), "annotation", None) if owner else None
        known = list(owner.model_fields) if isinstance(owner, type) and issubclass(owner, BaseModel) else []
        listed = f" (fields: {', '.join(known)})" if known else ""
        return f"{where}: unknown field '{'.'.join(path)}'{did_you_mean(path[-1], known)}{listed}"
    return f"{where}.{'.'.join(path)}: {problem['msg'].lower()}, not {problem['input']!r}"
