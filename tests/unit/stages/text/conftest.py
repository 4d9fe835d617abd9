"""Tiny checkpoints that the tests of the text stages load."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Others share this machine, and tiny models gain nothing from threads."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """umT5 as diffusers folders hold it; read only."""
    pytest.importorskip("transformers")
    from stages.text.tiny import make_umt5

    folder = tmp_path_factory.mktemp("models") / "umt5-xxl"
    make_umt5(folder, seed=3)
    return folder


@pytest.fixture(scope="session")
def tiny_official(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as Wan's own folders hold them; read only."""
    pytest.importorskip("transformers")
    import torch
    from transformers import UMT5EncoderModel

    from stages.text.layout import OFFICIAL_TOKENIZER, OFFICIAL_WEIGHTS
    from stages.text.official import names

    folder = tmp_path_factory.mktemp("official")
    shutil.copytree(tiny / "tokenizer", folder / OFFICIAL_TOKENIZER)
    model = UMT5EncoderModel.from_pretrained(tiny / "text_encoder")
    state = model.state_dict()
    mapped = names(model.config.num_layers)
    torch.save({name: state[target].clone() for name, target in mapped.items()}, folder / OFFICIAL_WEIGHTS)
    return folder
