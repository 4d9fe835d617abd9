"""Damages a file at random again and again; run as a program, it leaves the seed of the last copy behind."""

from __future__ import annotations

import random
import re
import sys
import time
from pathlib import Path

from helpers.corpus.mutate import Mutation, drive, mutated

LIMIT = 5.0  # seconds for a file of half a second
NOT_FOR_PEOPLE = re.compile(r"\w+Error\b|\bErrno\b|Traceback|<class|\bNone\b|\n")


def judged(data: bytes, suffix: str) -> None:
    """Drives a file; fails when it takes too long or ends with a cause that people cannot read."""
    began = time.monotonic()
    cause = drive(data, suffix)
    assert time.monotonic() - began < LIMIT
    assert cause is None or not NOT_FOR_PEOPLE.search(cause), cause


def random_mutations(seed: int) -> list[Mutation]:
    chance = random.Random(seed)
    return [
        Mutation(
            chance.choice(["flip", "flip", "flip", "cut", "insert", "copy", "set"]),
            chance.random(),
            chance.choice([1, 2, 4, 8, 60, 1000]),
            chance.randrange(256),
        )
        for _ in range(chance.choice([1, 1, 2, 4, 8, 20]))
    ]


def fuzz(sample: Path, journal: Path, count: int) -> None:
    """Drives `count` damaged copies; the journal holds the seed of the one at work."""
    data = sample.read_bytes()
    for seed in range(count):
        journal.write_text(f"seed {seed} of {sample.suffix}")
        judged(mutated(data, random_mutations(seed)), sample.suffix)


if __name__ == "__main__":
    fuzz(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
