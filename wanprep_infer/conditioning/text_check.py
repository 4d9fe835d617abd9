"""Whether a stored text embedding is one that a model was trained with."""

from __future__ import annotations

from schemas import NegativeTextRecord, TextRecord
from wanprep_infer.conditioning.unfit import UnfitConditioning


class UnfitText(UnfitConditioning):
    """The text embedding is not what the model was trained with; the message says how to make one that is."""


def unfit_text(
    record: TextRecord | NegativeTextRecord, *, backend: str = "umt5", channels: int | None = None
) -> str | None:
    """Why a model cannot take this embedding, in one sentence; None when it can.

    Args:
        backend: of the encoder that the model was trained with.
        channels: width of the states that it takes (`text_dim` in its config; 4096 in all Wan2.2 models); None:
            any.
    """
    stage = "negative_text" if isinstance(record, NegativeTextRecord) else "text"
    if record.backend != backend:
        return (
            f"the {stage} embedding was made by {record.backend} and the model was trained with {backend}: "
            f"run again with --set {stage}.backend={backend}"
        )
    if channels is not None and record.channels != channels:
        return (
            f"the {stage} embedding has {record.channels} channels and the model takes {channels}: "
            f"run again with the encoder that belongs to it ({stage}.model)"
        )
    return None


def check_text(
    record: TextRecord | NegativeTextRecord, *, backend: str = "umt5", channels: int | None = None
) -> None:
    """Lets through what `unfit_text` finds nothing wrong with.

    Raises:
        UnfitText: anything else.
    """
    if why_not := unfit_text(record, backend=backend, channels=channels):
        raise UnfitText(why_not)
