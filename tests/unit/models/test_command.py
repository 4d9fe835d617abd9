"""`wanprep models list` and `fetch`, as a person and as a script sees them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from wanprep.cli import main
from wanprep.models import registry

Write = Callable[..., Path]


def wanprep(*arguments: str) -> tuple[int, str, str]:
    """Exit code, output, errors."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["wanprep", *arguments])
        try:
            main()
        except SystemExit as end:
            code = end.code
    return code or 0, out.getvalue(), err.getvalue()


def test_the_list_says_what_is_pinned_and_what_is_here(tmp_path: Path, write_model: Write) -> None:
    own = write_model(tmp_path / "mine/wan2.1-vae")
    code, out, err = wanprep("models", "list", "--models", str(tmp_path / "mine"))
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "507.6 MB" in lines["wan2.1-vae"] and str(own) in lines["wan2.1-vae"]
    assert "b8fff7315c76" in lines["umt5-xxl"] and lines["umt5-xxl"].rstrip().endswith("-")
    assert "main, not pinned" in lines["wan2.2-animate-14b"]
    assert set(registry.entries()) <= set(lines)


def test_the_list_as_json(tmp_path: Path, home: Path) -> None:
    entry = registry.entries()["wan2.2-animate-14b"]
    refs = home / "hub" / f"models--{entry.repository.replace('/', '--')}" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("a" * 40)
    _, out, _ = wanprep("models", "list", "--json")
    found = {line["name"]: line for line in json.loads(out)}
    assert found.keys() == registry.entries().keys()
    assert found["umt5-xxl"]["pinned"] is True and found["umt5-xxl"]["path"] is None
    assert found["wan2.2-animate-14b"]["pinned"] is False
    assert found["wan2.2-animate-14b"]["commit"] == "a" * 40
    code, _, err = wanprep("models", "list", "--models", str(tmp_path / "nowhere"))
    assert code == 2 and "there is no such folder" in err


def test_a_fetch_tells_digest_and_place(hub, write_model: Write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = write_model(tmp_path / "published")
    hub.files["owner/other"] = {path.name: path.read_bytes() for path in folder.iterdir()}
    code, out, err = wanprep("models", "fetch", "owner/other")
    name, digest, path = out.split()
    assert (code, name, len(digest)) == (0, "owner/other", 32), err
    assert (Path(path) / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_a_fetch_that_cannot_be_is_one_line(hub, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    for name, words in (
        ("owner/absent", "is not there, or not public"),
        ("umt5", "did you mean 'umt5-xxl'?"),
        ("../elsewhere", "there is no such folder or file"),
    ):
        code, out, err = wanprep("models", "fetch", name)
        assert (code, out) == (2, "") and words in err and err.count("\n") == 1, (name, err)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, _, err = wanprep("models", "fetch", "umt5-xxl")
    assert code == 2 and "text_encoder/config.json is not on this machine" in err
