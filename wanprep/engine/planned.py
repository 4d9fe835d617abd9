"""Whether a worker's models are those that the run was planned with."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

from wanprep.models.errors import ModelBroken
from wanprep.stage import Stage


def check_models(stage: Stage[Any], metadata: Mapping[str, str]) -> None:
    """Compares a stage's models on this machine with those in the keys, which were made on another, perhaps.

    Args:
        metadata: what the stage's Parquet files will say of themselves.

    Raises:
        ModelBroken: a model is another one here; what it makes would get a wrong key.
    """
    planned = json.loads(metadata.get("wanprep.spec", "{}")).get("models", {})
    here = dict(stage.models()) if planned else {}
    for name, digest in planned.items():
        if here.get(name) != digest:
            raise ModelBroken(
                f"model {name} on {socket.gethostname()} is {here.get(name)}, the run was planned with {digest}: "
                "give all machines the same files"
            )
