"""Whom a clip is about: settings, and who is followed."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from stages.person.estimator import Detection, EstimatorConfig
from stages.person.subject import SubjectChoice
from stages.person.track import Track
from wanprep.errors import UsageError
from wanprep.recipe import Recipe

SIZE = (200, 100)
LEFT, RIGHT = np.array([20, 20, 60, 90], np.float32), np.array([120, 10, 180, 95], np.float32)


def track(number: int, area: float) -> Track:
    head = Detection(np.array([0, 0, 1, 1], np.float32), 0.9)
    return Track(number, 0, 0, head, np.zeros(4, np.float32), measured_area=area)


LARGEST = [track(1, 900.0), track(0, 400.0)]


def test_a_subject_is_a_number_a_point_or_a_box() -> None:
    assert EstimatorConfig().subject == 1
    assert EstimatorConfig(subject=2).subject == 2
    assert EstimatorConfig.model_validate({"subject": [0.25, 1]}).subject == (0.25, 1.0)
    assert EstimatorConfig(subject=(0, 0.1, 0.5, 1)).subject == (0, 0.1, 0.5, 1)
    assert hash(EstimatorConfig(subject=(0.1, 0.2))) != hash(EstimatorConfig())


@pytest.mark.parametrize(
    "subject",
    [
        0,
        -1,
        1.5,
        True,
        "largest",
        [0.5],
        [1],
        [0.1, 0.2, 0.3],
        [300, 200],
        [0.5, 0.5, 0.5, 0.9],
        [0.1, True],
        None,
    ],
)
def test_anything_else_is_refused(subject: object) -> None:
    with pytest.raises(ValidationError, match=r"a number from 1 .the largest person., a point"):
        EstimatorConfig.model_validate({"subject": subject})


def test_more_people_than_are_measured_cannot_be_asked_for() -> None:
    with pytest.raises(ValidationError, match="subject=3 needs max_people=3 or more"):
        EstimatorConfig(subject=3)
    assert EstimatorConfig(subject=3, max_people=3).subject == 3


def test_the_nth_largest() -> None:
    assert [SubjectChoice(n).of(LARGEST) for n in (1, 2, 3)] == [1, 0, None]
    assert SubjectChoice(1).of([]) is None
    assert SubjectChoice(1).nobody(0) == "no person found"
    assert SubjectChoice(3).nobody(2) == "estimator.subject=3, and fewer people were found"


@pytest.mark.parametrize(
    ("place", "chosen"),
    [
        ((0.2, 0.5), 7),
        ((0.75, 0.3), 8),
        ((0.5, 0.5), None),
        ((0.1, 0.2, 0.3, 0.9), 7),
        ((0.6, 0.0, 0.95, 1.0), 8),
        ((0.61, 0.12, 0.65, 0.2), None),  # a corner of the right one
    ],
)
def test_who_is_there(place: tuple[float, ...], chosen: int | None) -> None:
    choice = SubjectChoice(place)
    choice.look([(7, [LEFT]), (8, [RIGHT])], SIZE)
    assert choice.of(LARGEST) == chosen
    if chosen is None:
        assert choice.nobody(2).startswith("nobody is at estimator.subject=[0.")


def test_the_face_will_do() -> None:
    head = np.array([140, 12, 160, 32], np.float32)
    choice = SubjectChoice((0.7, 0.12, 0.8, 0.32))
    choice.look([(7, [LEFT]), (8, [head, RIGHT])], SIZE)
    assert choice.of([]) == 8


def test_the_first_who_is_there_is_followed() -> None:
    choice = SubjectChoice((0.2, 0.5))
    choice.look([(8, [RIGHT])], SIZE)
    assert choice.of([]) is None
    choice.look([(8, [RIGHT]), (3, [LEFT])], SIZE)
    choice.look([(8, [LEFT]), (3, [RIGHT])], SIZE)
    assert choice.of([]) == 3
    assert [choice.urgency(number, LEFT, SIZE) for number in (3, 8, None)] == [0, 1, 1]


def test_who_is_nearest_is_measured_first_until_somebody_is_chosen() -> None:
    choice = SubjectChoice((0.75, 0.5))
    assert choice.urgency(0, RIGHT, SIZE) < choice.urgency(1, LEFT, SIZE)
    assert SubjectChoice(1).urgency(0, RIGHT, SIZE) == SubjectChoice(1).urgency(1, LEFT, SIZE)


def test_a_wrong_subject_is_one_line_for_the_user() -> None:
    from wanprep.recipe import load_recipe

    with pytest.raises(UsageError, match=r"estimator\.subject.*a point \[x, y\]") as error:
        load_recipe(overrides=["shared.estimator.subject=[640, 360]"])
    assert "\n" not in str(error.value)
    assert isinstance(load_recipe(overrides=["shared.estimator.subject=[0.5, 0.3]"]), Recipe)
