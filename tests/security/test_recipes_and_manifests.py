"""Recipes that grow and manifests of gigantic lines are refused in bounded time and memory."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from wanprep import safe_yaml
from wanprep.errors import UsageError
from wanprep.inputs import read_inputs
from wanprep.recipe import load_recipe


@contextmanager
def bounded(megabytes: float = 40, seconds: float = 10) -> Iterator[None]:
    tracemalloc.start()
    began = time.perf_counter()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * 1e6
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - began < seconds


def levels(first: str, pattern: str, count: int = 30) -> str:
    """`a0: &a0 ...` and then each line made of nine aliases of the one before."""
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{n}: &a{n} {pattern.format(', '.join([f'*a{n - 1}'] * 9))}" for n in range(1, count)]
    return "\n".join(lines)


BOMBS = {
    "lists": levels("[x]", "[{}]"),
    "mappings merged": levels("{x: 1}", "{{<<: [{}]}}"),
    "in a stage": "stages:\n  flow:\n    x: &a0 [1]\n"
    + "\n".join(f"    x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)),
    "keys": "\n".join(["? &a0 [x]\n: 1"] + [f"? &a{n} [*a{n - 1}, *a{n - 1}]\n: 1" for n in range(1, 60)]),
}


@pytest.mark.parametrize("name", BOMBS)
def test_aliases_that_expand(tmp_path: Path, name: str) -> None:
    recipe = tmp_path / "bomb.yaml"
    recipe.write_text(BOMBS[name])
    with bounded(), pytest.raises(UsageError, match="with its aliases written out") as caught:
        load_recipe(str(recipe))
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: &a [*a]", "&a {x: *a}", "&a {<<: *a}"])
def test_an_alias_of_itself(tmp_path: Path, text: str) -> None:
    recipe = tmp_path / "loop.yaml"
    recipe.write_text(text)
    with pytest.raises(UsageError, match="an alias of something that it stands in"):
        load_recipe(str(recipe))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x" * (safe_yaml.MAX_CHARS + 1), "is longer than"),
        ("[" * 3_000, "is not valid YAML"),
        ("a: " + "9" * 100_000, "is not valid YAML"),
        ("a: !!python/object/apply:os.mkdir [boom]", "is not valid YAML"),
        ("a: !!python/name:os.system", "is not valid YAML"),
        ("timeline: {fps: !!binary aGk=}", "recipe"),
    ],
)
def test_recipes_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(text)
    began = time.perf_counter()
    with pytest.raises(UsageError, match=said) as caught:
        load_recipe("recipe.yaml")
    assert time.perf_counter() - began < 10, "1 s on a quiet machine"
    assert len(str(caught.value)) < 500
    assert not Path("boom").exists()


def test_a_recipe_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    recipe = tmp_path / "huge.yaml"
    with recipe.open("wb") as file:
        file.truncate(1 << 40)
    with bounded(), pytest.raises(UsageError, match="is longer than"):
        load_recipe(str(recipe))


def test_options_of_the_command_line_are_no_way_round() -> None:
    bomb = "{" + levels("[x]", "[{}]").replace("\n", ", ") + "}"
    with bounded(), pytest.raises(UsageError, match="aliases written out"):
        load_recipe(None, overrides=[f"flow.short_side={bomb}"])


def test_aliases_of_people_still_work() -> None:
    document = safe_yaml.load("base: &b {x: 1}\none: {<<: *b, y: 2}\ntwo: [*b, *b]\n")
    assert document == {"base": {"x": 1}, "one": {"x": 1, "y": 2}, "two": [{"x": 1}, {"x": 1}]}


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_line_without_end(tmp_path: Path, command: Callable[..., Any], suffix: str) -> None:
    manifest = tmp_path / f"m.{suffix}"
    with manifest.open("wb") as file:
        file.write(b"prompt\n" if suffix == "csv" else b"")
        file.truncate(1 << 40)
    with bounded():
        said = command("plan", manifest, "-s", tmp_path / "s", "-p", "motion").refused
    assert "is longer than" in said or "field larger than" in said


def test_a_quoted_field_over_many_lines(tmp_path: Path, command: Callable[..., Any]) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text('prompt\n"' + "line\n" * 400_000)
    with bounded():
        assert "field larger than" in command("plan", manifest, "-s", tmp_path / "s", "-p", "motion").refused


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (json.dumps({"prompt": "x" * 100_000}), "prompt is longer than"),
        (json.dumps({"video": "x" * 100_000}), "video is longer than"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"prompt": ' + "9" * 50_000 + "}", "is not valid JSON"),
        ('{"prompt": "p", "start": 1e999}', "start is inf"),
        ('{"video": "reference://x"}', "are not read through"),
        ('{"video": "http://a/b.mp4::zip://x"}', "are not read through"),
    ],
)
def test_rows_that_are_none(tmp_path: Path, line: str, said: str) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(line + "\n")
    with bounded(), pytest.raises(UsageError, match=said) as caught:
        read_inputs([str(manifest)])
    assert len(str(caught.value)) < 500
