"""What can be wrong with a model, as errors of one line."""

from __future__ import annotations

from wanprep.errors import UsageError, WanprepError


class ModelMissing(UsageError):
    """A model is not on this machine; the message names the file and where it was looked for."""


class ModelBroken(WanprepError):
    """A model's files are there and cannot be used; the message names the file and the tensor."""


class ModelOutOfMemory(WanprepError):
    """Not even the smallest batch or tile fits on the GPU; the message names its size."""
