"""The error of conditioning that a model cannot take."""

from __future__ import annotations

from wanprep.errors import WanprepError


class UnfitConditioning(WanprepError):
    """A clip's conditioning lacks something, does not fit together, or was made for another model; the message is one
    sentence that names the clip and says what makes it right."""
