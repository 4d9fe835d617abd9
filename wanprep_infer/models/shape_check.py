"""One line that names a tensor of the wrong shape."""

from __future__ import annotations

import torch


def check_shape(
    name: str, tensor: torch.Tensor, shape: tuple[int | None, ...], why: str = "the model takes"
) -> None:
    """Lets through a tensor of this shape; None stands for any size.

    Raises:
        ValueError: another number of axes or another size; names the tensor and both shapes.
    """
    sizes = tuple(tensor.shape)
    if len(sizes) != len(shape) or any(
        wanted not in (None, size) for size, wanted in zip(sizes, shape, strict=True)
    ):
        wanted = ", ".join("any" if side is None else str(side) for side in shape)
        raise ValueError(f"{name} is {list(sizes)}; {why} [{wanted}]")
