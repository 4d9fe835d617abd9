"""Speech states are the encoder's own, whole or in windows, and every bad sound or checkpoint has a cause."""

import functools
import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

import wanprep
from schemas import AudioRecord, ClipRecord
from schemas.tensor import BFLOAT16
from stages.audio import Audio, AudioConfig
from stages.audio.normalise import WaveformStatistics
from stages.audio.wav2vec2 import Wav2Vec2Encoder
from wanprep.errors import MediaError, UsageError
from wanprep.key import stage_spec
from wanprep.media.speech_frames import bucket, encoder_steps, interpolate_TLC, interpolated_length
from wanprep.models.errors import ModelBroken, ModelOutOfMemory
from wanprep.models.tiny_components import AUDIO_WIDTH
from wanprep.models.tiny_wav2vec2 import LAYERS, make
from wanprep.stage import ClipContext, Skipped

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

RATE = 16_000
Samples = NDArray[np.float32]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "wav2vec2"
    make(folder, 0)
    return folder


@pytest.fixture(scope="module")
def encoder(tiny: Path) -> Wav2Vec2Encoder:
    return Wav2Vec2Encoder(tiny, "cpu")


def speech(seconds: float, seed: int = 1) -> Samples:
    """Noise whose loudness comes and goes, off zero."""
    count = round(seconds * RATE)
    noise = np.random.default_rng(seed).standard_normal(count)
    loud = 0.02 + 0.1 * np.abs(np.sin(np.arange(count) / RATE * 7))
    return (loud * noise + 0.01).astype(np.float32)


def write(
    path: Path, sound_CN: Samples, rate: int = RATE, layout: str = "mono", codec: str = "pcm_s16le"
) -> str:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        if codec == "pcm_s16le":
            packed = np.round(np.clip(sound_CN, -1, 1).T.reshape(1, -1) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
        else:
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(sound_CN.T.reshape(1, -1)), format="flt", layout=layout
            )
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


@functools.cache
def loaded(config: AudioConfig) -> Audio:
    stage = Audio(config)
    stage.setup()
    return stage


def run(folder: Path, tiny: Path, uri: str, **settings: object) -> AudioRecord | Skipped:
    stage = loaded(AudioConfig(backend="wav2vec2", model=str(tiny), device="cpu", **settings))  # type: ignore[arg-type]
    context = ClipContext(ClipRecord(clip_id="clip", recipe="recipe", audio=uri), {}, folder)
    return stage.run(context, {})


def record(folder: Path, tiny: Path, sound: Samples, **settings: object) -> AudioRecord:
    found = run(folder, tiny, write(folder / "sound.wav", sound[None]), **settings)
    assert isinstance(found, AudioRecord)
    return found


def normalised(sound: Samples) -> Samples:
    statistics = WaveformStatistics()
    statistics.add(sound)
    return statistics.normalised(sound)


