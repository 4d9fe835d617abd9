"""Picture sizes by a shorter side and by the S2V rule; the S2V rule's numbers are in the golden vectors."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wanprep.models.vae_sizes import s2v_size, size_by_short_side

SIDES = st.integers(64, 8000)


def test_the_shorter_side_is_met_and_the_aspect_kept() -> None:
    assert size_by_short_side(1920, 1080, 480, 16) == (848, 480)
    assert size_by_short_side(1080, 1920, 480, 16) == (480, 848)
    assert size_by_short_side(1920, 1080, 480, 32) == (864, 480)
    assert size_by_short_side(100, 100, 480, 16) == (480, 480)
    assert size_by_short_side(5000, 10, 480, 16) == (7680, 480)


@given(SIDES, SIDES, st.sampled_from([409_600, 720_896, 921_600]))
def test_s2v_sizes_fit_the_area_in_multiples_of_64(width: int, height: int, area: int) -> None:
    wide, high = s2v_size(width, height, area)
    assert wide % 64 == high % 64 == 0
    assert wide * high <= area
    if 1 / 3 < width / height < 3 and width * height > area:
        assert 0.7 < (wide / high) / (width / height) < 1.4
