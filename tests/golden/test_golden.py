"""Every case of every golden file. `WANPREP_GOLDEN` names another folder than this project's own."""

from __future__ import annotations

import pytest

from golden.discovery import Case, discover, folder

CASES = discover(folder())


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_golden(case: Case) -> None:
    if case.failed is not None:
        pytest.fail(case.failed, pytrace=False)
    assert case.topic is not None
    case.topic.check(case.file, case.name)


def test_there_is_something_to_check() -> None:
    assert any(case.topic is not None for case in CASES), f"{folder()} holds no case of a known topic"
