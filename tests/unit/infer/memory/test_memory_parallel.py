"""Several processes that share a transformer's tokens get what one gets alone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from hypothesis import given
from hypothesis import strategies as st

from wanprep.errors import UsageError
from wanprep_infer.memory.parallel import check_heads, check_tokens
from wanprep_infer.tiny import pipelines

CHILD = Path(__file__).with_name("parallel_child.py")
RANKS = 2


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@pytest.mark.slow
def test_two_processes_are_as_one(tmp_path: Path) -> None:
    pipelines.write_animate_14b(tmp_path, 0)
    port = str(free_port())
    children = [
        subprocess.Popen(
            [sys.executable, str(CHILD), str(tmp_path)],
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(RANKS),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    try:
        ended = [child.communicate(timeout=240) for child in children]
    finally:
        for child in children:
            child.kill()
    for child, (out, errors) in zip(children, ended, strict=True):
        assert child.returncode == 0, errors[-3000:]
        found = {
            (line := json.loads(text))["kind"]: line for text in out.splitlines() if text.startswith("{")
        }
        # 3 latent frames of 4 tokens, divided in the middle of one; 2 of 16 with 16 of the reference and 24 of history.
        assert {kind: line["tokens"] for kind, line in found.items()} == {"animate": 6, "s2v": 36}
        for line in found.values():
            assert line["difference"] < 1e-5 * max(1, line["size"]), line


@given(heads=st.integers(1, 64), ranks=st.integers(2, 64))
def test_heads_must_come_apart(heads: int, ranks: int) -> None:
    if heads % ranks == 0:
        check_heads(heads, ranks)
    else:
        with pytest.raises(UsageError, match=f"{heads} heads cannot be divided among {ranks} GPUs"):
            check_heads(heads, ranks)


def test_one_sentence_names_the_numbers_that_fit() -> None:
    with pytest.raises(UsageError) as error:
        check_heads(40, 3)
    assert str(error.value) == (
        "parallel=ulysses: 40 heads cannot be divided among 3 GPUs; take 2, 4, 5, 8, 10, 20, 40 of them"
    )


def test_tokens_must_come_apart() -> None:
    """63360 tokens are those of an S2V clip of 1024x704 with history (Wan2.2 official code)."""
    check_tokens(63360, 8)
    with pytest.raises(UsageError, match="32760 tokens cannot be divided among 16 GPUs"):
        check_tokens(32760, 16)