def test_a_tiny_checkpoint_is_the_same_for_a_seed_and_complete(tiny: Path, tmp_path: Path) -> None:
    make(tmp_path / "same", 0)
    make(tmp_path / "other", 1)
    files = sorted(path.name for path in tiny.iterdir())
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "vocab.json"} <= set(files)
    for name in files:
        assert (tmp_path / "same" / name).read_bytes() == (tiny / name).read_bytes()
    weights = (tmp_path / "other/model.safetensors").read_bytes()
    assert weights != (tiny / "model.safetensors").read_bytes()
    _, info = transformers.Wav2Vec2ForCTC.from_pretrained(
        tiny, local_files_only=True, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    processor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(tiny, local_files_only=True)
    assert processor.do_normalize
    assert transformers.Wav2Vec2CTCTokenizer.from_pretrained(tiny, local_files_only=True).vocab_size == 33


def test_normalisation_is_the_processors(tiny: Path) -> None:
    sound = speech(1.7)
    processor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(tiny, local_files_only=True)
    expected = processor(sound, sampling_rate=RATE, return_tensors="np").input_values[0]
    np.testing.assert_allclose(normalised(sound), expected, atol=2e-6)


def test_states_are_the_librarys_but_the_last_one_is_after_the_final_norm(
    tiny: Path, encoder: Wav2Vec2Encoder
) -> None:
    sound = normalised(speech(1.2))
    model = transformers.Wav2Vec2Model.from_pretrained(tiny, local_files_only=True).eval()
    with torch.no_grad():
        output = model(torch.from_numpy(sound)[None], output_hidden_states=True)
        last = output.hidden_states[-1]
        after = model.encoder.layer_norm(last)
    blocks = list(encoder.states(sound))
    states_TLC = np.concatenate(blocks)
    assert states_TLC.shape == (encoder_steps(len(sound)), LAYERS + 1, AUDIO_WIDTH)
    assert states_TLC.dtype == np.float32
    expected = [state[0].numpy() for state in (*output.hidden_states[:-1], output.last_hidden_state)]
    np.testing.assert_allclose(states_TLC, np.stack(expected, axis=1), atol=1e-5)
    # Under either version of the library the last state is normalised once.
    once = output.last_hidden_state
    assert torch.allclose(once, after, atol=1e-5) or torch.allclose(once, last, atol=1e-5)
    np.testing.assert_allclose(states_TLC[:, -1], once[0].numpy(), atol=1e-5)
    inner = (
        states_TLC[:, -1] - load_file(tiny / "model.safetensors")["wav2vec2.encoder.layer_norm.bias"]
    ) / (load_file(tiny / "model.safetensors")["wav2vec2.encoder.layer_norm.weight"])
    np.testing.assert_allclose(inner.mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(inner.std(axis=1), 1, atol=1e-3)


def test_a_record_holds_states_at_thirty_a_second_and_the_features_besides(
    tmp_path: Path, tiny: Path, encoder: Wav2Vec2Encoder
) -> None:
    sound = np.round(speech(2.5) * 32767).astype(np.float32) / 32768
    found = record(tmp_path, tiny, sound, storage="float32")
    frames = interpolated_length(encoder_steps(len(sound)))
    assert (found.backend, found.states_rate, found.windows) == ("wav2vec2", 30.0, 1)
    assert (found.encoder, found.precision, found.device) == ("wav2vec2", "float32", "cpu")
    states_LTC = found.states_LTC()
    assert states_LTC.shape == (LAYERS + 1, frames, AUDIO_WIDTH)
    expected = interpolate_TLC(np.concatenate(list(encoder.states(normalised(sound)))))
    np.testing.assert_allclose(states_LTC, expected.transpose(1, 0, 2), atol=2e-3)
    plain = Audio(AudioConfig()).run(
        ClipContext(
            ClipRecord(clip_id="clip", recipe="recipe", audio=str(tmp_path / "sound.wav")), {}, tmp_path
        ),
        {},
    )
    assert isinstance(plain, AudioRecord)
    assert plain.states_TLC is None
    assert found.encoder_digest and plain.encoder_digest is None
    np.testing.assert_array_equal(np.asarray(found.loudness_T), np.asarray(plain.loudness_T))
    np.testing.assert_array_equal(np.asarray(found.features_TC), np.asarray(plain.features_TC))
    with pytest.raises(ValueError, match=r"audio\.backend=wav2vec2"):
        plain.states_LTC()


def test_stored_states_are_the_rounded_ones(tmp_path: Path, tiny: Path) -> None:
    full = record(tmp_path, tiny, speech(1.0), storage="float32").states_LTC()
    half = record(tmp_path, tiny, speech(1.0))
    assert half.states_TLC is not None
    assert half.states_TLC.dtype == BFLOAT16
    rounded = torch.from_numpy(full).to(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(half.states_LTC(), rounded)


def test_long_sound_in_windows_is_close_to_one_pass(tmp_path: Path, tiny: Path) -> None:
    sound = speech(12.0)
    whole = record(tmp_path, tiny, sound, storage="float32")
    parts = record(tmp_path, tiny, sound, storage="float32", one_pass_seconds=5.0, context_seconds=1.5)
    assert whole.windows == 1
    assert parts.windows is not None
    assert parts.windows >= 4
    one, many = whole.states_LTC(), parts.states_LTC()
    assert one.shape == many.shape
    # The input of the first layer sees no further than the positional convolution, which the context covers.
    np.testing.assert_allclose(many[0], one[0], atol=1e-4)
    gaps = np.abs(many - one).mean(axis=(1, 2)) / np.abs(one).mean(axis=(1, 2))
    assert gaps.max() < 0.12  # with random weights, which attend to near and far alike
    assert np.abs(many[1:] - one[1:]).max() > 0  # attention does see further


def test_one_pass_is_kept_up_to_its_limit(tmp_path: Path, tiny: Path) -> None:
    limit = {"one_pass_seconds": 3.0, "context_seconds": 1.0}
    assert record(tmp_path, tiny, speech(3.0), **limit).windows == 1
    assert record(tmp_path, tiny, speech(3.1), **limit).windows == 2


def test_silence_has_states(tmp_path: Path, tiny: Path) -> None:
    found = record(tmp_path, tiny, np.zeros(RATE, np.float32))
    assert np.isfinite(found.states_LTC()).all()
    assert found.mean_loudness == pytest.approx(-100)


@pytest.mark.parametrize("samples", [1, 399, 719])
def test_sound_too_short_for_the_encoder_is_skipped_with_its_length(
    tmp_path: Path, tiny: Path, samples: int
) -> None:
    found = run(tmp_path, tiny, write(tmp_path / "short.wav", speech(1.0)[None, :samples]))
    assert found == Skipped("the sound is shorter than the 0.0450 s that wav2vec2 needs", samples / RATE)


@pytest.mark.parametrize(
    ("rate", "layout", "channels"), [(8_000, "mono", 1), (96_000, "5.1", 6), (44_100, "stereo", 2)]
)
def test_any_rate_and_layout_comes_as_mono_at_16_khz(
    tmp_path: Path, tiny: Path, rate: int, layout: str, channels: int
) -> None:
    time = np.arange(2 * rate) / rate
    tone = (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    uri = write(tmp_path / "tone.wav", np.repeat(tone[None], channels, axis=0), rate, layout)
    found = run(tmp_path, tiny, uri)
    assert isinstance(found, AudioRecord)
    assert found.seconds == pytest.approx(2.0, abs=0.001)
    assert found.states_LTC().shape[1] == interpolated_length(encoder_steps(round(found.seconds * RATE)))
    assert found.mean_loudness == pytest.approx(20 * np.log10(0.3 / np.sqrt(2)), abs=0.2)


def test_a_corrupt_container_fails_with_one_line(tmp_path: Path, tiny: Path) -> None:
    path = tmp_path / "sound.wav"
    path.write_bytes(np.random.default_rng(0).bytes(5_000))
    with pytest.raises(MediaError, match="cannot be opened as media") as caught:
        run(tmp_path, tiny, str(path))
    assert "\n" not in str(caught.value)


def test_samples_that_are_no_numbers_fail_with_one_line(tmp_path: Path, tiny: Path) -> None:
    sound = speech(1.0)
    sound[9_000] = np.nan
    uri = write(tmp_path / "sound.wav", sound[None], codec="pcm_f32le")
    with pytest.raises(MediaError, match="not finite"):
        run(tmp_path, tiny, uri)


def test_a_sound_file_with_picture_and_prompt_goes_from_end_to_end(tmp_path: Path, tiny: Path) -> None:
    uri = write(tmp_path / "talk.wav", speech(1.0)[None])
    picture = str(tmp_path / "face.png")
    cv2.imwrite(picture, np.full((64, 48, 3), 90, np.uint8))
    recipe = {"stages": {"audio": {"backend": "wav2vec2", "model": str(tiny), "device": "cpu"}}}
    store = str(tmp_path / "store")

    def run_again() -> int:
        done = wanprep.run(
            uri, store=store, recipe=recipe, reference=picture, prompt="talks", engine="inline", workers=1
        )
        assert done.failed == 0
        return sum(stage.done for stage in done.stages.values())

    assert run_again() == 1
    assert run_again() == 0
    (clip,) = wanprep.open(store).clips()
    assert (clip.record.audio, clip.record.reference, clip.record.prompt) == (uri, picture, "talks")
    found = clip.get("audio")
    assert found is not None
    frames = interpolated_length(encoder_steps(RATE))
    assert found.states_TLC.shape == (frames, LAYERS + 1, AUDIO_WIDTH)
    assert found.states_TLC.dtype == BFLOAT16
    first_TLC = bucket(frames).of(found.states_TLC, slice(0, 80))
    assert first_TLC.shape == (80, LAYERS + 1, AUDIO_WIDTH)
    np.testing.assert_array_equal(first_TLC[1], found.states_TLC[2])


def changed(tiny: Path, folder: Path, **config: object) -> Path:
    """A copy of the checkpoint with other settings."""
    folder.mkdir(parents=True)
    for path in tiny.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    settings = {**json.loads((tiny / "config.json").read_text()), **config}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(
    ("edit", "cause"),
    [
        ("missing", r"lacks the tensor.*encoder\.layers\.3\.attention\.q_proj\.weight"),
        ("misshapen", r"layers\.5\.final_layer_norm\.bias has the shape \[31\], not \[32\]"),
        ("extra", r"holds the tensor.*surprise"),
        ("cut", "cut short"),
    ],
)
def test_a_damaged_checkpoint_names_file_and_tensor(
    tiny: Path, tmp_path: Path, edit: str, cause: str
) -> None:
    folder = changed(tiny, tmp_path / "model")
    path = folder / "model.safetensors"
    weights = load_file(path)
    if edit == "missing":
        del weights["wav2vec2.encoder.layers.3.attention.q_proj.weight"]
    elif edit == "misshapen":
        weights["wav2vec2.encoder.layers.5.final_layer_norm.bias"] = np.zeros(31, np.float32)
    elif edit == "extra":
        weights["wav2vec2.encoder.surprise"] = np.zeros(1, np.float32)
    save_file(weights, path, metadata={"format": "pt"})
    if edit == "cut":
        path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelBroken, match=cause) as caught:
        Wav2Vec2Encoder(folder, "cpu")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "cause"),
    [
        ({"model_type": "hubert"}, "hubert"),
        ({"conv_stride": [5, 2, 2, 2, 2, 2, 1]}, "50 steps a second"),
        ({"add_adapter": True}, "adapter"),
    ],
)
def test_other_models_are_refused(tiny: Path, tmp_path: Path, config: dict[str, object], cause: str) -> None:
    with pytest.raises(ModelBroken, match=cause):
        Wav2Vec2Encoder(changed(tiny, tmp_path / "model", **config), "cpu")


def test_a_processor_for_another_rate_is_refused(tiny: Path, tmp_path: Path) -> None:
    folder = changed(tiny, tmp_path / "model")
    (folder / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 8_000}))
    with pytest.raises(ModelBroken, match="8000 Hz"):
        Wav2Vec2Encoder(folder, "cpu")


