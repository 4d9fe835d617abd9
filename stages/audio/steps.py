"""The analysis grid, and cutting streamed sound into the pieces that lie around its steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000  # Hz
HOP = 320  # samples: 50 steps a second, the grid of wav2vec 2.0 (Baevski et al., 2020)
STEP_RATE = SAMPLE_RATE / HOP

Samples = npt.NDArray[np.float32]


def step_count(samples: int) -> int:
    """Steps of a sound: one every hop from its first sample on."""
    return -(-samples // HOP)


def around_steps(blocks: Iterable[Samples], reach: int, steps: int) -> Iterator[Samples]:
    """Pieces of sound centred on the grid's steps, `steps` of them at a time (fewer at the end).

    Piece t holds samples `t * HOP - reach` to `t * HOP + reach` (exclusive), with silence around the sound:
    float32 [steps, 2 * reach]. Which steps come together does not depend on how the sound comes in blocks.
    """
    held = np.zeros(reach, np.float32)  # begins `reach` samples before the next step
    waiting: list[Samples] = []
    length = len(held)
    total = given = 0
    needed = (steps - 1) * HOP + 2 * reach
    for block in blocks:
        waiting.append(block)
        length += len(block)
        total += len(block)
        if length < needed:
            continue
        held = np.concatenate([held, *waiting])
        waiting = []
        while len(held) >= needed:
            yield _pieces(held, reach, steps)
            given += steps
            held = held[steps * HOP :]
        length = len(held)
    left = step_count(total) - given
    held = np.concatenate([held, *waiting, np.zeros(2 * reach, np.float32)])
    while left > 0:
        count = min(steps, left)
        yield _pieces(held, reach, count)
        held = held[count * HOP :]
        left -= count


def _pieces(sound: Samples, reach: int, steps: int) -> Samples:
    return np.lib.stride_tricks.sliding_window_view(sound, 2 * reach)[::HOP][:steps]
