"""Reads one file of golden vectors, without pickle, as named cases of named fields."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_NPZ_FIELD = re.compile(r"c(\d+)_(.+)")
_SAFETENSORS_FIELD = re.compile(r"(\d+)\.(.+)")
#: The name of the case in a file that holds a single one.
WHOLE = "whole"


class GoldenFile:
    """A .npz, .json or .safetensors file. Arrays are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """Folder and file name, as patterns see it: `s2v/audio_interp.safetensors`."""
        return f"{self.path.parent.name}/{self.path.name}"

    def cases(self) -> list[str]:
        """Names of the file's cases, by its format: numbers, or `WHOLE` where nothing in it is numbered.

        Raises:
            ValueError: the format is not one of the three, or the file holds nothing.
        """
        if self.path.suffix == ".json":
            names = [str(index) for index in range(len(self._json_cases))]
        elif self.path.suffix == ".npz":
            names = [str(index) for index in range(int(self.arrays["n_cases"]))]
        else:
            found = {match[1] for key in self.arrays if (match := _SAFETENSORS_FIELD.fullmatch(key))}
            names = sorted(found, key=int) or ([WHOLE] if len(self.arrays) else [])
        if not names:
            raise ValueError(f"{self.name} holds no case")
        return names

    def case(self, name: str) -> dict[str, Any]:
        """The fields of a case: plain data of JSON, arrays otherwise, keys without the case's number.

        Raises:
            ValueError: the file has no field of this case.
        """
        if self.path.suffix == ".json":
            return dict(self._json_cases[int(name)])
        pattern = _NPZ_FIELD if self.path.suffix == ".npz" else _SAFETENSORS_FIELD
        fields = {}
        for key in self.arrays:
            match = pattern.fullmatch(key)
            if name == WHOLE and match is None:
                fields[key] = self.arrays[key]
            elif match is not None and match[1] == name:
                fields[match[2]] = self.arrays[key]
        if not fields:
            raise ValueError(f"{self.name} has no field of case {name}")
        return fields

    @cached_property
    def arrays(self) -> Mapping[str, Array]:
        """All arrays of a .npz or .safetensors file under their own keys."""
        if self.path.suffix == ".npz":
            return np.load(self.path, allow_pickle=False)  # type: ignore[no-any-return]
        if self.path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(self.path)
        raise ValueError(f"{self.name}: {self.path.suffix or 'no suffix'} is no format of arrays")

    @cached_property
    def json(self) -> Any:
        """All of a .json file."""
        return json.loads(self.path.read_text(encoding="utf-8"))

    @property
    def _json_cases(self) -> list[dict[str, Any]]:
        cases = self.json["cases"] if isinstance(self.json, dict) else self.json
        if not isinstance(cases, list):
            raise ValueError(f"{self.name}: cases are a list, or the whole file is one")
        return cases

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """Metadata of a .safetensors file; what is JSON in it is read as such."""
        from safetensors import safe_open

        with safe_open(self.path, framework="numpy") as file:
            texts = file.metadata() or {}
        return {key: _plain(text) for key, text in texts.items()}

    def weights(self) -> GoldenFile:
        """The weights of this file's model: `dit_a.weights.safetensors` for `dit_a.case1_x.safetensors`.

        Raises:
            FileNotFoundError: they are not beside it.
        """
        return self.companion(f"{self.path.name.partition('.')[0]}.weights.safetensors")

    def companion(self, name: str) -> GoldenFile:
        """Another file of the same folder.

        Raises:
            FileNotFoundError: it is not there.
        """
        path = self.path.with_name(name)
        if not path.is_file():
            raise FileNotFoundError(f"{self.name} needs {name} beside it")
        return GoldenFile(path)


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
