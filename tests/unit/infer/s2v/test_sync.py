"""Picture and sound in step: from an event in the sound to the frame that shows it, and in the finished file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers.s2v_conditioning import Hearing, Showing, conditioning, write_clicks  # noqa: E402

from wanprep.media.audio import read_audio  # noqa: E402
from wanprep_infer.output.pixels import to_uint8_THWC  # noqa: E402
from wanprep_infer.output.video_file import VideoFile  # noqa: E402
from wanprep_infer.s2v import S2VPipeline, S2VSettings, plan_of, sound_of  # noqa: E402

FRAME = 1 / 16  # seconds
SECONDS = 3.0


def generated(folder: Path, event: float, settings: S2VSettings) -> Path:
    """A finished file: dark until the states of the sound change, its sound a click at `event`."""
    length = int(SECONDS * 30) - 1
    times_T = np.arange(length) * SECONDS / length
    levels_T = np.where(times_T < event, -0.5, 0.8).astype(np.float32)
    given = conditioning(
        SECONDS,
        audio_TLC=np.broadcast_to(levels_T[:, None, None], (length, 25, 4)),
        settings=settings,
        sound_uri=str(write_clicks(folder / "clicks.wav", SECONDS, [event])),
    )
    out = folder / "out.mp4"
    frames = S2VPipeline(Hearing(), Showing()).generate(given, settings, 0)
    with VideoFile(out, fps=given.fps, width=64, height=64, sound=sound_of(given, settings)) as video:
        for part_CTHW in frames:
            video.add(to_uint8_THWC(part_CTHW, "nearest"))
    return out


def seen_and_heard(file: Path) -> tuple[float, float, int, float]:
    """When the picture turns bright and when the click comes, in seconds of the file; frames and seconds of sound."""
    with av.open(str(file)) as container:
        pictures = [
            (frame.time or 0.0, frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)
        ]
        assert container.streams.video[0].average_rate == 16
    bright = next(time for time, level in pictures if level > 128)
    samples = np.concatenate(list(read_audio(str(file), origin=pictures[0][0])))
    return bright, float(np.argmax(np.abs(samples) > 0.2)) / 16_000, len(pictures), len(samples) / 16_000


@pytest.mark.parametrize("event", [0.8, 1.53, 2.26])
@pytest.mark.parametrize(
    ("chosen", "lead", "frames"),
    [
        ({}, 0.0, 48),
        ({"opening": "keep"}, 0.0, 48),
        ({"opening": "cut"}, 0.0, 45),
        ({"drop_first_motion": False}, 0.0, 48),
        ({"compat": "official"}, 3 * FRAME, 45),
    ],
)
def test_a_click_is_heard_when_it_is_seen(
    event: float, chosen: dict[str, Any], lead: float, frames: int, tmp_path: Path
) -> None:
    """In step to within a frame; the official output's picture is 187.5 ms early."""
    settings = S2VSettings.model_validate({"steps": 2, "frames_per_clip": 16, "guidance": 1.0, **chosen})
    bright, click, count, seconds = seen_and_heard(generated(tmp_path, event, settings))
    assert abs(click - bright - lead) < FRAME
    assert count == frames and seconds <= frames * FRAME + 0.1
    # The sound is where it was, but for what the picture leaves out.
    cut = 3 * FRAME if chosen.get("opening") == "cut" else 0.0
    assert abs(click - (event - cut)) < 0.03


def test_two_events_a_clip_apart_stay_a_clip_apart(tmp_path: Path) -> None:
    """No drift: clips follow each other without a frame lost or shown twice."""
    settings = S2VSettings(steps=2, frames_per_clip=16, guidance=1.0)
    found = [seen_and_heard(generated(tmp_path, event, settings))[0] for event in (0.75, 1.75, 2.75)]
    np.testing.assert_allclose(np.diff(found), 1.0, atol=FRAME)


@pytest.mark.slow
def test_the_encoder_hears_an_event_where_the_conditioning_has_it(tmp_path: Path) -> None:
    """Through the real stage: the first frame whose states move is on screen when a sound begins.

    Sounds last 80 ms: of 30 states a second S2V takes 16, so that a shorter one may fall between.
    """
    events = (0.8, 1.53, 2.26)
    states_TLC = encoded(tmp_path, write_clicks(tmp_path / "clicks.wav", SECONDS, events, 0.08))
    change_TLC = np.abs(states_TLC - np.median(states_TLC, 0))[:, :1]
    settings = S2VSettings(frames_per_clip=16)
    given = conditioning(SECONDS, audio_TLC=np.repeat(change_TLC, 25, 1), settings=settings)
    heard_T = np.concatenate([given.audio_LCT(clip)[0].mean(0) for clip in range(3)])
    plan = plan_of(given, settings)
    moved = np.array([heard_T[plan.step_of(frame)] for frame in range(plan.frames)])
    for event in events:
        near = np.arange(round((event - 0.3) * 16), round((event + 0.3) * 16))
        frame = near[np.argmax(moved[near] > 0.1)]
        assert abs(frame * FRAME - event) <= FRAME


def encoded(folder: Path, sound: Path) -> Any:
    """States of a sound file at 30 a second, float32 [T,L,C], by the stage and a tiny encoder.

    The encoder's positional convolution, which looks 1.3 s to both sides with random weights, is set to nothing.
    """
    from safetensors.torch import load_file, save_file

    import wanprep
    from wanprep.models.tiny_wav2vec2 import make

    make(folder / "model", 0)
    weights = folder / "model" / "model.safetensors"
    tensors = load_file(weights)
    (gain,) = [
        name for name in tensors if "pos_conv_embed" in name and name.endswith(("original0", "weight_g"))
    ]
    save_file({**tensors, gain: torch.zeros_like(tensors[gain])}, weights, metadata={"format": "pt"})
    recipe = {"stages": {"audio": {"backend": "wav2vec2", "model": str(folder / "model")}}}
    summary = wanprep.run(str(sound), store=str(folder / "store"), recipe=recipe, engine="inline")
    assert not summary.failed
    (clip,) = wanprep.open(str(folder / "store")).clips()
    return np.array(clip.audio.states_TLC, np.float32)
