"""What skeleton and face do with frames in which something is not seen."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stages.person.stage import PersonConfig
from wanprep.stage import ClipContext, Skipped

_RATE = 25.0  # frames a second of a clip that does not say


class GapConfig(PersonConfig):
    """What becomes of frames in which something is not seen."""

    fill_gaps: float = Field(
        default=1.0,
        ge=0,
        le=10,
        description="Seconds: what is missing no longer than this is interpolated over time, held at the clip's ends, "
        "and flagged in filled_T. 0 fills nothing. Motion is hardly guessed right beyond half a second.",
    )
    long_gaps: Literal["keep", "skip"] = Field(
        default="keep",
        description="The subject is missing for longer: keep leaves zeros there; skip skips the clip, with the seconds "
        "of its longest gap, so that in what is left every frame has a value.",
    )

    def limit(self, context: ClipContext) -> int:
        """`fill_gaps` in frames of the clip."""
        return round(self.fill_gaps * (context.clip.fps or _RATE))

    def seconds(self, context: ClipContext, frames: int) -> float:
        """Frames of the clip as seconds."""
        return frames / (context.clip.fps or _RATE)

    def refusal(self, what: str, seconds: float) -> Skipped | None:
        """The skip of a clip whose longest gap is of `seconds`, if that is too long."""
        if self.long_gaps == "keep" or seconds <= self.fill_gaps:
            return None
        return Skipped(f"{what} is not seen for longer than fill_gaps={self.fill_gaps:g} seconds", seconds)
