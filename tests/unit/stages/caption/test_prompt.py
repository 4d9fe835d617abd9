"""Prompt templates: ours and the user's, and what of them is in the key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from stages.caption import Caption, CaptionConfig
from stages.caption.prompt import PromptTemplate, built_in
from wanprep.errors import UsageError
from wanprep.key import canonical_json, stage_spec
from wanprep.recipe import load_recipe


def config(**fields: Any) -> CaptionConfig:
    return CaptionConfig.model_validate(fields)


def spec(**fields: Any) -> str:
    return canonical_json(stage_spec(Caption(config(**fields))))


def refusal(template: Any) -> str:
    with pytest.raises(UsageError) as caught:
        load_recipe({"stages": {"caption": {"template": template}}})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_ours_ask_for_what_a_caption_is_to_hold() -> None:
    assert built_in() == ("animate", "s2v")
    for name in built_in():
        text = PromptTemplate.model_validate(name).ask("en", "video")
        assert "{" not in text and "English" in text and "video clip" in text
        for word in ("camera", "hair", "light", "No feelings", "no judgements"):
            assert word in text
    assert "still picture" in PromptTemplate.model_validate("s2v").ask("zh", "reference")
    assert "Chinese" in PromptTemplate.model_validate("s2v").ask("zh", "reference")


def test_own_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text('\ufeff Describe {it} as {"json": 1}.\n')
    template = config(template=str(path)).template
    assert template.name == str(path)
    assert template.ask("zh", "video") == 'Describe {it} as {"json": 1}.\n\nWrite in Chinese.'


def test_text_in_the_recipe() -> None:
    template = config(template={"text": " Say it in {language}. "}).template
    assert (template.name, template.ask("en", "video")) == ("inline", "Say it in English.")


def test_text_is_what_counts(tmp_path: Path) -> None:
    one, other = tmp_path / "one.txt", tmp_path / "other.md"
    one.write_text("Describe.")
    other.write_text("Describe.\n")
    assert spec(template=str(one)) == spec(template=str(other)) == spec(template={"text": "Describe."})
    assert spec() == spec(template="s2v") != spec(template="animate")
    before = spec(template=str(one))
    one.write_text("Describe the hands.")
    assert spec(template=str(one)) != before


def test_lying_digest_is_not_believed() -> None:
    honest = config(template={"text": "Describe."}).template.digest
    assert config(template={"text": "Describe.", "digest": "0" * 32}).template.digest == honest


def test_workers_need_no_file(tmp_path: Path) -> None:
    """A worker on another machine looked for the template there."""
    path = tmp_path / "mine.txt"
    path.write_text("Describe.")
    made = config(template=str(path))
    path.unlink()
    assert CaptionConfig.model_validate(made.model_dump(mode="json")) == made


def test_bad_templates_are_one_line(tmp_path: Path) -> None:
    def file(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    assert "did you mean 'animate'?" in refusal("animat")
    assert "there is no such template file" in refusal(str(tmp_path / "none.txt"))
    assert "the template is empty" in refusal(file("a.txt", b" \n"))
    assert "no utf-8 text" in refusal(file("b.txt", b"\xff\xfe"))
    assert "may have 32,768" in refusal(file("c.txt", b"x" * 40_000))
    assert "nul characters" in refusal(file("d.txt", b"a\0b"))
    assert "stages.caption.template" in refusal(5)
    assert "the template is empty" in refusal({"text": ""})


@pytest.mark.parametrize("path", ["/etc/passwd", "/dev/zero", "~/.ssh/id_rsa", "../../secret"])
def test_paths_that_are_no_texts_are_not_read(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe from a stranger must not be able to send this machine's files to a server."""
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read"))
    assert "no template has this name" in refusal(path)


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    assert "no regular file" in refusal(str(tmp_path / "pipe.txt"))
