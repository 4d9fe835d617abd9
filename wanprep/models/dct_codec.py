"""A video codec without weights that has the geometry of the Wan VAEs: `dct-z16-v1` and `dct-z48-v1`.

Pictures become luma and two colour differences, cut into cells of 8x8 (z16) or 16x16 (z48) pixels and, after the
first frame, of 4 frames. Of each cell's discrete cosine transform the 16 or 48 components of the lowest frequencies
are kept. It is linear, orthonormal within a cell and causal; coding a clip in chunks gives the same numbers as coding
it whole. Its latents decode to a recognisable picture and mean nothing to a model that was trained on a Wan VAE.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Bytes: TypeAlias = npt.NDArray[np.uint8]

STRIDE_TIME = 4  # frames a latent frame, after the first

# RGB to luma and colour differences, full range (ITU-T T.871, JFIF), and back.
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_RED_OF_CR, _GREEN_OF_CB, _GREEN_OF_CR, _BLUE_OF_CB = 1.402, -0.344136, -0.714136, 1.772


@dataclass(frozen=True, order=True)
class Component:
    """One basis function: component 0 (luma), 1 or 2 (colour), and its frequency in time, rows and columns."""

    plane: int
    time: int
    row: int
    column: int


@dataclass(frozen=True)
class DctCodec:
    """One of the two codecs; see `dct_codec`. Latents are [T, channels, height / stride, width / stride].

    Their scale: the value of the lowest luma component is the cell's mean luma in -1 to 1, the others have the same
    gain. `time_weight` and `colour_cost` set which components are kept (chosen by PSNR on real video).
    """

    name: str
    channels: int
    stride: int  # pixels a latent column and row
    time_weight: float
    colour_cost: float

    @cached_property
    def components(self) -> tuple[tuple[Component, ...], tuple[Component, ...]]:
        """The component of each channel, in the first latent frame and in all others.

        A channel that holds a change over time has nothing to hold in the first frame, and holds a finer component
        of the picture there; every other channel means the same in all frames.
        """
        still = self._cheapest(1)
        moving = self._cheapest(STRIDE_TIME)
        spare = iter([component for component in still if component not in moving])
        first = tuple(component if component.time == 0 else next(spare) for component in moving)
        return first, tuple(moving)

    def _cheapest(self, times: int) -> list[Component]:
        side = range(self.stride)
        every = (Component(*at) for at in itertools.product(range(3), range(times), side, side))
        return sorted(every, key=lambda component: (round(self._cost(component), 6), component))[
            : self.channels
        ]

    def _cost(self, component: Component) -> float:
        squares = (self.time_weight * component.time) ** 2 + component.row**2 + component.column**2
        return math.sqrt(squares) + (self.colour_cost if component.plane else 0.0)

    @cached_property
    def mean_C(self) -> Floats:
        """`latent_norm`: zeros; mid-grey is 0 already."""
        return np.zeros(self.channels, np.float32)

    @cached_property
    def std_C(self) -> Floats:
        """`latent_norm`: the spread of each channel, for whitening, by a rule and not from data: amplitudes of natural
        pictures fall with frequency, colour and change over time are smaller. Spreads measured on real video are
        within a factor of 2 of it."""
        return np.array([_spread(component) for component in self.components[1]], np.float32)

    def encoder(self) -> DctEncoder:
        return DctEncoder(self)

    def decoder(self) -> DctDecoder:
        return DctDecoder(self)

    def encode(self, frames_THWC: npt.NDArray[Any]) -> Floats:
        """A whole clip of 4n+1 frames (uint8, or float32 in -1 to 1) as latents float32 [n+1, C, h, w].

        Raises:
            ValueError: the frames are not 4n+1, or a side is no multiple of the stride.
        """
        encoder = self.encoder()
        latents_TCHW = encoder.add(frames_THWC)
        encoder.finish()
        return latents_TCHW

    def decode(self, latents_TCHW: npt.NDArray[Any], *, smooth: bool = False) -> Floats:
        """Latents of a clip as pixels float32 [4n+1, H, W, 3], about -1 to 1, not clamped.

        Args:
            smooth: soften the steps between cells, for people to look at; coding the result again gives other
                latents then, where without it they come back exactly.
        """
        return self.decoder().add(latents_TCHW, smooth=smooth)

    def _group(self, pixels_THWC: Floats) -> Floats:
        """One latent frame [C,h,w] of 1 or 4 frames in -1 to 1."""
        frames, height, width, _ = pixels_THWC.shape
        side = self.stride
        components = self.components[frames != 1]
        latent_CHW = np.empty((self.channels, height // side, width // side), np.float32)
        for plane, weights in enumerate(_TO_YCC):
            kept = [(channel, at) for channel, at in enumerate(components) if at.plane == plane]
            if not kept:
                continue
            red, green, blue = weights
            plane_THW = pixels_THWC[..., 0] * np.float32(red)
            plane_THW += pixels_THWC[..., 1] * np.float32(green)
            plane_THW += pixels_THWC[..., 2] * np.float32(blue)
            rows, columns = 1 + max(at.row for _, at in kept), 1 + max(at.column for _, at in kept)
            basis = _basis(side)
            cells = basis[:rows] @ plane_THW.reshape(frames, height // side, side, width)
            cells = cells.reshape(frames, height // side, rows, width // side, side) @ basis[:columns].T
            for channel, at in kept:
                over_time = _basis(frames)[at.time]
                latent_CHW[channel] = np.tensordot(over_time, cells[:, :, at.row, :, at.column], 1)
        return latent_CHW * np.float32(1 / (side * math.sqrt(frames)))

    def _pixels(self, latent_CHW: npt.NDArray[Any], frames: int) -> Floats:
        """The 1 or 4 frames [T,H,W,3] of one latent frame."""
        _, height, width = latent_CHW.shape
        side = self.stride
        scaled_CHW = latent_CHW.astype(np.float32) * np.float32(side * math.sqrt(frames))
        planes = [self._plane(scaled_CHW, plane, frames) for plane in range(3)]
        luma, blue, red = planes
        pixels_THWC = np.empty((frames, height * side, width * side, 3), np.float32)
        pixels_THWC[..., 0] = luma + np.float32(_RED_OF_CR) * red
        pixels_THWC[..., 1] = luma + np.float32(_GREEN_OF_CB) * blue + np.float32(_GREEN_OF_CR) * red
        pixels_THWC[..., 2] = luma + np.float32(_BLUE_OF_CB) * blue
        return pixels_THWC

    def _plane(self, scaled_CHW: Floats, plane: int, frames: int) -> Floats:
        _, height, width = scaled_CHW.shape
        side = self.stride
        kept = [(c, at) for c, at in enumerate(self.components[frames != 1]) if at.plane == plane]
        rows, columns = 1 + max(at.row for _, at in kept), 1 + max(at.column for _, at in kept)
        cells = np.zeros((frames, height, rows, width, columns), np.float32)
        for channel, at in kept:
            cells[at.time, :, at.row, :, at.column] = scaled_CHW[channel]
        over_time = (_basis(frames).T @ cells.reshape(frames, -1)).reshape(cells.shape)
        across = (over_time @ _basis(side)[:columns]).reshape(frames, height, rows, width * side)
        pixels: Floats = (_basis(side)[:rows].T @ across).reshape(frames, height * side, width * side)
        return pixels


class DctEncoder:
    """Codes a clip that comes in pieces of any length."""

    def __init__(self, codec: DctCodec) -> None:
        self._codec = codec
        self._waiting: list[Floats] = []
        self._frames = 0

    def add(self, frames_THWC: npt.NDArray[Any]) -> Floats:
        """The latent frames that became complete, float32 [t, C, h, w]; t may be 0.

        Args:
            frames_THWC: RGB, uint8, or floating point in -1 to 1.

        Raises:
            ValueError: a side is no multiple of the codec's stride.
        """
        _, height, width, _ = frames_THWC.shape
        side = self._codec.stride
        if height % side or width % side:
            raise ValueError(
                f"frames of {width}x{height} do not fit {self._codec.name}: sides must be multiples of {side}"
            )
        done: list[Floats] = []
        for frame_HWC in frames_THWC:
            self._waiting.append(to_signed(frame_HWC))
            self._frames += 1
            if self._frames % STRIDE_TIME == 1:
                done.append(self._codec._group(np.stack(self._waiting)))
                self._waiting.clear()
        if not done:
            return np.empty((0, self._codec.channels, height // side, width // side), np.float32)
        return np.stack(done)

    def finish(self) -> None:
        """Ends the clip.

        Raises:
            ValueError: the frames were not 4n+1.
        """
        if self._waiting or not self._frames:
            raise ValueError(f"{self._frames} frames are not 4n+1: pad or cut them first")


class DctDecoder:
    """Decodes latents that come in pieces of any length."""

    def __init__(self, codec: DctCodec) -> None:
        self._codec = codec
        self._started = False

    def add(self, latents_TCHW: npt.NDArray[Any], *, smooth: bool = False) -> Floats:
        """Pixels float32 [t, H, W, 3] in about -1 to 1: one frame for the clip's first latent frame, else 4 each.

        Raises:
            ValueError: the latents have another number of channels than the codec.
        """
        count, channels, height, width = latents_TCHW.shape
        if channels != self._codec.channels:
            raise ValueError(
                f"{self._codec.name} has {self._codec.channels} channels, the latents have {channels}"
            )
        side = self._codec.stride
        parts = [np.empty((0, height * side, width * side, 3), np.float32)]
        for index in range(count):
            parts.append(self._codec._pixels(latents_TCHW[index], STRIDE_TIME if self._started else 1))
            self._started = True
        pixels_THWC = np.concatenate(parts)
        return soften_cells(pixels_THWC, side) if smooth else pixels_THWC


_CODECS = (
    DctCodec("dct-z16-v1", channels=16, stride=8, time_weight=2.2, colour_cost=1.6),
    DctCodec("dct-z48-v1", channels=48, stride=16, time_weight=4.0, colour_cost=2.4),
)
CODEC_NAMES = tuple(codec.name for codec in _CODECS)


def dct_codec(name: str) -> DctCodec:
    """The codec of a name.

    Raises:
        ValueError: there is none of this name.
    """
    for codec in _CODECS:
        if codec.name == name:
            return codec
    raise ValueError(f"no codec is called '{name}' (there are: {', '.join(CODEC_NAMES)})")


def to_signed(frames: npt.NDArray[Any]) -> Floats:
    """8-bit pixels as float32 in -1 to 1; floating-point ones are taken to be in it."""
    if frames.dtype == np.uint8:
        return frames.astype(np.float32) / np.float32(127.5) - np.float32(1)
    return frames.astype(np.float32, copy=False)


def to_bytes(pixels: npt.NDArray[Any]) -> Bytes:
    """Pixels in -1 to 1 as uint8, clamped and rounded."""
    levels: Floats = np.rint((np.asarray(pixels, np.float32) + 1) * np.float32(127.5))
    return np.clip(levels, 0, 255).astype(np.uint8)


def soften_cells(pixels_THWC: Floats, side: int) -> Floats:
    """Draws the two pixels at each cell's edge together by a quarter of their difference."""
    for axis in (1, 2):
        along = np.moveaxis(pixels_THWC, axis, 0)
        before, after = along[side - 1 : -1 : side], along[side::side]
        step = (after - before) / 4
        before += step
        after -= step
    return pixels_THWC


def _basis(length: int) -> Floats:
    """The orthonormal cosine basis (DCT-II): row k is frequency k."""
    k, x = np.arange(length)[:, None], np.arange(length)[None]
    basis: npt.NDArray[np.float64] = np.cos(np.pi * (2 * x + 1) * k / (2 * length)) * math.sqrt(2 / length)
    basis[0] /= math.sqrt(2)
    return basis.astype(np.float32)


def _spread(component: Component) -> float:
    row, column = component.row, component.column
    space = 0.22 / (row + column + row * column / 2) if row or column else 1.0
    return 0.4 * space * (0.12 if component.time else 1.0) * (0.14 if component.plane else 1.0)
