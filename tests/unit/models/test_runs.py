"""Models in runs: fetched before anything is planned, taken from --models, the same in every worker."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pyarrow as pa
import pytest
from pydantic import BaseModel, ConfigDict, Field

import wanprep
from schemas import Record
from wanprep import doctor
from wanprep.engine.operator import Operator
from wanprep.engine.planned import check_models
from wanprep.errors import UsageError, WanprepError
from wanprep.key import canonical_json, config_fields
from wanprep.models.device import Device
from wanprep.models.errors import ModelBroken
from wanprep.models.field import model_field, model_fields
from wanprep.models.resolve import digest, missing, resolve
from wanprep.recipe import Recipe, load_recipe
from wanprep.stage import ClipContext, Media, Resources, Stage, StageConfig
from wanprep.store.store import Store

Write = Callable[..., Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class WordRecord(Record):
    SCHEMA: ClassVar[pa.Schema] = pa.schema([pa.field("text", pa.string(), nullable=False)])

    text: str


class Depth(BaseModel):
    model_config = ConfigDict(frozen=True)
    teacher: str = model_field("test-small", "Another model.")


class EncodeConfig(StageConfig):
    backend: Literal["embedded", "real", "server"] = "embedded"
    model: str = model_field("test-small", "The encoder.")
    device: Device = Field(default="auto", json_schema_extra={"key": False})
    server: str | None = None
    deep: Depth = Depth()


class Encode(Stage[EncodeConfig]):
    """Embedded, or with a model whose files it reads."""

    name = "test_encode"
    record = WordRecord
    Config = EncodeConfig
    reads = frozenset({Media.PROMPT})

    def models(self) -> Mapping[str, str]:
        return {"encoder": digest(self.config.model)} if self.config.backend == "real" else {}

    def unavailable(self) -> str | None:
        return missing(self.config.model) if self.config.backend == "real" else None

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        return Resources(gpus=1.0 if self.config.device == "cuda" else 0.0)

    def setup(self) -> None:
        if self.config.backend == "real":
            self.weights = (resolve(self.config.model).path / "model.safetensors").read_bytes()

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> Record:
        return WordRecord(text=f"{self.config.backend} {context.clip.prompt}")


@pytest.fixture(autouse=True)
def known(add_stages: Callable[..., None], register: Callable[..., object]) -> None:
    add_stages(Encode)
    register(
        name="test-small",
        repository="owner/small",
        layout="transformers",
        components={},
        bytes=1_500_000,
        files=["config.json", "model.safetensors"],
    )


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    from helpers.media import write_video

    write_video(tmp_path / "in/one.mp4", 4)
    return tmp_path / "in"


def recipe(**settings: object) -> dict[str, object]:
    return {"stages": {"test_encode": settings}}


def config_of(loaded: Recipe) -> EncodeConfig:
    config = loaded.stages[0].config
    assert isinstance(config, EncodeConfig)
    return config


def test_the_field_is_a_name_and_no_part_of_the_key() -> None:
    assert model_fields(EncodeConfig) == ["model"]
    assert config_fields(EncodeConfig(model="a")) == config_fields(EncodeConfig(model="b"))
    assert "model" not in config_fields(EncodeConfig())
    description = EncodeConfig.model_json_schema()["properties"]["model"]["description"]
    assert description.startswith("The encoder. A name of `wanprep models list`")
    with pytest.raises(ValueError, match="at least 1 character"):
        EncodeConfig(model="")


def test_a_folder_of_models_replaces_names(tmp_path: Path, write_model: Write) -> None:
    own = write_model(tmp_path / "mine/test-small")
    loaded = load_recipe(recipe(), models=tmp_path / "mine")
    assert config_of(loaded).model == config_of(loaded).deep.teacher == str(own)
    assert config_of(loaded.with_models(tmp_path / "mine")) == config_of(loaded)
    # Names that are not there stay, and a path of the user's own wins.
    write_model(tmp_path / "other")
    assert config_of(load_recipe(recipe(), models=tmp_path)).model == "test-small"
    chosen = load_recipe(recipe(model=str(tmp_path / "other")), models=tmp_path / "mine")
    assert config_of(chosen).model == str(tmp_path / "other")
    assert config_of(load_recipe(recipe(model="../other"), models=tmp_path / "mine")).model == "../other"


def test_paths_become_absolute_for_workers(
    tmp_path: Path, write_model: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path / "mine/test-small")
    write_model(tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    assert config_of(load_recipe(recipe(model="here"))).model == str(tmp_path / "here")
    assert config_of(load_recipe(recipe(), models="mine")).model == str(tmp_path / "mine/test-small")
    monkeypatch.setenv("WANPREP_MODELS", "mine")
    assert config_of(load_recipe(recipe())).model == str(tmp_path / "mine/test-small")


def test_a_folder_of_models_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--models /no/where: there is no such folder"):
        load_recipe(recipe(), models="/no/where")
    monkeypatch.setenv("WANPREP_MODELS", "/no/where")
    with pytest.raises(UsageError, match="WANPREP_MODELS /no/where: there is no such folder"):
        load_recipe(recipe())


def test_where_a_model_lies_is_not_in_the_key_but_what_it_is(tmp_path: Path, write_model: Write) -> None:
    one, two = write_model(tmp_path / "one"), write_model(tmp_path / "two")
    other = write_model(tmp_path / "other", fill=9)
    digests = [load_recipe(recipe(backend="real", model=str(path))).digest for path in (one, two, other)]
    assert digests[0] == digests[1] != digests[2]


def test_a_run_fetches_what_it_lacks_and_the_second_does_nothing(
    hub, videos: Path, tmp_path: Path, write_model: Write
) -> None:  # type: ignore[no-untyped-def]
    folder = write_model(tmp_path / "published")
    hub.files["owner/small"] = {path.name: path.read_bytes() for path in folder.iterdir()}
    for expected in (1, 0):
        summary = wanprep.run(
            videos, store=tmp_path / "store", recipe=recipe(backend="real"), engine="inline"
        )
        assert summary.clips_to_do == expected and not summary.failed
    assert {file for _, file in hub.requests} == {"config.json", "model.safetensors"}


def test_a_worker_on_another_machine_fetches_for_itself(
    hub, videos: Path, tmp_path: Path, home: Path, write_model: Write, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    folder = write_model(tmp_path / "published")
    hub.files["owner/small"] = {path.name: path.read_bytes() for path in folder.iterdir()}
    set_up = Operator.set_up

    def elsewhere(operator: Operator) -> None:
        shutil.rmtree(home / "hub")
        hub.requests.clear()
        set_up(operator)

    monkeypatch.setattr(Operator, "set_up", elsewhere)
    summary = wanprep.run(videos, store=tmp_path / "store", recipe=recipe(backend="real"), engine="inline")
    assert summary.stages["test_encode"].done == 1
    assert hub.requests[("GET", "model.safetensors")] == 1


def test_an_embedded_backend_fetches_nothing(hub, videos: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    summary = wanprep.run(videos, store=tmp_path / "store", recipe=recipe(), engine="inline")
    assert summary.stages["test_encode"].done == 1 and not hub.requests


def test_with_a_folder_of_models_nothing_is_fetched(
    hub, videos: Path, tmp_path: Path, write_model: Write
) -> None:  # type: ignore[no-untyped-def]
    write_model(tmp_path / "mine/another")
    with pytest.raises(
        UsageError, match=r"stages\.test_encode: --models .*/mine has no folder 'test-small', and"
    ):
        wanprep.run(
            videos,
            store=tmp_path / "store",
            recipe=recipe(backend="real"),
            models=tmp_path / "mine",
            engine="inline",
        )
    assert not hub.requests and not (tmp_path / "store").exists()
    write_model(tmp_path / "mine/test-small")
    summary = wanprep.run(
        videos,
        store=tmp_path / "store",
        recipe=recipe(backend="real"),
        models=tmp_path / "mine",
        engine="inline",
    )
    assert summary.stages["test_encode"].done == 1


def test_a_plan_fetches_nothing_and_says_what_would(hub, videos: Path) -> None:  # type: ignore[no-untyped-def]
    from wanprep.prepare import check_available

    with pytest.raises(
        UsageError, match=r"config\.json is not on this machine.*`wanprep models fetch test-small`"
    ):
        check_available(load_recipe(recipe(backend="real")))
    assert not hub.requests


def test_another_model_in_a_worker_fails_its_clips(
    videos: Path, tmp_path: Path, write_model: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines whose files differ must not make artifacts under one key."""
    own = write_model(tmp_path / "mine/test-small")
    setup = Encode.setup

    def swapped(stage: Encode) -> None:
        write_model(own, fill=9)
        setup(stage)

    monkeypatch.setattr(Encode, "setup", swapped)
    summary = wanprep.run(
        videos,
        store=tmp_path / "store",
        recipe=recipe(backend="real"),
        models=tmp_path / "mine",
        engine="inline",
    )
    (failure,) = summary.failures
    assert failure.cause.startswith("cannot be set up: model encoder on ")
    assert "give all machines the same files" in failure.cause
    assert next(Store.open(str(tmp_path / "store")).clips()).get("test_encode") is None


