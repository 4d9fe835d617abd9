"""Windows over long sound keep each step once, with enough sound around it; statistics do not depend on blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.audio.normalise import WaveformStatistics
from stages.audio.windows import encoder_windows
from wanprep.media.speech_frames import encoder_steps, least_samples


@given(steps=st.integers(0, 2_000), most=st.integers(1, 300), context=st.integers(0, 140))
def test_each_step_is_kept_once_with_its_context(steps: int, most: int, context: int) -> None:
    if steps > most <= 2 * context:
        with pytest.raises(ValueError, match="contexts"):
            list(encoder_windows(steps, most, context))
        return
    windows = list(encoder_windows(steps, most, context))
    reached = 0
    for window in windows:
        assert 0 <= window.first <= window.begin < window.end <= window.last <= steps
        assert window.begin == reached
        reached = window.end
        assert window.last - window.first == min(most, steps)
        assert window.first == 0 or window.begin - window.first >= context
        assert window.last == steps or window.last - window.end >= context
        assert encoder_steps(window.samples.stop - window.samples.start) == window.last - window.first
        assert window.samples.stop <= least_samples(steps)
    assert reached == steps


def test_sound_that_fits_is_one_window() -> None:
    assert len(list(encoder_windows(2_999, 2_999, 500))) == 1
    assert len(list(encoder_windows(3_000, 2_999, 500))) == 2


@given(cuts=st.lists(st.integers(0, 3_000), max_size=8), offset=st.sampled_from([0.0, 0.3, -0.9]))
def test_statistics_do_not_depend_on_the_blocks(cuts: list[int], offset: float) -> None:
    sound = (0.1 * np.random.default_rng(2).standard_normal(3_000) + offset).astype(np.float32)
    statistics = WaveformStatistics()
    for block in np.split(sound, sorted(cuts)):
        statistics.add(block)
    assert statistics.mean == pytest.approx(sound.mean(dtype=np.float64), rel=1e-12, abs=1e-12)
    assert statistics.variance == pytest.approx(sound.var(dtype=np.float64), rel=1e-10)
    normal = statistics.normalised(sound)
    assert normal.dtype == np.float32
    assert abs(normal.mean(dtype=np.float64)) < 1e-6
    # The variance is about 0.01, the constant under the root 1e-7.
    assert normal.std(dtype=np.float64) == pytest.approx(1, abs=1e-4)


def test_statistics_are_exact_far_from_zero_and_over_hours() -> None:
    statistics = WaveformStatistics()
    block = np.float32(0.9) + 1e-4 * np.tile(np.array([-1, 1], np.float32), 8_000)
    block = block.astype(np.float32)
    for _ in range(600):
        statistics.add(block)
    assert statistics.variance == pytest.approx(block.var(dtype=np.float64), rel=1e-9)


def test_silence_stays_zero() -> None:
    statistics = WaveformStatistics()
    statistics.add(np.zeros(100, np.float32))
    assert not statistics.normalised(np.zeros(100, np.float32)).any()
    assert WaveformStatistics().variance == 0
