"""Codes a clip with a Wan VAE piece by piece: memory does not grow with the clip, the numbers are the whole clip's.

The VAE is causal in time. diffusers walks a clip in steps of 1, 4, 4, ... frames and keeps, for each convolution, the
last frames that the next step needs. That cache is handed in here, under names that diffusers does not promise to
keep: `streams_exactly` tries them out when a model is loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from wanprep.models.vae_tiles import Grid, Span, grid

if TYPE_CHECKING:
    import torch

    from wanprep.models.vae import Vae

_STEP = 4  # frames of all steps after the first
_MODULE = "diffusers.models.autoencoders.autoencoder_kl_wan"
_CONVOLUTION = "WanCausalConv3d"  # diffusers' class of which each instance has a place in the cache

_log = logging.getLogger("wanprep.models")


class VaeEncoder:
    """Encodes one clip. Feed it with `add`, end it with `finish`.

    With tiles, the caches of those that are not at work wait in the machine's memory (17 GB for 1280x720 in tiles of
    256): the GPU holds one tile's. Given all frames at once and told so, none waits.
    """

    def __init__(self, vae: Vae, tile: int | None) -> None:
        _check_tile(tile, vae)
        self._vae = vae
        self._tile = tile
        self._waiting: list[torch.Tensor] = []  # single frames [3,1,H,W]
        self._frames = 0
        self._tiles: _Tiles | None = None

    def add(self, pixels_CTHW: torch.Tensor, *, last: bool = False) -> torch.Tensor:
        """Takes the next frames, [3,T,H,W] in -1 to 1 of any T; returns the latent frames [C,t,h,w] that are done.

        Args:
            last: no frames follow, and nothing is kept for them.

        Raises:
            ValueError: a side is no multiple of the VAE's stride, or differs from the frames before.
        """
        import torch

        _, _, height, width = pixels_CTHW.shape
        side = self._vae.stride
        if height % side or width % side or not height or not width:
            raise ValueError(
                f"frames of {width}x{height} do not fit this VAE: sides must be multiples of {side}"
            )
        if self._tiles is None:
            cells = grid(height // side, width // side, self._tile and self._tile // side)
            self._tiles = _Tiles(cells, lambda: _encoder_step(self._vae), side, 1, self._vae)
        elif (self._tiles.grid.height * side, self._tiles.grid.width * side) != (height, width):
            raise ValueError(f"the clip's frames change their size to {width}x{height}")
        found = self._tiles.steps(self._pieces(pixels_CTHW), last=last and self._vae.streams)
        return torch.cat(found or [self._tiles.nothing(self._vae.channels)], 1).to(self._vae.device)

    def _pieces(self, pixels_CTHW: torch.Tensor) -> Iterator[torch.Tensor]:
        """The steps' frames: what waited with what comes; the rest waits."""
        import torch

        for index in range(pixels_CTHW.shape[1]):
            self._waiting.append(pixels_CTHW[:, index : index + 1])
            self._frames += 1
            if self._vae.streams and self._frames % _STEP == 1:
                yield torch.cat(self._waiting, 1)
                self._waiting.clear()

    def finish(self) -> torch.Tensor:
        """Ends the clip; returns latent frames that were not returned before (none where the VAE streams).

        Raises:
            ValueError: the frames were not 4n+1; diffusers would leave out the last ones without a word.
        """
        import torch

        if self._frames % _STEP != 1 or self._tiles is None:
            raise ValueError(f"{self._frames} frames are not 4n+1: pad or cut them first")
        if self._waiting:
            rest_CTHW = torch.cat(self._waiting, 1)
            self._waiting.clear()
            return self._tiles.steps([rest_CTHW])[0].to(self._vae.device)
        return self._tiles.nothing(self._vae.channels).to(self._vae.device)


