"""What a drawn figure looks like: colours, hair, size, place, room."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Colour = tuple[int, int, int]
HairStyle = Literal["bob", "short"]

SKINS: tuple[Colour, ...] = ((238, 192, 164), (226, 172, 140), (205, 148, 112), (164, 110, 80), (124, 82, 60))
HAIRS: tuple[Colour, ...] = ((92, 54, 34), (44, 34, 34), (128, 78, 40), (170, 122, 66), (66, 44, 38))
KNITS: tuple[Colour, ...] = (
    (38, 112, 122),
    (156, 62, 66),
    (66, 86, 148),
    (92, 114, 76),
    (196, 138, 58),
    (112, 78, 132),
)
EYES: tuple[Colour, ...] = ((78, 104, 72), (104, 68, 40), (72, 104, 132), (84, 56, 36))
SHIRTS: tuple[Colour, ...] = ((240, 232, 218), (46, 52, 66), (228, 196, 170), (206, 216, 224))


@dataclass(frozen=True, kw_only=True)
class Look:
    """One figure's looks. Colours are display RGB in 0..255.

    `offset_x` moves the figure sideways, in picture widths; `scale` is its size against the default framing
    (head to waist); `motion` scales every movement except speech (0 holds still); `pitch_hz` is the voice's
    mean pitch. `room_seed` picks the wall's colour and what stands on the shelves. `makeup` 0..1 sets
    lips and lashes off.
    """

    skin_rgb: Colour = SKINS[0]
    hair_rgb: Colour = HAIRS[0]
    hair: HairStyle = "bob"
    knit_rgb: Colour = KNITS[0]
    shirt_rgb: Colour = SHIRTS[0]
    eye_rgb: Colour = EYES[0]
    makeup: float = 1.0
    room_seed: int = 2
    offset_x: float = 0.0
    scale: float = 1.0
    motion: float = 1.0
    pitch_hz: float = 196.0

    def __post_init__(self) -> None:
        """Refuse sizes that leave nothing to draw.

        Raises:
            ValueError: `scale` outside 0.2..3, `motion` outside 0..1.5, `pitch_hz` outside 70..400 or
                `makeup` outside 0..1.
        """
        limits = (("scale", 0.2, 3.0), ("motion", 0.0, 1.5), ("pitch_hz", 70.0, 400.0), ("makeup", 0.0, 1.0))
        for name, low, high in limits:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"Look.{name} is {value}; choose a value from {low} to {high}")


def varied_look(seed: int) -> Look:
    """A look drawn from the palettes: the same seed gives the same look, neighbouring seeds differ."""
    random = np.random.default_rng(seed)
    hair: HairStyle = "short" if random.random() < 0.5 else "bob"
    return replace(
        Look(),
        skin_rgb=SKINS[int(random.integers(len(SKINS)))],
        hair_rgb=HAIRS[int(random.integers(len(HAIRS)))],
        hair=hair,
        knit_rgb=KNITS[seed % len(KNITS)],
        shirt_rgb=SHIRTS[int(random.integers(len(SHIRTS)))],
        eye_rgb=EYES[int(random.integers(len(EYES)))],
        makeup=0.1 if hair == "short" else 1.0,
        room_seed=seed,
        pitch_hz=118.0 if hair == "short" else 196.0,
    )
