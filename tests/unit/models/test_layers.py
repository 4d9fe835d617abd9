"""The layer contract names every module of the spine, new ones too."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_contract_about_model_libraries_covers_the_spine() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = document["tool"]["importlinter"]["contracts"]
    (contract,) = [found for found in contracts if "torch" in found.get("forbidden_modules", ())]
    spine = {path.stem for path in (ROOT / "wanprep").glob("*.py")}
    spine |= {path.parent.name for path in (ROOT / "wanprep").glob("*/__init__.py")}
    expected = {f"wanprep.{name}" for name in spine - {"__init__", "models"}}
    assert set(contract["source_modules"]) == {"schemas", *expected}
    assert "ignore_imports" not in contract
