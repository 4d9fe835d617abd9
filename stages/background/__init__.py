"""Stage `background`: what replacement keeps of the driving video, kept as pictures."""

from stages.background.stage import Background, BackgroundConfig

__all__ = ["Background", "BackgroundConfig"]
