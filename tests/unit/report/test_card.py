"""Cards of clips without video."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

import wanprep
from schemas import LatentsRecord
from wanprep.errors import StoreError
from wanprep.report.card import write_card
from wanprep.report.latent_colours import latent_colours


@pytest.fixture
def store(tmp_path: Path) -> Path:
    picture_HWC = np.zeros((96, 160, 3), np.uint8)
    picture_HWC[:, 80:] = (250, 40, 40)
    Image.fromarray(picture_HWC).save(tmp_path / "reference.png")
    with av.open(str(tmp_path / "voice.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        wave = (np.sin(np.arange(16_000) * 0.08) * 9_000).astype(np.int16)[None]
        wave[:, :8_000] = 0
        frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
        frame.rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    recipe = {"stages": {"audio": {}, "reference_latents": {}, "text": {}}}
    wanprep.run(
        tmp_path / "voice.wav",
        store=tmp_path / "store",
        recipe=recipe,
        reference=tmp_path / "reference.png",
        prompt="一个人在说话",
        engine="inline",
    )
    return tmp_path / "store"


def test_a_card_shows_reference_and_sound(store: Path, tmp_path: Path) -> None:
    write_card(next(wanprep.open(store).clips()), tmp_path / "out" / "card.png")
    card = cv2.imread(str(tmp_path / "out" / "card.png"))[..., ::-1].astype(int)
    red_HW = (card[..., 0] > 200) & (card[..., 1] < 90) & (card[..., 2] < 90)
    assert red_HW[:, :400].any(), "the reference's red half"
    assert red_HW[:, 400:780].any(), "its latents, decoded"
    # The loud half of the sound is drawn higher than the silent one.
    lit_HW = (card[..., 2] > 140) & (card[..., 0] < 130) & (card[..., 1] > 100)
    assert lit_HW[:, 600:].sum() > 2 * lit_HW[:, :500].sum()


def test_a_clip_with_nothing_to_draw_is_an_error(store: Path, tmp_path: Path) -> None:
    class Empty:
        id = "empty"
        record = type("Row", (), {"reference": None, "prompt": None})

        def get(self, name: str) -> None:
            return None

    with pytest.raises(StoreError, match="clip empty: has no frames, no reference"):
        write_card(Empty(), tmp_path / "card.png")  # type: ignore[arg-type]


def test_latent_colours_keep_their_meaning(store: Path) -> None:
    record = next(wanprep.open(store).clips()).reference_latents
    assert isinstance(record, LatentsRecord)
    colours_HWC = latent_colours(record, 0)
    assert colours_HWC.shape == (*record.latents_TCHW.shape[2:], 3)
    width = colours_HWC.shape[1]
    left_C, right_C = (
        part.reshape(-1, 3).mean(0) for part in (colours_HWC[:, : width // 3], colours_HWC[:, -width // 3 :])
    )
    assert np.abs(left_C - right_C).max() > 60
    with pytest.raises(IndexError, match="latent frame 1 of a record that has 1"):
        latent_colours(record, 1)
