"""Stage `caption`, its backends and its prompt templates."""

from stages.caption.config import CaptionConfig, ServerConfig
from stages.caption.stage import Caption

__all__ = ["Caption", "CaptionConfig", "ServerConfig"]
