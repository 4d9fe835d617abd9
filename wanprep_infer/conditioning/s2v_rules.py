"""What of a clip's artifacts Wan2.2-S2V cannot take, and what of them a user should hear: one sentence each."""

from __future__ import annotations

from schemas import AudioRecord, ClipRecord, LatentsRecord, NegativeTextRecord
from wanprep.errors import MediaError
from wanprep.media.probe import probe
from wanprep.media.source import is_remote
from wanprep.media.speech_frames import STATES_RATE, VIDEO_RATE
from wanprep.models.vae_sizes import S2V_MULTIPLE
from wanprep_infer.conditioning.latents_check import unfit_latents
from wanprep_infer.s2v.settings import S2VSettings

NEGATIVE_PROMPT = "s2v"  # its name in `negative_text`
POSE = "s2v_pose_latents"
_SILENCE = -60.0  # dB of full scale; a quiet room's noise is louder


def unfit_audio(record: AudioRecord) -> str | None:
    """Why S2V cannot take this sound; None when it can."""
    if record.states_TLC is None:
        return (
            f"its sound was encoded by {record.backend}, which is no speech encoder, and Wan2.2-S2V takes wav2vec2 "
            "states: run again with --set audio.backend=wav2vec2"
        )
    if record.states_rate != STATES_RATE:
        return (
            f"its sound's states come {record.states_rate:g} times a second and Wan2.2-S2V takes {STATES_RATE:g}: "
            "run `wanprep run --preset s2v` again"
        )
    if not len(record.states_TLC):
        return f"its sound of {record.seconds:.3f} s is too short for a frame; give it longer sound"
    return None


def unfit_reference(record: LatentsRecord) -> str | None:
    """Why S2V cannot take these latents of a reference picture; None when it can."""
    if why_not := unfit_latents(record, channels=16):
        return why_not
    size = "--set reference_latents.size.s2v_area=720896"
    if record.fit != "s2v":
        return (
            f"its reference picture was fitted by the rule '{record.fit}' and Wan2.2-S2V takes s2v: "
            f"run again with --set reference_latents.fit=s2v {size}"
        )
    if record.width % S2V_MULTIPLE or record.height % S2V_MULTIPLE:
        return (
            f"its reference latents are for {record.width}x{record.height} and Wan2.2-S2V takes multiples of "
            f"{S2V_MULTIPLE}: run again with {size}"
        )
    return None


def unfit_negative(record: NegativeTextRecord) -> str | None:
    """Why guidance cannot take these negative prompts; None when it can."""
    if NEGATIVE_PROMPT in record.names:
        return None
    return (
        f"its negative_text has no prompt '{NEGATIVE_PROMPT}' (there are: {', '.join(record.names)}): "
        f"run again with --set negative_text.prompts=[{NEGATIVE_PROMPT}], or take guidance 1"
    )


def unfit_pose(record: LatentsRecord, reference: LatentsRecord, settings: S2VSettings) -> str | None:
    """Why these pose latents do not go with the reference and the settings; None when they do."""
    if record.backend != "vae" or record.channels != reference.channels:
        return f"its {POSE} were made by {record.vae}, not by Wan2.1's VAE: run again with --set {POSE}.backend=vae"
    if (record.width, record.height) != (reference.width, reference.height):
        return (
            f"its {POSE} are for {record.width}x{record.height} and its reference_latents for "
            f"{reference.width}x{reference.height}: run `wanprep run` again with one size for both, or take pose none"
        )
    wanted = settings.frames_per_clip + 1
    if record.segment_frames != wanted:
        return (
            f"its {POSE} are for clips of {record.segment_frames - 1} frames and {settings.frames_per_clip} are asked "
            f"for: take frames_per_clip {record.segment_frames - 1}, or run `wanprep run` again with theirs"
        )
    starts = [clip * settings.frames_per_clip for clip in range(record.segments)]
    if record.segment_starts != starts:
        return f"its {POSE} do not follow each other clip by clip: run `wanprep run` again, or take pose none"
    return None


def smallness(reference: LatentsRecord) -> tuple[str, ...]:
    """What to say of a reference picture that makes a video of the least size."""
    width, height = reference.width, reference.height
    if min(width, height) > S2V_MULTIPLE:
        return ()
    return (
        f"the video is only {width}x{height}, by the size of its reference picture: a larger one shows more",
    )


def silence(audio: AudioRecord) -> tuple[str, ...]:
    """What to say of sound without a sound."""
    if audio.mean_loudness >= _SILENCE:
        return ()
    return (f"the sound is silent ({audio.mean_loudness:.0f} dB on average): lips have nothing to follow",)


def sound_seconds(record: ClipRecord, audio: AudioRecord) -> tuple[float, tuple[str, ...]]:
    """How long the clip's sound is, and what to say of it.

    States are made for the length of the clip's video where it has one: sound of a file of its own was cut to that, or
    filled up with silence, which no frames are made for.
    """
    if record.audio is None or record.video is None or is_remote(record.audio):
        return audio.seconds, ()
    try:
        found = probe(record.audio).audio
    except (MediaError, OSError):  # it is needed for the output's sound alone, which says so
        return audio.seconds, ()
    seconds = audio.seconds if found is None else max(0.0, found.seconds - record.start)
    if seconds > audio.seconds + 1 / VIDEO_RATE:
        why = f"its sound lasts {seconds:.2f} s and its video {audio.seconds:.2f} s: the rest of the sound is not used"
        return audio.seconds, (why,)
    return min(seconds, audio.seconds), ()
