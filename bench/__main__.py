"""Runs benchmarks by name."""

from __future__ import annotations

import importlib
import sys

NAMES = (
    *("startup", "planning", "shards", "compact", "efficiency", "motion", "memory", "encoders"),
    *("generate-animate", "generate-s2v"),
)


def main() -> None:
    asked = sys.argv[1:2]
    if asked and asked[0] not in NAMES:
        sys.exit(f"no benchmark is called '{asked[0]}' (there are: {', '.join(NAMES)})")
    if asked:
        importlib.import_module(_module(asked[0])).main(sys.argv[2:])
        return
    for name in NAMES:
        importlib.import_module(_module(name)).main([])


def _module(name: str) -> str:
    return f"bench.{name.replace('-', '_')}"


if __name__ == "__main__":
    main()
