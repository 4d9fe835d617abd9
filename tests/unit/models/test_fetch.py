"""Downloads from a hub on this machine: whole, once, through trouble, and never more than the list says."""

from __future__ import annotations

import functools
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from wanprep.errors import UsageError, WanprepError
from wanprep.models import fetch as module
from wanprep.models import registry
from wanprep.models.fetch import fetch
from wanprep.models.progress import heard_by
from wanprep.models.resolve import ModelMissing, fetching, missing, resolve

COMMIT = "c0ffee" + "0" * 34
INDEX = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}).encode()
FILES = {
    "text/config.json": b"{}",
    "text/model.safetensors.index.json": INDEX,
    "text/model-1.safetensors": b"one" * 400_000,
    "text/model-2.safetensors": b"two" * 400_000,
    "text/pytorch_model.bin": b"a pickle",
    "README.md": b"for people",
    "assets/teaser.mp4": b"a film",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long, the hub's library neither."""
    sleep = time.sleep
    monkeypatch.setattr(module, "_WAIT_SECONDS", 0.01)
    monkeypatch.setattr("time.sleep", lambda seconds: sleep(min(seconds, 0.01)))


@pytest.fixture
def known(register: Callable[..., registry.ModelEntry]) -> Callable[..., registry.ModelEntry]:
    """Registers a small model, a part of a repository."""
    return functools.partial(
        register,
        name="small",
        repository="owner/pipeline",
        layout="diffusers",
        components={"text_encoder": "text"},
        bytes=2_400_000,
        files=["text/config.json", "text/model.safetensors.index.json"],
    )


@pytest.fixture
def pipeline(hub, known) -> registry.ModelEntry:  # type: ignore[no-untyped-def]
    hub.files["owner/pipeline"] = dict(FILES)
    entry: registry.ModelEntry = known()
    return entry


def taken(hub) -> set[str]:  # type: ignore[no-untyped-def]
    return {file for method, file in hub.requests if method == "GET"}


def test_exactly_the_files_of_the_list_and_their_shards(hub, pipeline, home: Path) -> None:  # type: ignore[no-untyped-def]
    assert missing("small") is not None
    told: list[tuple[str, int, int]] = []
    with heard_by(lambda phase, done, total: told.append((phase, done, total))):
        model = fetch("small")
    assert taken(hub) == {name for name in FILES if name.startswith("text/") and not name.endswith(".bin")}
    assert model.path == home / "hub/models--owner--pipeline/snapshots" / COMMIT
    assert (model.path / "text/model-2.safetensors").read_bytes() == FILES["text/model-2.safetensors"]
    assert missing("small") is None and resolve("small") == model
    assert told[0] == ("fetching small, MB", 0, 2) and told[-1] == ("fetching small, MB", 2, 2)
    before = dict(hub.requests)
    assert fetch("small") == model
    assert dict(hub.requests) == before  # nothing is asked for twice


def test_a_connection_that_breaks_goes_on_where_it_broke(hub, pipeline) -> None:  # type: ignore[no-untyped-def]
    content = hub.files["owner/pipeline"]["text/model-1.safetensors"] = b"large" * 5_000_000
    hub.cut["text/model-1.safetensors"] = 1
    model = fetch("small")
    assert (model.path / "text/model-1.safetensors").read_bytes() == content
    assert hub.ranges == ["text/model-1.safetensors bytes=10485760-"]  # whole blocks of 10 MiB are kept


def test_trouble_that_passes_is_waited_for(hub, pipeline, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    hub.cut["text/model-1.safetensors"] = 3
    hub.busy["text/model-2.safetensors"] = 2
    model = fetch("small")
    assert (model.path / "text/model-1.safetensors").read_bytes() == FILES["text/model-1.safetensors"]
    assert (model.path / "text/model-2.safetensors").read_bytes() == FILES["text/model-2.safetensors"]
    assert hub.requests[("GET", "text/model-2.safetensors")] == 3


def test_a_hub_that_is_down_is_one_line_and_the_rest_is_kept(hub, pipeline) -> None:  # type: ignore[no-untyped-def]
    hub.refuse["text/model-2.safetensors"] = 500
    with pytest.raises(WanprepError) as caught:
        fetch("small")
    text = str(caught.value)
    assert "\n" not in text and "text/model-2.safetensors cannot be fetched from http://127.0.0.1:" in text
    assert "the same command goes on from here" in text
    lack = missing("small")
    assert lack is not None and "text/model-2.safetensors is not on this machine" in lack
    hub.refuse.clear()
    hub.requests.clear()
    fetch("small")
    assert taken(hub) == {"text/model-2.safetensors"}


def test_a_branch_is_taken_at_one_commit_and_remembered(hub, known) -> None:  # type: ignore[no-untyped-def]
    hub.files["owner/pipeline"] = dict(FILES)
    known(revision="main")
    model = fetch("small")
    assert model.path.name == COMMIT
    assert (model.path.parents[1] / "refs/main").read_text() == COMMIT
    hub.commit = "d" * 40  # its owner moves the branch; what is here stays what it was
    assert resolve("small").path == model.path


def test_a_branch_that_was_never_whole_is_not_remembered(hub, known) -> None:  # type: ignore[no-untyped-def]
    hub.files["owner/pipeline"] = dict(FILES)
    known(revision="main")
    hub.refuse["text/model-2.safetensors"] = 403
    with pytest.raises(WanprepError):
        fetch("small")
    assert missing("small") is not None


def test_a_hub_id_takes_what_can_be_a_model_and_no_pickle(hub, known) -> None:  # type: ignore[no-untyped-def]
    known()
    hub.files["owner/other"] = {
        **{name.removeprefix("text/"): content for name, content in FILES.items()},
        "tokenizer.json": b"{}",
        "modeling_other.py": b"raise SystemExit",
    }
    hub.listed = ["../../escape.json", "/etc/escape.json", ".hidden.json"]
    model = fetch("owner/other")
    files = sorted(path.name for path in model.path.rglob("*") if path.is_file())
    assert files == [
        *("config.json", "model-1.safetensors", "model-2.safetensors"),
        *("model.safetensors.index.json", "tokenizer.json"),
    ]


@pytest.mark.parametrize(
    ("files", "more", "words"),
    [
        (None, {}, "owner/pipeline at revision c0ffee000000 is not there, or not public"),
        ({"text/config.json": b"{}"}, {}, "has no text/model.safetensors.index.json"),
        (FILES, {"revision": "e" * 40}, "at revision eeeeeeeeeeee is not there"),
    ],
)
def test_what_the_hub_does_not_have(hub, known, files, more, words) -> None:  # type: ignore[no-untyped-def]
    if files is not None:
        hub.files["owner/pipeline"] = dict(files)
    known(**more)
    with pytest.raises(ModelMissing, match=words):
        fetch("small")


def test_an_optional_file_may_be_absent(hub, known) -> None:  # type: ignore[no-untyped-def]
    hub.files["owner/pipeline"] = {**FILES, "text/vocab.json": b"{}"}
    known(optional=["text/vocab.json", "text/merges.txt"])
    model = fetch("small")
    assert model.files is not None and "text/vocab.json" in model.files
    assert "text/merges.txt" not in model.files


def test_an_index_that_names_a_file_elsewhere_ends_the_fetch(hub, pipeline, home: Path) -> None:  # type: ignore[no-untyped-def]
    index = json.dumps({"weight_map": {"a": "../../../../../escape.safetensors"}}).encode()
    hub.files["owner/pipeline"]["text/model.safetensors.index.json"] = index
    with pytest.raises(WanprepError, match="names a file elsewhere"):
        fetch("small")
    assert not list(home.rglob("escape*"))


def test_offline_says_what_is_missing(known, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    known()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        UsageError, match=r"text/config\.json is not on this .*while HF_HUB_OFFLINE .* is set"
    ):
        fetch("small")


def test_too_little_disk_is_said_before(hub, known) -> None:  # type: ignore[no-untyped-def]
    known(bytes=10**18)
    with pytest.raises(UsageError, match=r"needs 1000000\.0 TB, .* are free at .*; set HF_HOME"):
        fetch("small")
    assert not hub.requests


def test_what_is_here_needs_no_space_again(hub, known, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    hub.files["owner/pipeline"] = dict(FILES)
    known()
    hub.refuse["text/model-2.safetensors"] = 404
    with pytest.raises(WanprepError):
        fetch("small")
    hub.refuse.clear()
    usage = type("usage", (), {"free": 1_300_000})  # one of the two shards
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage)
    told: list[tuple[str, int, int]] = []
    with heard_by(lambda phase, done, total: told.append((phase, done, total))):
        fetch("small")
    assert told[0] == ("fetching small, MB", 1, 2)


def test_a_part_of_a_repository_is_not_taken_for_the_whole(hub, known) -> None:  # type: ignore[no-untyped-def]
    known()
    hub.files["owner/other"] = {"config.json": b"{}", "model.safetensors": b"weights", "vocab.txt": b"words"}
    hub.refuse["vocab.txt"] = 403
    name = f"owner/other@{COMMIT}"
    with pytest.raises(WanprepError):
        fetch(name)
    lack = missing(name)
    assert lack is not None and "its snapshot was not fetched to its end" in lack
    hub.refuse.clear()
    assert (fetch(name).path / "vocab.txt").read_bytes() == b"words"
    assert missing(name) is None


def test_what_is_no_name_is_not_fetched() -> None:
    for name in ("nothing-known", "../x/y", "a/b/c"):
        with pytest.raises((UsageError, ModelMissing)):
            fetch(name)


def test_one_process_fetches_and_the_others_wait(hub, pipeline, home: Path) -> None:  # type: ignore[no-untyped-def]
    models: list[Path] = []
    threads = [threading.Thread(target=lambda: models.append(fetch("small").path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(models) == 4 and len(set(models)) == 1
    assert max(hub.requests.values()) == 1, "a file was asked for twice"


def test_bytes_through_xet_are_counted_once() -> None:
    """The hub's other protocol tells of bytes twice: off the network, and when they are written."""
    reporting = pytest.importorskip("huggingface_hub.utils._xet_progress_reporting")
    download = module._Download("small", "owner/pipeline", COMMIT, None)
    with reporting.XetDownloadProgressReporter(
        reconstruction_desc="file", total=900, log_level=30, tqdm_class=module._bar_of(download)
    ) as bar:
        for done in (300, 900):
            numbers = {
                "total_bytes_completed": done,
                "total_transfer_bytes_completed": done // 2,
                "total_bytes": 900,
            }
            rates = {"total_bytes_completion_rate": 1.0, "total_transfer_bytes_completion_rate": None}
            bar.update_progress(SimpleNamespace(**numbers, **rates))
    assert download._done == 900


def test_a_worker_fetches_what_its_machine_lacks(hub, pipeline) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ModelMissing):
        resolve("small")
    assert not hub.requests, "resolve alone went to the network"
    with fetching():
        model = resolve("small")
        with pytest.raises(ModelMissing):
            resolve("/no/such/folder")
    assert (model.path / "text/model-1.safetensors").is_file()


def test_a_killed_fetch_keeps_what_was_finished(hub, home: Path) -> None:  # type: ignore[no-untyped-def]
    hub.files["owner/other"] = {"a.json": b"{}", "model.safetensors": b"weights" * 1000}
    hub.cut["model.safetensors"] = 1_000
    code = "from wanprep.models.fetch import fetch; fetch('owner/other')"
    running = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ), stderr=subprocess.DEVNULL)
    while not hub.requests[("GET", "model.safetensors")]:
        assert running.poll() is None
    running.kill()
    running.wait(30)
    hub.cut.clear()
    hub.requests.clear()
    model = fetch("owner/other")  # its lock went with it
    assert taken(hub) - {"list"} == {"model.safetensors"}
    assert (model.path / "model.safetensors").read_bytes() == b"weights" * 1000


def test_the_hub_s_library_is_quiet_while_it_tries_again() -> None:
    """Bug: its import, which came later, set the level back, and every retry was a line on the terminal."""
    code = (
        "import logging; from wanprep.models.fetch import _Download\n"
        "class Quiet(_Download):\n"
        "    def _run(self): print(logging.getLogger('huggingface_hub').getEffectiveLevel())\n"
        "Quiet('x', 'a/b', 'main', None).run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) >= logging.ERROR
