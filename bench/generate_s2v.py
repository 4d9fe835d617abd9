"""Wan2.2-S2V: a step with what a clip's steps share kept from one to the next, against computing it at each, on the
same random weights in the same run.

Shared are sound and text tokens with every block's keys and values, pose, reference and history tokens, rotary tables
and the modulation of timestep 0.
"""

from __future__ import annotations

import argparse
from typing import Any

from bench.generation.shapes import NAMES, SHAPES, parameters, s2v_model
from bench.generation.steps import in_turn, memory, noise, once, start
from bench.measure import show
from wanprep.models.device import check_extra

_LATENT_FRAMES = 20  # of a clip (Wan2.2 official code)
_HISTORY = 19
_TIMESTEP = 500


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench generate-s2v", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--shape", choices=NAMES, action="append", help="default: tiny and small; 14b needs a GPU"
    )
    parser.add_argument("--repeats", type=int, default=5, help="steps timed, each way")
    parser.add_argument("--latent-frames", type=int, default=_LATENT_FRAMES, help="of the clip; 20 are 5 s")
    options = parser.parse_args(arguments)
    if problem := check_extra("torch", "diffusers", "accelerate"):
        print(f"generate-s2v: {problem}")
        return
    where = start(options.device)
    shapes = options.shape or ["tiny", "small"]
    rows = [_step(shape, options.device, options.repeats, options.latent_frames) for shape in shapes]
    show(
        f"S2V, a step of {4 * options.latent_frames} frames with history ({where})",
        ["model", "picture", "kept s", "anew s", "ratio", "first step s", "peak GB", "anew GB"],
        rows,
        "bar: ratio at most 1.0",
    )


def _step(shape: str, device: str, repeats: int, frames: int) -> list[object]:
    model = s2v_model(shape, device)
    size, settings = SHAPES[shape], model.config
    # Packed history takes multiples of 64 pixels: 480 becomes 448 (the official size rule's 448x832).
    rows, columns = size.height // 64 * 8, size.width // 64 * 8
    conditions: dict[str, Any] = {
        name: value.to(model.device, model.dtype)
        for name, value in {
            "audio_LCT": noise(settings.audio_layers, settings.audio_dim, 4 * frames),
            "context_LC": noise(100, settings.text_dim),
            "reference_latents_CTHW": noise(16, 1, rows, columns),
            "motion_latents_CTHW": noise(16, _HISTORY, rows, columns),
            "pose_latents_CTHW": noise(16, frames, rows, columns),
        }.items()
    }
    latents_CTHW = noise(16, frames, rows, columns).to(model.device, model.dtype)

    def prepared(keep: bool) -> Any:
        return model.prepare(**conditions, frames=frames, keep_keys_values=keep)

    once(lambda: model.velocity(latents_CTHW, _TIMESTEP, prepared(True)), device)
    tokens = prepared(True)
    first, _ = once(lambda: model.velocity(latents_CTHW, _TIMESTEP, tokens), device)
    kept, anew, ratio = in_turn(
        lambda: model.velocity(latents_CTHW, _TIMESTEP, tokens),
        lambda: model.velocity(latents_CTHW, _TIMESTEP, prepared(False)),
        repeats,
        device,
    )
    return [
        f"{shape}, {parameters(model)}",
        f"{8 * columns}x{8 * rows}",
        kept.seconds,
        anew.seconds,
        ratio,
        first,
        memory(kept),
        memory(anew),
    ]
