"""One clip from start to end: ours from the store's conditioning, diffusers' pipeline from pictures and a prompt."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import numpy as np

from bench.clips import drawn_clip
from bench.generation.shapes import animate_model
from bench.measure import WORK

PROMPT = "A woman dances"
_ENCODERS = ("umt5-xxl", "clip-vit-h-14", "wan2.1-vae", "wan2.2-animate-14b")
_AREA = 64 * 64
_SECONDS = 4.0  # 120 frames: two segments of 77


def prepared() -> tuple[Path, Path, Path]:
    """A folder of models, a store, and what diffusers takes of it (pose and face videos, reference); made once."""
    folder = WORK / "generate-animate"
    done = folder / "done"
    models, store, raw = folder / "models", folder / "store", folder / "raw"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _run("wanprep", "models", "tiny", str(models), *_ENCODERS)
        video = drawn_clip(_SECONDS)
        picture = _first_picture(video, folder / "reference.png")
        _run(
            *(
                "wanprep",
                "run",
                str(video),
                "--reference",
                str(picture),
                "--prompt",
                PROMPT,
                "--preset",
                "animate",
            ),
            *("--models", str(models), "--store", str(store), "--engine", "inline", "--strict"),
            *("--set", f"shared.size.area={_AREA}"),
        )
        _run("wanprep", "export", str(store), "--to", "wan22", str(raw))
        done.touch()
    (clip,) = (path.parent for path in raw.rglob("src_pose.mp4"))
    return models, store, clip


def generator(models: Path, shape: str) -> Path:
    """A pipeline folder whose transformer is of a shape: the tiny one, with another transformer where need be."""
    tiny = models / "wan2.2-animate-14b"
    if shape == "tiny":
        return tiny
    folder = models / f"animate-{shape}"
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tiny, folder, ignore=shutil.ignore_patterns("transformer", ".*"))
        from diffusers import WanAnimateTransformer3DModel

        model = animate_model(shape, "cpu")
        plain: Any = WanAnimateTransformer3DModel
        same = plain.from_config(dict(model.config))
        same.load_state_dict(model.state_dict())
        same.save_pretrained(folder / "transformer")
        (folder / "done").touch()
    return folder


def compared(shape: str, steps: int, device: str) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds and bytes of both, each in a fresh process."""
    models, store, raw = prepared()
    model = generator(models, shape)
    return tuple(  # type: ignore[return-value]
        json.loads(_child(name, str(model), str(store), str(raw), str(steps), device))
        for name in ("ours", "diffusers")
    )


def _child(*arguments: str) -> str:
    return _run("bench.generation.whole", *arguments).splitlines()[-1]


def _run(*arguments: str) -> str:
    """A module's output; what it says besides is shown when it fails."""
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _first_picture(video: Path, path: Path) -> Path:
    with av.open(str(video)) as container:
        next(container.decode(video=0)).to_image().save(path)
    return path


def ours(model: str, store: str, raw: str, steps: int, device: Any) -> dict[str, float]:
    """Loads transformer and VAE, and generates from the store."""
    from diffusers import AutoencoderKLWan  # noqa: F401 - the library is loaded before the clock starts, as below

    import wanprep
    from wanprep_infer.animate import AnimatePipeline
    from wanprep_infer.animate.settings import AnimateSettings
    from wanprep_infer.conditioning.animate import AnimateConditioning
    from wanprep_infer.models import animate_transformer  # noqa: F401
    from wanprep_infer.output.pixels import to_uint8_THWC
    from wanprep_infer.output.video_file import VideoFile

    started = time.perf_counter()
    pipeline = AnimatePipeline.from_pretrained(
        model, device=device, precision="bfloat16" if device == "cuda" else "float32"
    )
    loaded = time.perf_counter()
    (clip,) = wanprep.open(store).clips()
    conditioning = AnimateConditioning.from_clip(clip, "animate")
    video = Path(raw) / "ours.mp4"
    with VideoFile(video, fps=conditioning.fps, width=conditioning.width, height=conditioning.height) as file:
        for frames_CTHW in pipeline.generate(conditioning, AnimateSettings(steps=steps), seed=0):
            file.add(to_uint8_THWC(frames_CTHW, "truncate"))
    return {"load": loaded - started, "generate": time.perf_counter() - loaded}


def diffusers(model: str, store: str, raw: str, steps: int, device: str) -> dict[str, float]:
    """Loads the whole pipeline, and generates from pictures and a prompt."""
    import torch
    from diffusers import WanAnimatePipeline
    from PIL import Image

    from wanprep_infer.output.video_file import VideoFile

    started = time.perf_counter()
    library: Any = WanAnimatePipeline
    # The VAE in float32, as ours.
    dtypes = {"vae": torch.float32, "default": torch.bfloat16 if device == "cuda" else torch.float32}
    pipeline = library.from_pretrained(model, torch_dtype=dtypes, local_files_only=True).to(device)
    pipeline.set_progress_bar_config(disable=True)
    loaded = time.perf_counter()
    poses, faces = (_pictures(Path(raw) / name) for name in ("src_pose.mp4", "src_face.mp4"))
    width, height = poses[0].size
    frames_THWC = pipeline(
        image=Image.open(Path(raw) / "src_ref.png").convert("RGB"),
        pose_video=poses,
        face_video=faces,
        prompt=PROMPT,
        width=width,
        height=height,
        num_inference_steps=steps,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    ).frames[0]
    with VideoFile(Path(raw) / "diffusers.mp4", fps=30, width=width, height=height) as file:
        file.add((np.asarray(frames_THWC) * 255).round().astype(np.uint8))
    return {"load": loaded - started, "generate": time.perf_counter() - loaded}


def _pictures(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def main(arguments: list[str]) -> None:
    from bench.generation.steps import start
    from wanprep_infer.jobs.memory_use import gpu_peak_bytes, process_peak_bytes

    name, model, store, raw, steps, device = arguments
    started = time.perf_counter()
    start(device)
    spent = {"ours": ours, "diffusers": diffusers}[name](model, store, raw, int(steps), device)
    spent |= {"wall": time.perf_counter() - started}
    print(json.dumps({**spent, "peak_bytes": process_peak_bytes(), "gpu_peak_bytes": gpu_peak_bytes()}))


if __name__ == "__main__":
    main(sys.argv[1:])
