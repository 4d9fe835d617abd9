"""The negative prompts that Wan2.2's official code ships with, one file each."""

from __future__ import annotations

from importlib.resources import files


def negative_prompt(name: str) -> str:
    """The negative prompt `wan` (of Animate, T2V, I2V, TI2V), `s2v` or `empty`, as published."""
    return (files("stages.text") / "prompts" / f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")
