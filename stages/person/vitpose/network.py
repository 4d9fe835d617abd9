"""One ONNX network: loaded on the device that was asked for, and run on many pictures at a time."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wanprep.errors import UsageError
from wanprep.models.device import Device
from wanprep.models.errors import ModelBroken, ModelMissing, ModelOutOfMemory
from wanprep.models.resolve import LocalModel

Floats = npt.NDArray[np.float32]

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_SUFFIX = ".onnx"
_NO_MEMORY = ("failed to allocate", "out of memory")  # in onnxruntime's messages

_log = logging.getLogger("wanprep.stages.person")


class Network:
    """A network of one input of pictures and one output that counts.

    Args:
        model: an .onnx file, or a folder with one; tensors that it keeps in other files lie beside it.
        device: cuda never falls back; auto takes the GPU where this onnxruntime has one, and logs when it has not.
        input_shape: channels, height, width of a picture.
        output_shape: of what comes back for each; a number, or None for any.
        batch: most pictures at a time; a network made for a fixed number takes that.

    Raises:
        UsageError: cuda was asked for and this onnxruntime cannot use one.
        ModelMissing, ModelBroken: no such file; it does not load, or takes or gives something else.
    """

    def __init__(
        self,
        model: LocalModel,
        device: Device,
        input_shape: tuple[int, ...],
        output_shape: tuple[int | None, ...],
        batch: int,
    ) -> None:
        self._name = model.name
        self._path = onnx_file(model)
        self._output_shape = output_shape
        self._session = _session(self._name, self._path, device)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        given = list(inputs[0].shape) if inputs else []
        if (
            len(inputs) != 1
            or inputs[0].type != "tensor(float)"
            or not _fits(given[1:], input_shape)
            or not outputs
        ):
            raise ModelBroken(
                f"model '{self._name}': {self._path} takes {[item.type for item in inputs]} {given}, not one input of "
                f"float pictures {list(input_shape)}"
            )
        self._input = inputs[0].name
        self._output = outputs[0].name
        fixed = given[0] if isinstance(given[0], int) and given[0] > 0 else None
        self._batch = fixed or batch
        self._fixed = fixed is not None

    @property
    def device(self) -> str:
        """Where it runs: cuda or cpu."""
        return "cuda" if self._session.get_providers()[0] == _CUDA else "cpu"

    def run(self, pictures_BCHW: Floats) -> Floats:
        """The output for each picture, float32 [B, ...]; values that are not finite are 0.

        When the GPU's memory is short, halves the batch and keeps to that.

        Raises:
            ModelOutOfMemory: one picture is too much.
            ModelBroken: the network fails on a picture, or gives another shape.
        """
        results: list[Floats] = []
        start = 0
        while start < len(pictures_BCHW):
            part_BCHW = pictures_BCHW[start : start + self._batch]
            try:
                results.append(self._run(part_BCHW))
            except MemoryError as error:
                if self._fixed or self._batch == 1:
                    raise ModelOutOfMemory(
                        f"model '{self._name}': out of memory even with a batch of {self._batch}: {error}"
                    ) from error
                self._batch //= 2
                continue
            start += len(part_BCHW)
        return (
            np.concatenate(results)
            if results
            else np.zeros((0, *(size or 0 for size in self._output_shape)), np.float32)
        )

    def _run(self, part_BCHW: Floats) -> Floats:
        count = len(part_BCHW)
        if self._fixed and count < self._batch:
            padding = np.zeros((self._batch - count, *part_BCHW.shape[1:]), np.float32)
            part_BCHW = np.concatenate([part_BCHW, padding])
        try:
            (given,) = self._session.run([self._output], {self._input: part_BCHW})
        except Exception as error:  # onnxruntime's classes have no common base but this
            why = " ".join(str(error).split())[:200]
            if any(words in why.lower() for words in _NO_MEMORY):
                raise MemoryError(why) from error
            raise ModelBroken(f"model '{self._name}': {self._path} fails on a picture ({why})") from error
        if len(given) != len(part_BCHW) or not _fits(list(given.shape[1:]), self._output_shape):
            raise ModelBroken(
                f"model '{self._name}': {self._path} gives {list(given.shape)} for {len(part_BCHW)} pictures, not "
                f"{[len(part_BCHW), *self._output_shape]}"
            )
        output: Floats = np.nan_to_num(given[:count].astype(np.float32), nan=0, posinf=0, neginf=0)
        return output


def onnx_file(model: LocalModel) -> Path:
    """The .onnx file of a model.

    Raises:
        ModelMissing: its folder has none, or several.
    """
    if model.path.is_file():
        return model.path
    if model.files is not None:
        found = [model.path / name for name in model.files if name.endswith(_SUFFIX)]
    else:
        found = sorted(path for path in model.path.rglob(f"*{_SUFFIX}") if path.is_file())
    if len(found) != 1:
        what = "no .onnx file" if not found else f"{len(found)} .onnx files; name the one"
        raise ModelMissing(f"model '{model.name}': {model.path} has {what}")
    return found[0]


def _session(name: str, path: Path, device: Device) -> Any:
    import onnxruntime

    providers = _providers(device, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; its warnings are of its own optimiser
    # Unlike other libraries it does not heed this by itself, and would take every core in each worker.
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0") or 0)
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's classes have no common base but this
        why = " ".join(str(error).split())[:300]
        raise ModelBroken(f"model '{name}': {path} cannot be loaded ({why})") from error
    if providers[0] == _CUDA and session.get_providers()[0] != _CUDA:
        why_not = "onnxruntime is built for CUDA and could not start it: its driver, CUDA or cuDNN is missing"
        if device == "cuda":
            raise UsageError(f"estimator.device=cuda: {why_not}; take device=cpu, or see `wanprep doctor`")
        _log.warning("%s; %s runs on the CPU", why_not, name)
    return session


def _providers(device: Device, available: list[str]) -> list[str]:
    if device == "cuda" and _CUDA not in available:
        raise UsageError(
            f"estimator.device=cuda: this onnxruntime has {', '.join(available)}; install onnxruntime-gpu in its "
            "place, or take device=cpu"
        )
    if device != "cpu" and _CUDA in available:
        return [_CUDA, _CPU]
    return [_CPU]


def _fits(given: list[Any], wanted: tuple[int | None, ...]) -> bool:
    """Whether a shape is the wanted one; names and None stand for any number."""
    return len(given) == len(wanted) and all(
        not isinstance(have, int) or want is None or have == want
        for have, want in zip(given, wanted, strict=True)
    )
