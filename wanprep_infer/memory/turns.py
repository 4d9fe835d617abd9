"""Models that take turns on the GPU: one is there, the others wait in the machine's memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import nn


class _Waiting:
    """A model's tensors, and where they wait. They do not change, so that nothing has to be copied back."""

    def __init__(self, model: nn.Module) -> None:
        tensors = chain(model.parameters(), model.buffers())
        self._homes = [(tensor, tensor.data.cpu()) for tensor in tensors]
        self.leave()

    def come(self, device: torch.device) -> None:
        for tensor, home in self._homes:
            tensor.data = home.to(device)

    def leave(self) -> None:
        for tensor, home in self._homes:
            tensor.data = home


class Turns:
    """Brings a model when one of its doors is called, after the one that was there has left."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._there: _Waiting | None = None

    def add(self, model: nn.Module, doors: Sequence[nn.Module]) -> None:
        """From now on the model waits.

        Args:
            doors: modules of it, one of which is always called before weights are used. Tensors among their arguments
                are moved to the device too: callers go by where the weights were.
        """
        waiting = _Waiting(model)

        def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            self._take(waiting)
            moved = {name: self._moved(value) for name, value in kwargs.items()}
            return tuple(map(self._moved, args)), moved

        for door in doors:
            door.register_forward_pre_hook(enter, with_kwargs=True)

    def _take(self, waiting: _Waiting) -> None:
        if self._there is waiting:
            return
        if self._there is not None:
            self._there.leave()
            self._there = None
        try:
            waiting.come(self._device)
        except BaseException:
            waiting.leave()  # what came of it already; the next generation may have more room
            raise
        self._there = waiting

    def _moved(self, value: Any) -> Any:
        return value.to(self._device) if isinstance(value, torch.Tensor) else value
