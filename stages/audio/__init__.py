"""Sound features: log-mel, loudness, voicing, pitch."""

from stages.audio.stage import Audio, AudioConfig

__all__ = ["Audio", "AudioConfig"]