def test_the_check_of_a_worker(tmp_path: Path, write_model: Write) -> None:
    own = write_model(tmp_path / "model")
    stage = Encode(EncodeConfig(backend="real", model=str(own)))
    check_models(stage, {})
    check_models(stage, {"wanprep.spec": canonical_json({"models": {"encoder": digest(str(own))}})})
    with pytest.raises(ModelBroken, match="the run was planned with 123"):
        check_models(stage, {"wanprep.spec": canonical_json({"models": {"encoder": "123"}})})


def test_a_gpu_that_is_asked_for_and_not_there_ends_the_run(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(wanted: str) -> None:
        raise UsageError("device=cuda: torch finds no GPU")

    monkeypatch.setattr("wanprep.runner.torch_device", none)
    with pytest.raises(UsageError, match=r"stages\.test_encode: device=cuda: torch finds no GPU"):
        wanprep.run(videos, store=tmp_path / "store", recipe=recipe(device="cuda"), engine="inline")


def findings(prefix: str) -> dict[str, doctor.Finding]:
    return {found.what: found for found in doctor.examine() if found.what.startswith(prefix)}


def test_the_doctor_tells_each_backends_state(
    tmp_path: Path, write_model: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = findings("stage test_encode")
    assert found["stage test_encode"].detail == "embedded (embedded)"
    real = found["stage test_encode, real"]
    assert (real.state, real.detail) == ("off", "test-small would be downloaded: 1.5 MB")
    assert real.fix == "wanprep models fetch test-small"
    assert found["stage test_encode, server"].detail == "ready"
    own = write_model(tmp_path / "mine/test-small")
    monkeypatch.setenv("WANPREP_MODELS", str(tmp_path / "mine"))
    real = findings("stage test_encode")["stage test_encode, real"]
    assert (real.state, real.detail) == ("ok", f"found at {own}")
    monkeypatch.setattr(Encode, "unavailable", lambda stage: "needs torch: pip install 'wanprep[models]'")
    real = findings("stage test_encode")["stage test_encode, real"]
    assert (real.state, real.detail) == ("off", "needs torch: pip install 'wanprep[models]'")


def test_the_command_line_loads_no_model_library() -> None:
    code = (
        "import sys, time; start = time.perf_counter()\n"
        "from wanprep.cli import main\n"
        "sys.argv = ['wanprep', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'diffusers', 'huggingface_hub', 'ray', 'pyarrow', 'numpy', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "[]"
    assert "models" in done.stdout


def test_planning_loads_no_model_library(videos: Path) -> None:
    code = (
        "import sys\nfrom wanprep.cli import main\n"
        f"sys.argv = ['wanprep', 'plan', {str(videos)!r}, '--store', 'none', '--only', 'flow']\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code)\n"
        "print(sorted({'torch', 'transformers', 'diffusers', 'huggingface_hub'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_a_broken_download_is_no_traceback(hub, videos: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(WanprepError, match="is not there, or not public"):
        wanprep.run(videos, store=tmp_path / "store", recipe=recipe(backend="real"), engine="inline")
