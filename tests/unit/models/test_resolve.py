"""A model's name or path becomes files here, or one line that says what is missing and where it was looked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wanprep.errors import UsageError
from wanprep.models import registry
from wanprep.models.resolve import LocalModel, ModelMissing, digest, find, local_folder, missing, resolve

Write = Callable[..., Path]


def refusal(name: str) -> str:
    with pytest.raises(ModelMissing) as caught:
        resolve(name)
    text = str(caught.value)
    assert "\n" not in text and missing(name) == text
    return text


def snapshot(home: Path, repository: str, revision: str) -> Path:
    return home / "hub" / f"models--{repository.replace('/', '--')}" / "snapshots" / revision


def fill(folder: Path, name: str) -> Path:
    """All files of a registered model, its index naming one shard."""
    entry = registry.entries()[name]
    for file in entry.files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        if file.endswith(".index.json"):
            path.write_text('{"weight_map": {"a": "one.safetensors"}}')
            path.with_name("one.safetensors").write_bytes(b"weights")
    return folder


def test_a_folder_and_a_file(tmp_path: Path, write_model: Write) -> None:
    folder = write_model(tmp_path / "model", shards=2)
    assert resolve(str(folder)) == LocalModel(str(folder), folder)
    assert missing(str(folder)) is None
    weights = folder / "model-00001-of-00002.safetensors"
    assert resolve(str(weights)).path == weights
    assert digest(str(weights)) == LocalModel("any", weights).digest() != digest(str(folder))


def test_a_relative_path_becomes_an_absolute_one(
    tmp_path: Path, write_model: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path / "mine" / "model")
    monkeypatch.chdir(tmp_path)
    assert resolve("mine/model").path == tmp_path / "mine/model"  # though it reads like a hub id


def test_what_lacks_is_named(tmp_path: Path, write_model: Write) -> None:
    folder = write_model(tmp_path / "model", shards=3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    assert "model-00002-of-00003.safetensors is missing (model.safetensors.index.json names it)" in refusal(
        str(folder)
    )
    (tmp_path / "empty").mkdir()
    assert "holds no files of a model" in refusal(str(tmp_path / "empty"))
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.json").write_text("{}")
    assert "holds no weights" in refusal(str(tmp_path / "config"))
    assert "there is no such folder or file" in refusal(str(tmp_path / "nowhere"))
    assert "there is no such folder or file" in refusal("~nobody-of-this-name/model")
    (tmp_path / "notes.txt").write_text("not weights")
    assert "is no file of weights" in refusal(str(tmp_path / "notes.txt"))


def test_an_index_names_no_file_elsewhere(tmp_path: Path, write_model: Write) -> None:
    folder = write_model(tmp_path / "model", shards=1)
    write_model(tmp_path / "other")
    index = folder / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "../other/model.safetensors"}}')
    assert "names a file elsewhere: '../other/model.safetensors'" in refusal(str(folder))
    for text in ("{", "[]", '{"weight_map": [1]}', "[" * 100_000):
        index.write_text(text)
        assert "is no index of weights" in refusal(str(folder))


def test_a_registered_model_from_the_hub_cache_at_its_revision(home: Path) -> None:
    entry = registry.entries()["umt5-xxl"]
    cached = fill(snapshot(home, entry.repository, entry.revision), "umt5-xxl")
    (cached / "transformer").mkdir()
    (cached / "transformer/huge.safetensors").write_bytes(b"another model of the same repository")
    model = resolve("umt5-xxl")
    assert model.path == cached
    assert model.files is not None and "text_encoder/one.safetensors" in model.files
    assert not any("huge" in file for file in model.files)
    assert model.component("text_encoder") == cached / "text_encoder"
    before = model.digest()
    (cached / "transformer/huge.safetensors").write_bytes(b"changed")
    assert resolve("umt5-xxl").digest() == before


def test_another_revision_in_the_cache_is_another_model(home: Path) -> None:
    entry = registry.entries()["umt5-xxl"]
    fill(snapshot(home, entry.repository, "1" * 40), "umt5-xxl")
    assert "text_encoder/config.json is not on this machine" in refusal("umt5-xxl")


def test_the_error_names_the_file_the_places_and_the_cure(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = registry.entries()["umt5-xxl"]
    cached = fill(snapshot(home, entry.repository, entry.revision), "umt5-xxl")
    (cached / "text_encoder/one.safetensors").unlink()
    monkeypatch.setenv("WANPREP_MODELS", str(home / "mine"))
    text = refusal("umt5-xxl")
    assert "text_encoder/one.safetensors is not on this machine" in text
    assert f"looked in {home}/mine/umt5-xxl and the Hugging Face cache ({home}/hub/models--Wan-AI--" in text
    assert f"revision {entry.revision[:12]}" in text
    assert "`wanprep models fetch umt5-xxl` brings it (11.4 GB)" in text


def test_the_users_folder_comes_first(
    home: Path, write_model: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = registry.entries()["wan2.1-vae"]
    fill(snapshot(home, entry.repository, entry.revision), "wan2.1-vae")
    own = write_model(home / "mine/wan2.1-vae")
    monkeypatch.setenv("WANPREP_MODELS", str(home / "mine"))
    assert resolve("wan2.1-vae").path == own
    assert resolve("wan2.1-vae").component("vae") == own  # one folder holds it all
    (own / "model.safetensors").unlink()
    # Not silently another one.
    assert f"the folder {own} holds no weights" in refusal("wan2.1-vae")


def test_a_hub_id(home: Path, write_model: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "model 'google/umt5-xxl' is not on this machine; looked in ./google/umt5-xxl" in refusal(
        "google/umt5-xxl"
    )
    repository = home / "hub/models--google--umt5-xxl"
    folder = write_model(repository / "snapshots" / ("a" * 40))
    assert missing("google/umt5-xxl") is not None  # which of its snapshots is `main` is not known
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("a" * 40)
    assert resolve("google/umt5-xxl").path == folder
    assert resolve(f"google/umt5-xxl@{'a' * 40}").path == folder
    assert missing(f"google/umt5-xxl@{'b' * 40}") is not None
    (repository / "refs/main").write_text("../../../etc")
    assert missing("google/umt5-xxl") is not None
    monkeypatch.setenv("WANPREP_MODELS", str(home / "mine"))
    own = write_model(home / "mine/google/umt5-xxl")
    assert resolve("google/umt5-xxl").path == own
    # A name of the user's own, too.
    own = write_model(home / "mine/fine-tuned")
    assert resolve("fine-tuned").path == own


@pytest.mark.parametrize(
    "name",
    [
        "",
        "\0",
        "a/../b",
        "../../etc",
        "..",
        "owner/..",
        "../name",
        "owner/na..me",
        "owner/name@../main",
        "a/b/c",
        "owner--x/name",
        "owner/name@",
        "owner\\name",
        "umt5",
        "x" * 300 + "/y",
        "owner/name@refs/pr/1",
    ],
)
def test_names_from_data_become_no_paths(
    name: str, home: Path, write_model: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = home / "deep/er/models"
    models.mkdir(parents=True)
    for place in (home / "etc", home / "b", home / "deep/er/name", home / "deep/name"):
        write_model(place)
    monkeypatch.setenv("WANPREP_MODELS", str(models))
    monkeypatch.chdir(models)
    if name not in ("..", "../../etc", "../name"):  # paths that the user wrote as such, and that are there
        refusal(name)
    assert local_folder(models, name) is None


def test_a_name_close_to_a_known_one() -> None:
    assert "did you mean 'umt5-xxl'?" in refusal("umt5xxl")
    assert "did you mean" not in refusal("something-else-entirely")


def test_errors_are_usage_errors() -> None:
    assert issubclass(ModelMissing, UsageError)


def test_parts_of_a_folder_of_many(tmp_path: Path, write_model: Write) -> None:
    whole = tmp_path / "pipeline"
    for name in ("text_encoder", "vae"):
        write_model(whole / name)
    one = resolve(str(whole), parts=("text_encoder", "tokenizer"))
    before = one.digest()
    (whole / "vae/model.safetensors").write_bytes(b"another")
    assert one.digest() == before != find(str(whole)).digest()
    (whole / "text_encoder/model.safetensors").write_bytes(b"another")
    assert one.digest() != before
    # A folder without any of them is one model.
    assert resolve(str(whole / "vae"), parts=("text_encoder",)).digest() == digest(str(whole / "vae"))
