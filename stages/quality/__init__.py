"""Numbers to filter clips by."""

from stages.quality.stage import Quality, QualityConfig

__all__ = ["Quality", "QualityConfig"]
