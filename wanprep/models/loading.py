"""Loads checkpoints so that a model is either exactly what its files say, or a one-line error."""

from __future__ import annotations

import contextlib
import json
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from wanprep.errors import WanprepError
from wanprep.models.errors import ModelBroken
from wanprep.models.folder import model_files

if TYPE_CHECKING:
    import torch

__all__ = [
    "ModelBroken",
    "check_loading_info",
    "check_safetensors",
    "from_pretrained",
    "load_pth",
    "load_state",
    "strict_load",
]

M = TypeVar("M")

_MAX_HEADER = 100 << 20  # bytes; the limit of the safetensors format itself
_SHOWN = 3  # tensors named in an error


def from_pretrained(model_class: Any, folder: Path, *, ignore: Sequence[str] = (), **options: Any) -> Any:
    """`model_class.from_pretrained(folder)` of transformers or diffusers: from local safetensors files only, and
    with every tensor accounted for.

    Args:
        ignore: patterns (`re.match`) of tensors that the checkpoint may hold beyond the model's own.
        options: passed on, `torch_dtype` or `dtype` for one.

    Raises:
        ModelBroken: a file is missing or damaged, or a tensor is missing, unexpected or misshapen; names it.
    """
    if not (folder / "config.json").is_file():
        # transformers would take the architecture's defaults, and load what fits them.
        raise ModelBroken(f"model {folder}: has no config.json")
    return strict_load(
        lambda: model_class.from_pretrained(
            str(folder),
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are listed, and refused below
            **options,
        ),
        folder,
        ignore=ignore,
    )


def strict_load(
    load: Callable[[], tuple[M, Mapping[str, Any]]], where: Path, *, ignore: Sequence[str] = ()
) -> M:
    """The model that `load` returns with its loading info (`output_loading_info=True`), when nothing is amiss.

    Args:
        load: gives the model and the mapping with `missing_keys`, `unexpected_keys`, `mismatched_keys`.
        where: the folder or file that it loads, for the message and to look for the damage.
        ignore: patterns (`re.match`) of tensors that the checkpoint may hold beyond the model's own.

    Raises:
        ModelBroken: a file is missing or damaged, or a tensor is missing, unexpected or misshapen; names it.
    """
    for name in model_files(where) if where.is_dir() else ():
        if name.endswith(".safetensors"):
            check_safetensors(where / name)
    try:
        with _quiet():
            model, info = load()
    except (WanprepError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's: no fault of the files
            raise
        raise ModelBroken(f"model {where}: cannot be loaded ({_line(error)})") from error
    check_loading_info(info, where, ignore=ignore)
    return model


def check_loading_info(info: Mapping[str, Any], where: Path, *, ignore: Sequence[str] = ()) -> None:
    """Refuses what transformers and diffusers only warn of: tensors made up, left over or of another shape.

    Raises:
        ModelBroken: names the tensors.
    """
    if mismatched := sorted(info.get("mismatched_keys") or (), key=str):
        name, found, wanted = mismatched[0]
        raise ModelBroken(
            f"model {where}: tensor {name} has the shape {_shape(found)}, not {_shape(wanted)}{_more(mismatched)}"
        )
    if missing := sorted(map(str, info.get("missing_keys") or ())):
        raise ModelBroken(f"model {where}: lacks {_names(missing)}")
    unexpected = [
        name
        for name in sorted(map(str, info.get("unexpected_keys") or ()))
        if not any(re.match(pattern, name) for pattern in ignore)
    ]
    if unexpected:
        raise ModelBroken(
            f"model {where}: holds {_names(unexpected)}, which this kind of model does not have"
        )
    if messages := list(info.get("error_msgs") or ()):
        raise ModelBroken(f"model {where}: {' '.join(str(messages[0]).split())[:300]}")


def load_state(module: torch.nn.Module, state: Mapping[str, torch.Tensor], where: Path) -> None:
    """Puts tensors, under the module's own names, into the module; all of them and no others.

    Raises:
        ModelBroken: a tensor is missing, left over or misshapen; names it.
    """
    wanted = module.state_dict()
    check_loading_info(
        {
            "missing_keys": wanted.keys() - state.keys(),
            "unexpected_keys": state.keys() - wanted.keys(),
            "mismatched_keys": [
                (name, tuple(state[name].shape), tuple(tensor.shape))
                for name, tensor in wanted.items()
                if name in state and state[name].shape != tensor.shape
            ],
        },
        where,
    )
    module.load_state_dict(dict(state), strict=True)


def load_pth(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a `.pth` or `.pt` file, on the CPU, mapped from the disk; nothing in it can run.

    Raises:
        ModelBroken: damaged, or holding anything but a mapping of names to tensors.
    """
    import torch

    try:
        mapped = zipfile.is_zipfile(path)  # files of the older format can only be read whole
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (MemoryError, WanprepError):
        raise
    except Exception as error:
        more = "weights_only" in str(error)
        raise ModelBroken(
            f"model {path}: holds more than tensors, objects that could run code; nothing of it was loaded"
            if more
            else f"model {path}: is no file of tensors ({_line(error)})"
        ) from error
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in found.items()
    ):
        raise ModelBroken(f"model {path}: is no mapping of names to tensors")
    return found


def check_safetensors(path: Path) -> None:
    """Compares a safetensors file's header with its size; reads no tensor.

    Raises:
        ModelBroken: not a safetensors file, or cut short; names the tensor where it ends.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else _MAX_HEADER + 1
            header = json.loads(file.read(length)) if 0 < length <= min(_MAX_HEADER, size - 8) else None
    except OSError as error:
        raise ModelBroken(f"model {path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise ModelBroken(f"model {path}: is no safetensors file, or its header is damaged")
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            end = 8 + length + int(entry["data_offsets"][1])
        except (TypeError, KeyError, IndexError, ValueError) as error:
            raise ModelBroken(f"model {path}: the header's entry of tensor {name} is damaged") from error
        if end > size:
            raise ModelBroken(
                f"model {path}: is cut short at {size:,} bytes, tensor {name} ends at {end:,}; fetch it again"
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' own reports on what `check_loading_info` says in one line, and without their bars."""
    import logging
    import sys

    loggers = [logging.getLogger(name) for name in ("transformers", "diffusers")]
    levels = [logger.level for logger in loggers]
    bars = sys.modules.get("transformers.utils.logging")
    showing = bars is not None and bars.is_progress_bar_enabled()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    if bars is not None and showing:
        bars.disable_progress_bar()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars is not None and showing:
            bars.enable_progress_bar()


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _names(names: Sequence[str]) -> str:
    noun = "the tensor " if len(names) == 1 else "the tensors "
    return noun + ", ".join(names[:_SHOWN]) + _more(names, _SHOWN)


def _more(names: Sequence[Any], shown: int = 1) -> str:
    return f" and {len(names) - shown} more" if len(names) > shown else ""


def _shape(shape: Iterable[int]) -> str:
    return str(list(shape))
