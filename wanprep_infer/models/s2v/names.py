"""Tensor names of S2V checkpoints: the official ones, and those of diffusers' Wan models, which ours are.

Three layouts are about: the official folder, FastVideo's diffusers folder with official names, and the folder of
diffusers' pull request 12258 with diffusers' names. What a folder is called tells nothing; the tensors do.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from wanprep.models.errors import ModelBroken

# Ours -> official; the first that matches a name's beginning counts.
_TOP = (
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.causal_audio_encoder", "casual_audio_encoder"),  # their spelling
    ("condition_embedder.pose_embedder", "cond_encoder"),
    ("trainable_condition_mask", "trainable_cond_mask"),
    ("scale_shift_table", "head.modulation"),
    ("proj_out", "head.head"),
)
_BLOCK = (
    ("attn1", "self_attn"),
    ("attn2", "cross_attn"),
    ("norm2", "norm3"),
    ("scale_shift_table", "modulation"),
    ("ffn.net.0.proj", "ffn.0"),
    ("ffn.net.2", "ffn.2"),
)
_NUMBERED = re.compile(r"((?:blocks|audio_injector\.injector)\.\d+)\.(.+)")
_LINEAR = re.compile(r"(?:(?<=\.)|^)to_(?:([qkv])|(o)ut\.0)(?=\.|$)")

_AUDIO = "audio_encoder."  # in every layout's name of the causal audio encoder
_OTHERS = (  # what only other Wan models have, in either naming
    ("face_adapter.", "a Wan2.2-Animate transformer"),
    ("motion_encoder.", "a Wan2.2-Animate transformer"),
    ("vace_", "a VACE transformer"),
    ("img_emb.", "an image-to-video transformer"),
    ("condition_embedder.image_embedder.", "an image-to-video transformer"),
    ("patch_embedding.", "a Wan transformer without sound input (text- or image-to-video)"),
)


def official_name(name: str) -> str:
    """The official name of a tensor or module of ours; unlike names stay unlike."""
    if numbered := _NUMBERED.fullmatch(name):
        within = _LINEAR.sub(lambda found: found[1] or found[2], numbered[2])
        return f"{numbered[1]}.{_begun(within, _BLOCK)}"
    return _begun(name, _TOP)


def found_names(wanted: Iterable[str], found: Collection[str], where: str) -> dict[str, str]:
    """Each of the model's tensors -> what it is called in a checkpoint that holds `found`.

    Names are given for tensors that the checkpoint lacks, too: in its own naming.

    Raises:
        ModelBroken: the tensors are of another model, which the message names.
    """
    names = list(wanted)
    if not any(_AUDIO in name for name in found):
        other = next((title for part, title in _OTHERS if any(part in name for name in found)), None)
        what = f"is {other}" if other else "holds no Wan transformer"
        raise ModelBroken(f"{where}: {what}, not an S2V model; give one such as wan2.2-s2v-14b")
    if any(".self_attn." in name for name in found):
        return {name: official_name(name) for name in names}
    # Earlier folders of the pull request keep the official spelling of the audio encoder.
    misspelt = any("casual_audio_encoder." in name for name in found)
    return {name: name.replace("causal_", "casual_") if misspelt else name for name in names}


def _begun(name: str, table: Iterable[tuple[str, str]]) -> str:
    for ours, theirs in table:
        if name == ours or name.startswith(f"{ours}."):
            return theirs + name[len(ours) :]
    return name