class VaeDecoder:
    """Decodes one clip. Feed it with `add`, end it with `finish`. With tiles as `VaeEncoder`."""

    def __init__(self, vae: Vae, tile: int | None) -> None:
        _check_tile(tile, vae)
        self._vae = vae
        self._tile = tile
        self._waiting: list[torch.Tensor] = []
        self._tiles: _Tiles | None = None

    def add(self, latents_CTHW: torch.Tensor, *, last: bool = False) -> torch.Tensor:
        """Takes the next raw latents [C,t,h,w]; returns pixels [3,T,H,W], not clamped: 1 frame for the clip's first
        latent frame, 4 for each other. They are on the VAE's device; with tiles on the CPU, where they are blended.

        Args:
            last: no latents follow, and nothing is kept for them.

        Raises:
            ValueError: another number of channels than the VAE's.
        """
        import torch

        channels, _, height, width = latents_CTHW.shape
        if channels != self._vae.channels:
            raise ValueError(f"this VAE's latents have {self._vae.channels} channels, not {channels}")
        side = self._vae.stride
        if self._tiles is None:
            cells = grid(height, width, self._tile and self._tile // side)
            self._tiles = _Tiles(cells, lambda: _decoder_step(self._vae), 1, side, self._vae)
        pieces = [latents_CTHW[:, index : index + 1] for index in range(latents_CTHW.shape[1])]
        if not self._vae.streams:
            self._waiting += pieces
            pieces = []
        found = self._tiles.steps(pieces, last=last and self._vae.streams)
        return torch.cat(found, 1) if found else self._tiles.nothing(3)

    def finish(self) -> torch.Tensor:
        """Ends the clip; returns frames that were not returned before (none where the VAE streams).

        Raises:
            ValueError: there were no latents.
        """
        import torch

        if self._tiles is None:
            raise ValueError("there are no latents to decode")
        if self._waiting:
            rest_CTHW = torch.cat(self._waiting, 1)
            self._waiting.clear()
            return self._tiles.steps([rest_CTHW])[0]
        return self._tiles.nothing(3)


class _Tiles:
    """One coder a tile, and their results put together."""

    def __init__(
        self, cells: Grid, make: Callable[[], _Coder], scale_in: int, scale_out: int, vae: Vae
    ) -> None:
        self.grid = cells
        self._coders = [(place, make()) for place in cells.tiles]
        self._scale_in = scale_in
        self._scale_out = scale_out
        self._vae = vae

    def steps(self, pieces: Iterable[torch.Tensor], *, last: bool = False) -> list[torch.Tensor]:
        """The results of one step after the other. After the last ones there are no more.

        With tiles, each does all the steps before the next one's turn: its cache, 0.6 GB of 256x256 pixels, comes to
        the GPU and leaves once a call. Their results, blended, are in the machine's memory.
        """
        import torch

        with torch.no_grad():
            if len(self._coders) == 1:
                (place, coder), *_ = self._coders
                coder.bring(self._vae.device)
                found = [self._coded(piece, place, coder) for piece in pieces]
                if last:
                    coder.end()
                return found
            pieces = list(pieces)
            by_tile: list[list[torch.Tensor]] = []
            for place, coder in self._coders:
                coder.bring(self._vae.device)
                by_tile.append([self._coded(piece, place, coder).cpu() for piece in pieces])
                if last:
                    coder.end()
                else:
                    coder.bring(torch.device("cpu"))
            return [
                self.grid.blend([parts[step] for parts in by_tile], self._scale_out)
                for step in range(len(pieces))
            ]

    def nothing(self, channels: int) -> torch.Tensor:
        """No frames, of the results' size and where they are."""
        import torch

        device = self._vae.device if len(self._coders) == 1 else torch.device("cpu")
        height, width = (side * self._scale_out for side in (self.grid.height, self.grid.width))
        return torch.empty((channels, 0, height, width), device=device, dtype=self._vae.dtype)

    def _coded(self, piece_CTHW: torch.Tensor, place: tuple[Span, Span], coder: _Coder) -> torch.Tensor:
        row, column = place
        part_CTHW = piece_CTHW[:, :, _part(row, self._scale_in), _part(column, self._scale_in)]
        return coder(part_CTHW.to(self._vae.device, self._vae.dtype)[None])[0]


class _Coder:
    """The network with one tile's cache."""

    def __init__(self, run: Callable[[torch.Tensor, list[Any]], torch.Tensor], places: int) -> None:
        self._run = run
        self._cache: list[Any] = [None] * places
        self._ended = False

    def __call__(self, frames_BCTHW: torch.Tensor) -> torch.Tensor:
        if self._ended:
            raise ValueError("the clip has ended: another one takes a new coder")
        return self._run(frames_BCTHW, self._cache)

    def end(self) -> None:
        """Frees the cache: no step follows."""
        self._cache.clear()
        self._ended = True

    def bring(self, device: torch.device) -> None:
        # Some places hold a word instead of frames until their second step.
        self._cache = [place.to(device) if hasattr(place, "to") else place for place in self._cache]


def _encoder_step(vae: Vae) -> _Coder:
    model = vae.model
    if not vae.streams:
        return _Coder(lambda pixels, _: model.encode(pixels).latent_dist.mode(), 0)

    def run(pixels: torch.Tensor, cache: list[Any]) -> torch.Tensor:
        patches = import_module(_MODULE).patchify(pixels, vae.patch)
        hidden = model.encoder(patches, feat_cache=cache, feat_idx=[0])
        mean: torch.Tensor = model.quant_conv(hidden)[:, : vae.channels]
        return mean

    return _Coder(run, _places(model.encoder))


def _decoder_step(vae: Vae) -> _Coder:
    model = vae.model
    if not vae.streams:
        # The public call clamps to -1 to 1, whatever was asked for.
        return _Coder(lambda latents, _: model.decode(latents).sample, 0)

    def run(latents: torch.Tensor, cache: list[Any]) -> torch.Tensor:
        first = all(place is None for place in cache)
        hidden = model.post_quant_conv(latents)
        hidden = model.decoder(hidden, feat_cache=cache, feat_idx=[0], first_chunk=first)
        pixels: torch.Tensor = import_module(_MODULE).unpatchify(hidden, vae.patch)
        return pixels

    return _Coder(run, _places(model.decoder))


def _places(network: Any) -> int:
    return sum(type(module).__name__ == _CONVOLUTION for module in network.modules())


def streams_exactly(vae: Vae) -> bool:
    """Whether coding in pieces works with this diffusers and gives what its public calls give, tried on 9 frames of
    4x4 latents' worth of noise. The difference seen is 0; half a percent of the largest value passes."""
    import torch

    side = 4 * vae.stride
    noise = torch.Generator().manual_seed(0)
    pixels_CTHW = torch.rand((3, 9, side, side), generator=noise) * 2 - 1
    try:
        with torch.no_grad():
            pixels_BCTHW = pixels_CTHW[None].to(vae.device, vae.dtype)
            whole = vae.model.encode(pixels_BCTHW).latent_dist.mode()[0]
            shown = vae.model.decode(whole[None]).sample[0]
        return _close(vae.encode(pixels_CTHW), whole) and _close(vae.decode(whole), shown)
    except (AttributeError, ImportError, TypeError, IndexError) as error:
        _log.debug("coding in pieces: %s", error)
        return False


def _close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    if ours.shape != theirs.shape:
        return False
    return bool((ours - theirs).abs().max() <= 0.005 * theirs.abs().max() + 1e-6)


def _check_tile(tile: int | None, vae: Vae) -> None:
    if tile is not None and tile < 4 * vae.stride:
        raise ValueError(f"a tile of {tile} pixels is too small for this VAE: take {4 * vae.stride} at least")


def _part(span: Span, scale: int) -> slice:
    return slice(span.start * scale, span.stop * scale)
