"""Wan2.2-S2V-14B's two published layouts: Wan's own, and the diffusers folder with Wan's tensor names."""

from __future__ import annotations

import json
from pathlib import Path

from wanprep.models import tiny_components as tiny
from wanprep.models import tiny_wav2vec2
from wanprep_infer.tiny.official import write_text_encoder_pth, write_vae_pth
from wanprep_infer.tiny.s2v_weights import S2VGeometry, weights

_STEM = "diffusion_pytorch_model"
_SHARDS = 2
_AUDIO_FOLDER = "wav2vec2-large-xlsr-53-english"


@tiny.quiet()
def write_s2v_14b(folder: Path, seed: int) -> None:
    """The official folder: config and shards at the root, the VAE and the text encoder as .pth, the tokenizer and the
    sound encoder in folders of their own."""
    _write_transformer(folder, seed)
    (folder / "configuration.json").write_text(
        json.dumps({"framework": "pytorch", "task": "speech-to-video"})
    )
    write_vae_pth(folder / "Wan2.1_VAE.pth", tiny.vae_z16(seed))
    write_text_encoder_pth(folder / "models_t5_umt5-xxl-enc-bf16.pth", tiny.text_encoder(seed))
    tiny.tokenizer().save_pretrained(folder / "google" / "umt5-xxl")
    tiny_wav2vec2.make(folder / _AUDIO_FOLDER, seed)


@tiny.quiet()
def write_s2v_14b_diffusers(folder: Path, seed: int) -> None:
    """The diffusers folder: a sub-folder a component; the transformer keeps Wan's names, of a class that diffusers
    does not have."""
    _write_transformer(folder / "transformer", seed)
    tiny.vae_z16(seed).save_pretrained(folder / "vae")
    tiny.text_encoder(seed).save_pretrained(folder / "text_encoder")
    tiny.tokenizer().save_pretrained(folder / "tokenizer")
    tiny_wav2vec2.write_encoder(folder / "audio_encoder", seed)
    tiny_wav2vec2.write_processor(folder / "audio_processor")
    tiny.scheduler(flow_shift=3.0).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "WanSpeechToVideoPipeline",
        "_diffusers_version": "0.36.0",
        "audio_encoder": ["transformers", "Wav2Vec2Model"],
        "audio_processor": ["transformers", "Wav2Vec2FeatureExtractor"],
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", "WanModel_S2V"],
        "vae": ["diffusers", "AutoencoderKLWan"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def _write_transformer(folder: Path, seed: int) -> None:
    """config.json, shards and their index."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    geometry = S2VGeometry()
    (folder / "config.json").write_text(json.dumps(geometry.config(), indent=2) + "\n")
    tensors = weights(geometry, seed)
    names = list(tensors)
    per_shard = -(-len(names) // _SHARDS)
    placed: dict[str, str] = {}
    for number in range(_SHARDS):
        file = f"{_STEM}-{number + 1:05d}-of-{_SHARDS:05d}.safetensors"
        chosen = names[number * per_shard : (number + 1) * per_shard]
        save_file({name: tensors[name] for name in chosen}, folder / file, metadata={"format": "pt"})
        placed |= dict.fromkeys(chosen, file)
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": placed}
    (folder / f"{_STEM}.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
