"""What works on this machine: packages, stages, engines, disk."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.table import Table

from wanprep import registry
from wanprep.errors import WanprepError
from wanprep.hints import size_text
from wanprep.models.field import model_fields
from wanprep.models.needed import lacking
from wanprep.models.registry import entries
from wanprep.models.resolve import find, missing
from wanprep.stage import Stage
from wanprep.store.store import Store
from wanprep.terminal import shown

_PACKAGES = (
    "av",
    "numpy",
    "pyarrow",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
    "mediapipe",
    "ray",
)
_MODEL_PACKAGES = ("torch", "torchaudio", "transformers", "diffusers", "peft")
_SCRATCH_BYTES = 2 << 30  # free scratch space below which long clips may not fit


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `fix` says what would enable or mend it."""

    what: str
    state: Literal["ok", "off", "broken"]
    detail: str
    fix: str = ""


def examine(store: str | None = None) -> list[Finding]:
    """All findings, in the order they are shown."""
    return [*_machine(), *_packages(), *_plugins(), *_disk(store)]


def _machine() -> Iterator[Finding]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("machine", "ok", f"{cores} cores, {size_text(memory)} memory, {platform.platform()}")
    supported = (3, 11) <= sys.version_info[:2] <= (3, 12)
    yield Finding(
        "python",
        "ok" if supported else "broken",
        platform.python_version(),
        "" if supported else "MediaPipe 0.10.21 has wheels for 3.11 and 3.12 only",
    )
    gpu = _gpu()
    fix = "" if gpu else "model encoders run on the CPU too, many times slower"
    yield Finding("gpu", "ok" if gpu else "off", gpu or "none found", fix)


def _gpu() -> str | None:
    if not (tool := shutil.which("nvidia-smi")):
        return None
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return "; ".join(found.stdout.split("\n")).strip("; ") or None


def _packages() -> Iterator[Finding]:
    for name in _PACKAGES:
        try:
            yield Finding(name, "ok", version(name))
        except PackageNotFoundError:
            if not name.startswith("opencv"):
                yield Finding(name, "broken", "not installed", f"pip install {name}")
    for name in _MODEL_PACKAGES:
        try:
            yield Finding(name, "ok", version(name))
        except PackageNotFoundError:
            yield Finding(
                name,
                "off",
                "not installed",
                "model encoders and generation need it: pip install 'wanprep[models]'",
            )
    runtimes = ("onnxruntime", "onnxruntime-gpu")
    found = [(name, here) for name in runtimes if (here := _version(name)) is not None]
    for name, here in found:
        yield Finding(name, "ok", here)
    if not found:
        yield Finding(
            "onnxruntime", "off", "not installed", "backend vitpose needs it: pip install 'wanprep[onnx]'"
        )
    try:
        import cv2
    except ImportError as error:
        fix = (
            "install the headless build (see docs/install.md), or the system packages libgl1 and libglib2.0-0"
        )
        yield Finding("import cv2", "broken", str(error), fix)
    else:
        detail = "with contrib modules" if hasattr(cv2, "ximgproc") else "without contrib modules"
        state: Literal["ok", "broken"] = "ok" if hasattr(cv2, "ximgproc") else "broken"
        yield Finding(
            "import cv2", state, detail, "" if state == "ok" else "install opencv-contrib-python-headless"
        )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _plugins() -> Iterator[Finding]:
    for name in registry.names(registry.STAGES):
        try:
            stage_class = registry.stage_class(name)
            stage = stage_class(stage_class.Config())
            problem = stage.unavailable()
            # Of a stage that cannot run, a model's digest cannot be told either.
            models = {} if problem else stage.models()
        except (WanprepError, ValueError) as error:
            yield Finding(f"stage {name}", "broken", str(error))
            continue
        backend = getattr(stage.config, "backend", None)
        told = ", ".join(f"{model} {digest}" for model, digest in models.items())
        embedded = f"{backend} (embedded)" if backend and model_fields(stage_class.Config) else backend
        detail = "; ".join(part for part in (embedded or "", told) if part) or "ready"
        yield Finding(f"stage {name}", "off" if problem else "ok", problem or detail)
        yield from _backends(stage_class)
    for name in registry.names(registry.ENGINES):
        try:
            registry.engine(name)
            yield Finding(f"engine {name}", "ok", "ready")
        except WanprepError as error:
            yield Finding(f"engine {name}", "broken", str(error))


