"""What of an Animate generation can be chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from wanprep.animate.face_pixels import PixelRounding


class AnimateSettings(BaseModel):
    """How Wan2.2-Animate generates. Numbers are those of the Wan2.2 official code where nothing else is said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["animate", "replace"] = Field(
        default="animate",
        description="animate: the reference picture's character moves like the driving person, before the reference's "
        "background; replace: the character takes the person's place in the driving video.",
    )
    compat: Literal["official", "diffusers"] = Field(
        default="official",
        description="Whose numbers: Wan's own code, or diffusers' WanAnimatePipeline, which differs in rounding, in "
        "noise levels, in the negative prompt, and in how the reference picture came to CLIP.",
    )
    steps: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="Denoising steps a segment: time grows with them, fewer lose detail; distilled LoRAs take 4 to 8.",
    )
    shift: float = Field(
        default=5.0,
        gt=0,
        le=100,
        description="How far the steps lean towards high noise: more settles layout and motion, less fine detail.",
    )
    solver: Literal["unipc", "dpm++"] = Field(
        default="unipc",
        description="unipc holds up with fewer steps; dpm++ is the official code's other choice, and not diffusers'.",
    )
    guidance: float = Field(
        default=1.0,
        ge=0,
        le=50,
        description="How strongly text and face are followed. Animate is meant for 1; above 1 every step runs the "
        "model twice, the second time with the negative prompt and a black face, and high values oversaturate.",
    )
    negative: str | None = Field(
        default=None,
        description="Which of the store's negative prompts guidance above 1 leads away from. none: `wan`, or `empty` "
        "with compat=diffusers, as each has by default.",
    )
    keep_keys_values: bool = Field(
        default=True,
        description="Keep every block's keys and values of text, picture and face for a segment: a step takes less "
        "time, and they take memory (see docs/generate-animate.md).",
    )

    @model_validator(mode="after")
    def _diffusers_solver(self) -> AnimateSettings:
        if self.compat == "diffusers" and self.solver != "unipc":
            raise ValueError(f"solver {self.solver} is not diffusers': take unipc, or compat official")
        return self

    @property
    def guided(self) -> bool:
        """Whether every step runs the model twice."""
        return self.guidance > 1

    @property
    def negative_name(self) -> str:
        """The negative prompt that is taken."""
        return self.negative or ("wan" if self.compat == "official" else "empty")

    @property
    def rounding(self) -> PixelRounding:
        """What pixels and condition latents are rounded to: bfloat16 as in the Wan2.2 official code, or not."""
        return "bfloat16" if self.compat == "official" else "float32"

    @property
    def rounds(self) -> bool:
        """Whether they are rounded at all."""
        return self.rounding == "bfloat16"
