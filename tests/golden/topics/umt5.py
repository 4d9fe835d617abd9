"""umT5's encoder: the reference's weights in its own file, through the loading and trimming of every run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from golden.golden_file import GoldenFile
from golden.topic import Topic


def check_encoder(file: GoldenFile, case: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models

    from schemas.text import padded_LC
    from stages.text.encoder import Tokens
    from stages.text.layout import OFFICIAL_TOKENIZER, OFFICIAL_WEIGHTS, find_umt5
    from stages.text.umt5 import Umt5Encoder

    fields = file.case(case)
    ids_BL, mask_BL = fields["in.input_ids"], fields["in.attention_mask"].astype(bool)
    raw_BLC, context_BLC = fields["out.encoder_raw"], fields["out.context_trim_zero_padded"]
    lengths = mask_BL.sum(axis=1)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = Path(folder, OFFICIAL_TOKENIZER, "tokenizer.json")
        tokenizer.parent.mkdir(parents=True)
        marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
        Tokenizer(models.Unigram(marks, unk_id=2)).save(str(tokenizer))
        weights = {name: torch.from_numpy(array) for name, array in file.weights().arrays.items()}
        torch.save(weights, Path(folder, OFFICIAL_WEIGHTS))
        encoder = Umt5Encoder(
            find_umt5(Path(folder)),
            device="cpu",
            precision="float32",
            storage="float32",
            limit=ids_BL.shape[1],
            batch=len(ids_BL),
        )
        texts = [
            Tokens(tuple(ids_L[mask_L].tolist()), int(n))
            for ids_L, mask_L, n in zip(ids_BL, mask_BL, lengths, strict=True)
        ]
        found = encoder.encode(texts)
        alone = [encoder.encode([text])[0] for text in texts]
    for row, (states_LC, alone_LC, length) in enumerate(zip(found, alone, lengths, strict=True)):
        # The vectors' own description allows 1e-4, and compares rows of tokens only.
        np.testing.assert_allclose(states_LC, raw_BLC[row, :length], rtol=0, atol=1e-4)
        np.testing.assert_allclose(alone_LC, raw_BLC[row, :length], rtol=0, atol=1e-4)
        padded = padded_LC(states_LC, context_BLC.shape[1])
        np.testing.assert_allclose(padded, context_BLC[row], rtol=0, atol=1e-4)


TOPICS = [
    Topic(
        files=("s2v/umt5_*.safetensors",),
        check=check_encoder,
        companions=("s2v/umt5_*.weights.safetensors",),
    )
]
