"""The runner itself: finds what is there, knows what it does not know, and passes nothing it has not checked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from golden.discovery import FOLDERS, Case, discover
from golden.golden_file import WHOLE, GoldenFile
from golden.topic import Topic


def check_sum(file: GoldenFile, case: str) -> None:
    fields = file.case(case)
    assert np.sum(fields["in"]) == fields["out"]


SUMS = Topic(files=("s2v/sum*",), companions=("s2v/sum*.weights.safetensors",), check=check_sum)


def found(root: Path) -> list[Case]:
    return discover(root, {"sums": [SUMS]})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    return tmp_path


def outcome(case: Case) -> str:
    if case.failed:
        return "failed"
    assert case.topic is not None
    try:
        case.topic.check(case.file, case.name)
    except AssertionError:
        return "failed"
    return "passed"


def test_each_format_gives_its_cases(root: Path) -> None:
    (root / "s2v/sums.json").write_text(
        json.dumps({"about": "sums", "cases": [{"in": [1, 2], "out": 3}, {"in": [1], "out": 2}]})
    )
    (root / "s2v/sum_b.json").write_text(json.dumps([{"in": [4], "out": 4}]))
    np.savez(root / "s2v/sum_3.npz", n_cases=2, c0_in=np.ones(3), c0_out=3, c1_in=np.ones((2, 2)), c1_out=4)
    one = {"in": np.ones(5), "out": np.array(5.0)}
    save_file(one, root / "s2v/sum.z.safetensors")
    many = {f"{case}.{key}": value for case in (1, 10, 2) for key, value in one.items()}
    save_file(many, root / "s2v/sum.many.safetensors")
    save_file({"weight": np.ones(1)}, root / "s2v/sum.weights.safetensors")
    cases = found(root)
    assert [case.id for case in cases] == [
        "sums-s2v/sum.many.safetensors-1",
        "sums-s2v/sum.many.safetensors-2",
        "sums-s2v/sum.many.safetensors-10",
        f"sums-s2v/sum.z.safetensors-{WHOLE}",
        "sums-s2v/sum_3.npz-0",
        "sums-s2v/sum_3.npz-1",
        "sums-s2v/sum_b.json-0",
        "sums-s2v/sums.json-0",
        "sums-s2v/sums.json-1",
    ]
    assert [outcome(case) for case in cases] == ["passed"] * 8 + ["failed"]
    assert np.array_equal(cases[0].file.weights().arrays["weight"], [1])


def test_an_unknown_file_fails_and_other_folders_are_ignored(root: Path) -> None:
    (root / "s2v/sum_new.json").write_text(json.dumps([{"in": [4], "out": 4}]))
    (root / "s2v/README.md").write_text("about")
    (root / "animate/sum.json").write_text("[]")  # the pattern says s2v
    (root / "other").mkdir()
    (root / "other/what.npz").write_bytes(b"")
    assert [(case.subject, outcome(case)) for case in found(root)] == [
        ("unknown", "failed"),
        ("sums", "passed"),
    ]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("sum.json", b"{"),
        ("sum.json", b"[]"),
        ("sum.json", b'{"cases": {}}'),
        ("sum.npz", b"no archive"),
        ("sum.safetensors", b"\x00" * 12),
        ("sum.txt", b""),
    ],
)
def test_a_file_that_cannot_be_read_is_one_failing_test(root: Path, name: str, data: bytes) -> None:
    (root / "s2v" / name).write_bytes(data)
    (case,) = found(root)
    assert outcome(case) == "failed"
    assert name in case.id
    assert name in str(case.failed)


def test_pickled_arrays_are_not_loaded(root: Path) -> None:
    np.savez(root / "s2v/sum.npz", n_cases=1, c0_in=np.array([{}], dtype=object), c0_out=1)
    (case,) = found(root)
    assert case.topic is not None
    with pytest.raises(ValueError, match="allow_pickle"):
        case.topic.check(case.file, case.name)


def test_a_missing_companion_is_named(root: Path) -> None:
    (root / "s2v/sum.json").write_text(json.dumps([{"in": [4], "out": 4}]))
    with pytest.raises(FileNotFoundError, match=r"sum\.weights\.safetensors"):
        found(root)[0].file.weights()


def test_a_folder_without_vectors_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="animate or s2v"):
        found(tmp_path)


def test_the_environment_variable_names_the_folder(root: Path) -> None:
    rows = [{"original_fps": 30, "total_frames": 9, "target_fps": 15, "num_sample": 4, "fixed_start": 0}]
    good, bad = [{**rows[0], "indices": [0, 2, 4, 6]}], [{**rows[0], "indices": [0, 2, 4, 7]}]
    (root / "s2v/audio_sample_indices_z9.json").write_text(json.dumps(good))
    (root / "s2v/audio_sample_indices_bad.json").write_text(json.dumps(bad))
    (root / "s2v/nobody_knows.npz").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(Path(__file__).parent / "test_golden.py"), "-q", "-rA"],
        env={**os.environ, "WANPREP_GOLDEN": str(root)},
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    passed = [line for line in lines if line.startswith("PASSED")]
    failed = [line for line in lines if line.startswith("FAILED")]
    assert done.returncode == 1
    assert any("audio_sample_indices_z9.json" in line for line in passed)
    assert len(failed) == 2
    assert any("audio_sample_indices_bad.json" in line for line in failed)
    assert any("nobody_knows.npz" in line for line in failed)
