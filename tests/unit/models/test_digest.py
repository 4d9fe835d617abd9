"""A digest is of names and contents, and is read once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wanprep.models import digest as module
from wanprep.models.digest import files_digest, known_digest
from wanprep.models.folder import model_files
from wanprep.models.progress import heard_by
from wanprep.models.resolve import digest

Write = Callable[..., Path]


@pytest.fixture
def old_model(tmp_path: Path, write_model: Write) -> Path:
    """A model whose files are older than a moment."""
    return aged(write_model(tmp_path / "model", shards=2))


def aged(folder: Path, seconds: float = 60.0) -> Path:
    when = time.time() - seconds
    for file in folder.rglob("*"):
        os.utime(file, (when, when))
    return folder


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process begins: with what the cache file holds, nothing else."""
    monkeypatch.setattr(module, "_memory", {})


def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any reading of contents fails from here on."""

    def read(paths: object, total: int) -> dict[Path, str]:
        assert not list(paths), "contents were read again"  # type: ignore[call-overload]
        return {}

    monkeypatch.setattr(module, "_read", read)


def test_equal_files_have_equal_digests_wherever_they_lie(tmp_path: Path, write_model: Write) -> None:
    one, two = write_model(tmp_path / "one"), write_model(tmp_path / "deep/two")
    assert digest(str(one)) == digest(str(two))
    assert len(digest(str(one))) == 32
    (two / "config.json").write_text('{"model_type": "nothing" }')
    assert digest(str(one)) != digest(str(two))


def test_content_name_and_place_count(tmp_path: Path, write_model: Write) -> None:
    base = digest(str(write_model(tmp_path / "base")))
    assert digest(str(write_model(tmp_path / "filled", fill=2))) != base
    renamed = write_model(tmp_path / "renamed")
    (renamed / "model.safetensors").rename(renamed / "other.safetensors")
    assert digest(str(renamed)) != base
    nested = write_model(tmp_path / "nested/vae").parent
    assert digest(str(nested)) != base


def test_what_is_no_part_of_a_model(tmp_path: Path, write_model: Write) -> None:
    folder = write_model(tmp_path / "model")
    before = digest(str(folder))
    for name in ("README.md", "LICENSE.txt", ".gitattributes", "teaser.png", "flax_model.msgpack", "code.py"):
        (folder / name).write_text("whatever")
    (folder / ".cache").mkdir()
    (folder / ".cache/config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"the same weights as a pickle")
    assert digest(str(folder)) == before
    (folder / "tokenizer.json").write_text("{}")
    assert digest(str(folder)) != before


def test_weights_that_only_exist_as_pth_count(tmp_path: Path, write_model: Write) -> None:
    folder = write_model(tmp_path / "official")  # Wan's own folders hold both kinds side by side
    before = digest(str(folder))
    (folder / "models_t5_umt5-xxl-enc-bf16.pth").write_bytes(b"weights")
    (folder / "Wan2.1_VAE.pth").write_bytes(b"weights")
    assert digest(str(folder)) != before
    assert "Wan2.1_VAE.pth" in model_files(folder)


def test_contents_are_read_once(old_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert known_digest(old_model) is None
    first = digest(str(old_model))
    unreadable(monkeypatch)
    assert digest(str(old_model)) == first  # from memory
    forget(monkeypatch)
    assert digest(str(old_model)) == first  # from the cache file
    assert known_digest(old_model) == first


def test_another_size_or_time_is_read_again(old_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = digest(str(old_model))
    weights = old_model / "model-00002-of-00002.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"\xff")
    aged(old_model, seconds=30)
    assert digest(str(old_model)) != first
    weights.write_bytes(content)
    forget(monkeypatch)
    assert digest(str(old_model)) == first


def test_a_file_of_this_moment_is_not_believed(tmp_path: Path, write_model: Write) -> None:
    folder = write_model(tmp_path / "model")
    digest(str(folder))
    assert not (tmp_path / "cache/wanprep/digests.json").exists()
    assert known_digest(folder) is None


@pytest.mark.parametrize(
    "damage",
    [
        *("", "{", "[]", "null", '"text"', "[" * 50_000, '{"a": 1}', "\xff"),
        '{"/x": [1, 2]}',
        '{"/x": ["1", 2, "a"]}',
    ],
)
def test_a_damaged_cache_is_ignored_and_mended(
    damage: str, old_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = digest(str(old_model))
    cache = tmp_path / "cache/wanprep/digests.json"
    cache.write_bytes(damage.encode("latin-1"))
    forget(monkeypatch)
    assert digest(str(old_model)) == first
    assert len(json.loads(cache.read_bytes())) == 4


def test_a_lie_in_the_cache_is_no_digest(
    old_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = digest(str(old_model))
    cache = tmp_path / "cache/wanprep/digests.json"
    entries = json.loads(cache.read_bytes())
    cache.write_text(
        json.dumps({path: [size, time, "../" * 10] for path, (size, time, _) in entries.items()})
    )
    forget(monkeypatch)
    assert digest(str(old_model)) == first


def test_a_cache_that_cannot_be_written_costs_time_only(
    old_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = digest(str(old_model))
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    forget(monkeypatch)
    assert digest(str(old_model)) == first


def test_many_processes_keep_each_others_entries(tmp_path: Path, write_model: Write) -> None:
    folders = [aged(write_model(tmp_path / f"model{number}", fill=number)) for number in range(3)]
    code = "import sys; from wanprep.models.resolve import digest; print(digest(sys.argv[1]))"
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
        for folder in folders
    ]
    told = [process.communicate(timeout=60)[0].strip() for process in running]
    assert told == [files_digest(folder) for folder in folders]
    entries = json.loads((tmp_path / "cache/wanprep/digests.json").read_bytes())
    assert len(entries) == 6
    assert [path.name for path in (tmp_path / "cache/wanprep").glob("*.tmp")] == []


def test_large_files_show_how_far_it_is(old_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SHOWN_BYTES", 10)
    told: list[tuple[str, int, int]] = []
    with heard_by(lambda phase, done, total: told.append((phase, done, total))):
        shown = digest(str(old_model))
    assert {phase for phase, _, _ in told} == {"reading models, MB"}
    assert told[-1][1] == told[-1][2]
    assert shown == files_digest(old_model)


def test_bytes_that_cannot_be_read_are_one_line(
    tmp_path: Path, write_model: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wanprep.models.errors import ModelBroken

    folder = write_model(tmp_path / "model")

    def refuse(path: object, *arguments: object, **options: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ModelBroken, match=r"config\.json cannot be read \(Permission denied\)"):
        digest(str(folder))