def _backends(stage_class: type[Stage[Any]]) -> Iterator[Finding]:
    """The backends of a stage that take a model, besides its default ones; those of a config in its config too."""
    yield from _choices(stage_class, (), stage_class.Config)
    for field, info in stage_class.Config.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _choices(stage_class, (field,), info.annotation)


def _choices(
    stage_class: type[Stage[Any]], path: tuple[str, ...], config: type[BaseModel]
) -> Iterator[Finding]:
    """The backends that the config at `path` of the stage's offers."""
    fields = model_fields(config)
    info = config.model_fields.get("backend")
    if not fields or info is None:
        return
    for backend in get_args(info.annotation):
        if backend == info.default:
            continue
        what = f"stage {stage_class.name}, {backend}"
        settings: dict[str, Any] = {"backend": backend}
        for name in reversed(path):
            settings = {name: settings}
        try:
            stage = stage_class(stage_class.Config.model_validate(settings))
            chosen = stage.config
            for name in path:
                chosen = getattr(chosen, name)
            yield _backend(what, stage, [getattr(chosen, field) for field in fields])
        except ValidationError as error:
            wanted = ".".join(str(part) for part in error.errors()[0]["loc"]) or "settings"
            yield Finding(what, "off", f"needs {wanted}", f"--set {stage_class.name}.{wanted}=...")
        except (WanprepError, ValueError) as error:
            yield Finding(what, "broken", str(error))


def _backend(what: str, stage: Stage[Any], names: list[str]) -> Finding:
    problem = stage.unavailable()
    if problem is None:
        # The digest would be read from gigabytes; where the files lie says enough.
        here = [str(find(name).path) for name in names if missing(name) is None]
        return Finding(what, "ok", f"found at {', '.join(here)}" if here else "ready")
    name = lacking(stage)
    if name is None:
        return Finding(what, "off", problem)
    # The networks of one backend work together only.
    needed = [name, *(other for other in names if other != name and other in entries() and missing(other))]
    sizes = [
        size_text(entry.bytes) if (entry := entries().get(other)) else "of unknown size" for other in needed
    ]
    told = ", ".join(
        f"{other} would be downloaded: {size}" for other, size in zip(needed, sizes, strict=True)
    )
    return Finding(what, "off", told, "; ".join(f"wanprep models fetch {other}" for other in needed))


def _disk(store: str | None) -> Iterator[Finding]:
    scratch = tempfile.gettempdir()
    free = shutil.disk_usage(scratch).free
    low = free < _SCRATCH_BYTES
    fix = "set TMPDIR to a larger disk" if low else ""
    yield Finding("scratch", "broken" if low else "ok", f"{scratch}, {size_text(free)} free", fix)
    if store is None:
        return
    try:
        opened = Store.create(store)
        opened.files.write_bytes(".doctor", b"")
        opened.files.remove(".doctor")
    except (WanprepError, OSError) as error:
        yield Finding("store", "broken", str(error))
        return
    left = opened.files.free_bytes()
    yield Finding(
        "store", "ok", f"{store} can be written" + (f", {size_text(left)} free" if left is not None else "")
    )


def print_findings(console: Console, findings: list[Finding]) -> None:
    """The findings as a table, worst marked."""
    table = Table(box=None, pad_edge=False, show_header=False)
    colours = {"ok": "green", "off": "yellow", "broken": "red"}
    for finding in findings:
        fix = f" [dim]({shown(finding.fix)})[/]" if finding.fix else ""
        table.add_row(
            finding.what, f"[{colours[finding.state]}]{finding.state}[/]", shown(finding.detail) + fix
        )
    console.print(table)
