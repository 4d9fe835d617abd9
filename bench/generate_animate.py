"""Wan2.2-Animate: a clip from the store against diffusers' pipeline from raw inputs, and a step against its forward
pass, on the same random weights in the same run.

A step here has what a segment's steps share behind it (motion vectors, text, image and face keys and values, pose);
diffusers' forward pass computes all of it at each step. The small encoders of the whole run flatter diffusers: the
real ones weigh 11 GB and more.
"""

from __future__ import annotations

import argparse
from typing import Any

from bench.generation.shapes import NAMES, SHAPES, animate_model, parameters
from bench.generation.steps import in_turn, memory, noise, once, start
from bench.measure import show
from wanprep.models.device import check_extra

_FRAMES = 77  # of a segment (Wan2.2 official code)
_TIMESTEP = 500


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench generate-animate", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--shape", choices=NAMES, action="append", help="default: tiny and small; 14b needs a GPU"
    )
    parser.add_argument("--repeats", type=int, default=5, help="steps timed, each way")
    parser.add_argument("--steps", type=int, default=4, help="of the whole clip")
    parser.add_argument(
        "--frames", type=int, default=_FRAMES, help="of the segment that steps are timed on, 4n+1"
    )
    parser.add_argument("--no-whole", action="store_true", help="steps alone")
    options = parser.parse_args(arguments)
    if problem := check_extra("torch", "diffusers", "transformers", "accelerate"):
        print(f"generate-animate: {problem}")
        return
    shapes = options.shape or ["tiny", "small"]
    where = start(options.device)
    rows = [_step(shape, options.device, options.repeats, options.frames) for shape in shapes]
    show(
        f"Animate, a step of {options.frames} frames ({where})",
        [
            "model",
            "picture",
            "ours s",
            "diffusers s",
            "ratio",
            "once a segment s",
            "kept MB",
            "peak GB",
            "diffusers GB",
        ],
        rows,
        "bar: ratio at most 1.0",
    )
    # Of 14B there are no weights to load, and a clip's end is not in question.
    whole = [shape for shape in shapes if shape != "14b" and not options.no_whole]
    if whole:
        _whole(whole, options.steps, options.device, where)


def _step(shape: str, device: str, repeats: int, frames: int) -> list[object]:
    from wanprep_infer.models.animate_transformer import AnimateTransformer

    model = animate_model(shape, device)
    transformer = AnimateTransformer(model, model.device, model.dtype)
    size = SHAPES[shape]
    rows, columns, latent = size.height // 8, size.width // 8, (frames - 1) // 4 + 1
    side = transformer.face_size
    inputs: dict[str, Any] = {
        name: value.to(model.device, model.dtype)
        for name, value in {
            "context_LC": noise(512, transformer.text_channels),
            "image_embed_TC": noise(257, transformer.image_channels),
            "pose_latents_CTHW": noise(16, latent, rows, columns),
        }.items()
    }
    latents_CTHW, y_CTHW, faces_CTHW = (
        value.to(model.device, model.dtype)
        for value in (
            noise(16, latent + 1, rows, columns),
            noise(20, latent + 1, rows, columns),
            noise(3, frames, side, side).clamp(-1, 1),
        )
    )
    made: list[Any] = []

    def once_a_segment() -> None:
        made.append(transformer.prepare(**inputs, motion_TC=transformer.motion_vectors(faces_CTHW)))
        # Keys and values are computed in the first step that needs them.
        transformer.velocity(latents_CTHW, y_CTHW, _TIMESTEP, made[-1])

    def theirs() -> None:
        transformer.velocity_plain(latents_CTHW, y_CTHW, _TIMESTEP, **inputs, face_pixels_CTHW=faces_CTHW)

    once(once_a_segment, device)
    made.clear()
    first, _ = once(once_a_segment, device)
    (tokens,) = made
    ours, other, ratio = in_turn(
        lambda: transformer.velocity(latents_CTHW, y_CTHW, _TIMESTEP, tokens), theirs, repeats, device
    )
    return [
        f"{shape}, {parameters(model)}",
        f"{size.width}x{size.height}",
        ours.seconds,
        other.seconds,
        ratio,
        max(0.0, first - ours.seconds),
        tokens.nbytes / 1e6,
        memory(ours),
        memory(other),
    ]


def _whole(shapes: list[str], steps: int, device: str, where: str) -> None:
    from bench.generation.whole import compared

    rows: list[list[object]] = []
    for shape in shapes:
        for name, found in zip(("ours", "diffusers"), compared(shape, steps, device), strict=True):
            rows.append(
                [
                    f"{shape}, {name}",
                    found["load"],
                    found["generate"],
                    found["wall"],
                    found["peak_bytes"] / 1e6,
                    found["gpu_peak_bytes"] / 1e9 if device == "cuda" else "-",
                ]
            )
    show(
        f"Animate, one clip of two segments, {steps} steps ({where})",
        ["way", "load s", "generate s", "wall s", "peak MB", "GPU GB"],
        rows,
        "ours from the store's conditioning, diffusers from pose and face videos, reference and prompt",
    )
