"""LoRAs: named on the command line, read in the formats they are published in, attached to a transformer."""

from __future__ import annotations

from wanprep_infer.lora.attach import Lora, attach, attach_tensors

__all__ = ["Lora", "attach", "attach_tensors"]