@pytest.mark.parametrize("layout", ["wav2vec2-large-xlsr-53-english", "audio_encoder"])
def test_the_folder_of_a_whole_release_will_do(tiny: Path, tmp_path: Path, layout: str) -> None:
    folder = changed(tiny, tmp_path / "release" / layout)
    (folder / "preprocessor_config.json").unlink()
    (tmp_path / "release/audio_processor").mkdir()
    settings = {"sampling_rate": RATE, "do_normalize": False}
    (tmp_path / "release/audio_processor/preprocessor_config.json").write_text(json.dumps(settings))
    release = Wav2Vec2Encoder(tmp_path / "release", "cpu")
    assert not release.normalises
    assert release.layers == LAYERS + 1
    before = Audio(AudioConfig(backend="wav2vec2", model=str(tmp_path / "release"))).models()
    (tmp_path / "release/diffusion_pytorch_model.safetensors").write_bytes(b"another component")
    after = Audio(AudioConfig(backend="wav2vec2", model=str(tmp_path / "release"))).models()
    assert before == after
    assert (
        before["wav2vec2"]
        == Audio(AudioConfig(backend="wav2vec2", model=str(tmp_path / "release" / layout))).models()[
            "wav2vec2"
        ]
    )
    (tmp_path / "release/audio_processor/preprocessor_config.json").write_text("{}")
    assert before != Audio(AudioConfig(backend="wav2vec2", model=str(tmp_path / "release"))).models()


