"""What a job asks of a kind of generation: its settings, a clip's conditioning, a model's facts, a pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel

from wanprep.store.clip import StoredClip
from wanprep.store.store import Store
from wanprep_infer.load_options import Options
from wanprep_infer.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from wanprep_infer.output.video_file import Sound

Rounding = Literal["truncate", "nearest"]


class Conditioning(Protocol):
    """What a clip gives a model; opened cheaply, its tensors are read when the pipeline asks for them."""

    @property
    def keys(self) -> Mapping[str, str]:
        """Artifact -> key, of all that is used."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def fps(self) -> Fraction: ...


@dataclass(frozen=True, slots=True)
class Work:
    """How much a generation is."""

    segments: int
    steps: int  # denoising steps of each segment
    frames: int  # of the whole output


class Pipeline(Protocol):
    """A loaded model."""

    def check(self, conditioning: Any, settings: Any) -> None:
        """Raises what does not fit together, as one sentence."""

    def generate(
        self, conditioning: Any, settings: Any, seed: int, progress: Progress | None = None
    ) -> Iterator[Tensor]:
        """Frames as they become final, float32 [3, T, height, width], -1 to 1; `Work.frames` in all."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model without loading it."""

    digests: dict[str, str]  # part -> digest
    parameters: int  # of the transformer


class Generator(Protocol):
    """A kind of generation. Stateless; `load` alone needs the model libraries."""

    name: ClassVar[str]
    version: ClassVar[int]  # raise it when the same request gives other frames
    Settings: ClassVar[type[BaseModel]]
    unkeyed: ClassVar[frozenset[str]]  # settings that do not change frames

    def settings(self, fields: Mapping[str, Any]) -> BaseModel:
        """The settings of these fields, defaults for the rest.

        Raises:
            pydantic.ValidationError: an unknown field or a bad value.
        """

    def mode(self, settings: Any) -> str:
        """The word in output names, such as `replace`."""

    def conditioning(self, clip: StoredClip, settings: Any) -> Conditioning:
        """Raises:
        UnfitConditioning: the clip cannot be given to the model; one sentence.
        """

    def work(self, conditioning: Any, settings: Any) -> Work: ...

    def sound(self, store: Store, clip: StoredClip, conditioning: Any, settings: Any) -> Sound | None:
        """What sounds in the output file."""

    def rounding(self, settings: Any) -> Rounding:
        """How frames become bytes."""

    def model(self, name_or_path: str) -> ModelFacts:
        """Raises:
        ModelMissing, ModelBroken: there is no such model, or it is of another kind.
        """

    def load(self, name_or_path: str, options: Options, loras: Sequence[Any]) -> Pipeline:
        """The model on its device."""

    def preset(self, settings: Any) -> str:
        """The recipe that makes what this needs."""
