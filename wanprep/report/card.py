"""A card for a clip without video: its reference picture, its latents, its sound and its words."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from schemas import AudioRecord, LatentsRecord
from wanprep.errors import StoreError, WanprepError
from wanprep.media.image import read_image
from wanprep.models.dct_codec import CODEC_NAMES
from wanprep.models.vae_preview import decode_preview
from wanprep.report.latent_colours import latent_colours
from wanprep.store.clip import StoredClip

Picture = npt.NDArray[np.uint8]

_WIDTH = 1120  # pixels
_PICTURE_HEIGHT = 320
_STRIP_HEIGHT = 110
_LINE = 24
_GAP = 12
_LETTERS = 118  # a line
_INK, _DIM, _PAPER = (225, 225, 228), (150, 152, 158), (24, 25, 28)
_LOUD, _VOICED = (90, 120, 150), (120, 220, 255)
_QUIET_DB = -60.0  # the foot of the loudness curve
_LEAST_SPREAD = 1e-4  # of a layer that says nothing: it stays grey


def write_card(clip: StoredClip, path: Path) -> None:
    """Writes a PNG of what a clip without video holds.

    Raises:
        StoreError: it holds nothing that can be drawn.
    """
    parts = [*_pictures(clip), *_sound(clip), *_words(clip)]
    if not parts:
        raise StoreError(f"clip {clip.id}: has no frames, no reference, no sound and no words to draw")
    sheet = np.vstack([_line(clip.id, _INK), *parts])
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not done:
        raise StoreError(f"{path}: the picture could not be encoded")
    path.write_bytes(data.tobytes())


def _pictures(clip: StoredClip) -> list[Picture]:
    titled: list[tuple[str, Picture]] = []
    if clip.record.reference is not None:
        try:
            titled.append(("reference", read_image(clip.record.reference)))
        except WanprepError as error:
            raise StoreError(f"clip {clip.id}: {clip.record.reference} {error}") from error
    latents: LatentsRecord | None = clip.get("reference_latents")
    if latents is not None:
        about = f"latents {latents.channels} x {latents.height // latents.stride_space} x "
        about += f"{latents.width // latents.stride_space}, {latents.vae}"
        if latents.vae in CODEC_NAMES:
            titled.append((f"{about}, decoded", decode_preview(latents, frames=1)[0]))
        titled.append((f"{about}: strongest directions", latent_colours(latents, 0)))
    if not titled:
        return []
    fitted = [(title, _fitted(picture)) for title, picture in titled]
    height = max(len(picture) for _, picture in fitted)
    return [_on_paper(np.hstack([_titled(title, picture, height) for title, picture in fitted]))]


def _fitted(picture_HWC: Picture) -> Picture:
    height, width = picture_HWC.shape[:2]
    scale = min(_PICTURE_HEIGHT / height, (_WIDTH / 3 - _GAP) / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # Latents' pixels are to be seen as they are.
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture_HWC, size, interpolation=how), dtype=np.uint8)


def _titled(title: str, picture_HWC: Picture, room: int) -> Picture:
    height, width = picture_HWC.shape[:2]
    cell = _paper(_LINE + room + _GAP, max(width + _GAP, _WIDTH // 3))
    cell[_LINE : _LINE + height, :width] = picture_HWC
    _write(cell, title, _DIM, scale=0.4)
    return cell


def _sound(clip: StoredClip) -> list[Picture]:
    audio: AudioRecord | None = clip.get("audio")
    if audio is None or not len(audio.loudness_T):
        return []
    about = (
        f"sound {audio.seconds:.2f} s, mean {audio.mean_loudness:.0f} dB, voiced {audio.voiced_share:.0%}: "
    )
    parts = [_line(about + "loudness, bright where voiced", _DIM), _loudness(audio)]
    if audio.states_TLC is not None:
        frames, layers, channels = audio.states_TLC.shape
        about = f"{audio.encoder}: {frames} frames at {audio.states_rate:g} a second, {layers} layers (first on top) "
        parts += [_line(f"{about}of {channels}: length of each state", _DIM), _states(audio.states_TLC)]
    else:
        parts += [
            _line(f"{audio.backend}: the first bands of {len(audio.feature_names)} features", _DIM),
            _mel(audio),
        ]
    return parts


def _loudness(audio: AudioRecord) -> Picture:
    strip = _paper(_STRIP_HEIGHT, _WIDTH)
    column_W = _columns(len(audio.loudness_T))
    level_W = 1 - np.clip(np.asarray(audio.loudness_T)[column_W] / _QUIET_DB, 0, 1)
    voicing_W = np.clip(np.asarray(audio.voicing_T)[column_W], 0, 1)
    lit_HW = np.arange(_STRIP_HEIGHT)[::-1, None] < level_W[None] * _STRIP_HEIGHT
    colour_WC = np.outer(1 - voicing_W, _LOUD) + np.outer(voicing_W, _VOICED)
    strip[:] = np.where(lit_HW[..., None], colour_WC[None], strip).astype(np.uint8)
    return strip


def _mel(audio: AudioRecord) -> Picture:
    column_W = _columns(len(audio.features_TC))
    bands = sum(name.startswith("mel") and name[3:].isdigit() for name in audio.feature_names)
    values_WB = np.asarray(audio.features_TC[:], np.float32)[column_W][:, : bands or None]
    return _heat(values_WB.T[::-1])


def _states(states_TLC: Any) -> Picture:
    frames, layers = states_TLC.shape[:2]
    column_W = _columns(frames)
    length_WL = np.empty((_WIDTH, layers), np.float32)
    # A frame at a time: the states of a long sound do not fit in memory.
    for frame in np.unique(column_W):
        state_LC = np.asarray(states_TLC[int(frame) : int(frame) + 1], np.float32)[0]
        length_WL[column_W == frame] = np.linalg.norm(state_LC, axis=1)
    spread_L = np.maximum(length_WL.std(axis=0), _LEAST_SPREAD * np.abs(length_WL).max())
    return _heat(((length_WL - length_WL.mean(axis=0)) / spread_L).T)


def _heat(values_HW: npt.NDArray[np.floating[Any]]) -> Picture:
    low, high = np.percentile(values_HW, (2, 98))
    level_HW = np.clip((values_HW - low) / max(float(high - low), 1e-6), 0, 1)
    bytes_HW = (level_HW * 255).astype(np.uint8)
    enlarged = cv2.resize(bytes_HW, (_WIDTH, _STRIP_HEIGHT), interpolation=cv2.INTER_NEAREST)
    return np.asarray(
        cv2.cvtColor(cv2.applyColorMap(enlarged, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB), np.uint8
    )


def _columns(length: int) -> npt.NDArray[np.int64]:
    """Which of `length` steps each column of a strip shows."""
    return np.minimum(np.arange(_WIDTH) * length // _WIDTH, length - 1).astype(np.int64)


def _words(clip: StoredClip) -> list[Picture]:
    parts: list[Picture] = []
    for title, text in (
        ("prompt", clip.record.prompt),
        ("caption", getattr(clip.get("caption"), "text", None)),
    ):
        if text:
            parts.append(_line(title, _DIM))
            parts += [_line(line, _INK) for line in textwrap.wrap(_plain(text), _LETTERS)[:12]]
    text = clip.get("text")
    if text is not None:
        cut = f", {text.truncated} cut off" if text.truncated else ""
        parts.append(_line(f"text: {text.tokens} tokens of the {text.source}{cut}, {text.backend}", _DIM))
    return parts


def _plain(text: str) -> str:
    """What the picture's font can write; of other scripts, how much there is."""
    if text.isascii():
        return text
    share = sum(letter.isascii() for letter in text) / len(text)
    return (
        text.encode("ascii", "replace").decode()
        if share > 0.9
        else f"({len(text)} characters in another script)"
    )


def _line(text: str, colour: tuple[int, int, int]) -> Picture:
    strip = _paper(_LINE, _WIDTH)
    _write(strip, text, colour)
    return strip


def _write(picture: Picture, text: str, colour: tuple[int, int, int], scale: float = 0.45) -> None:
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(picture, plain, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


def _paper(height: int, width: int) -> Picture:
    return np.full((height, width, 3), _PAPER, np.uint8)


def _on_paper(picture: Picture) -> Picture:
    """Padded or cut to the card's width."""
    card = _paper(picture.shape[0], _WIDTH)
    width = min(_WIDTH, picture.shape[1])
    card[:, :width] = picture[:, :width]
    return card