def test_the_checkpoint_is_in_the_key_and_its_place_is_not(tiny: Path, tmp_path: Path) -> None:
    copy = changed(tiny, tmp_path / "model")
    moved = changed(tiny, tmp_path / "other", layer_norm_eps=1e-6)

    def spec(model: Path, **settings: object) -> dict[str, object]:
        return stage_spec(Audio(AudioConfig(backend="wav2vec2", model=str(model), **settings)))  # type: ignore[arg-type]

    same = changed(tiny, tmp_path / "same")
    assert spec(copy) == spec(same) == spec(copy, device="cpu")
    assert spec(copy) != spec(moved)
    assert spec(copy) != spec(copy, precision="bfloat16")


def test_what_is_missing_is_said_in_one_line(tmp_path: Path) -> None:
    stage = Audio(AudioConfig(backend="wav2vec2", model=str(tmp_path / "absent")))
    problem = stage.unavailable()
    assert problem is not None
    assert "absent" in problem
    assert "\n" not in problem
    assert Audio(AudioConfig()).unavailable() is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_gpu_that_is_not_there_is_an_error(tiny: Path) -> None:
    with pytest.raises(UsageError, match="device=cuda"):
        Wav2Vec2Encoder(tiny, "cuda")
    assert Audio(AudioConfig(backend="wav2vec2", device="cuda")).resources.gpus == 1


def test_sound_that_does_not_fit_on_the_gpu_names_its_length(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Wav2Vec2Encoder(tiny, "cpu")

    def forward(samples_N: Samples) -> list[torch.Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20 GiB")

    monkeypatch.setattr(encoder, "_forward", forward)
    with pytest.raises(ModelOutOfMemory, match=r"30\.0 s of sound.*lower audio\.one_pass_seconds") as caught:
        next(encoder.states(np.zeros(30 * RATE, np.float32)))
    assert "\n" not in str(caught.value)


def test_windows_must_advance() -> None:
    with pytest.raises(ValueError, match="twice context_seconds"):
        AudioConfig(one_pass_seconds=20, context_seconds=10)
