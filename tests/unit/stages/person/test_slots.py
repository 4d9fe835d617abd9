from pathlib import Path

import numpy as np

from schemas import ClipRecord
from stages.person.slots import SlotSpools
from wanprep.stage import ClipContext


def _context(folder: Path) -> ClipContext:
    return ClipContext(ClipRecord(clip_id="c", recipe="r"), {}, folder)


def test_a_track_is_found_in_whichever_slot_it_was(tmp_path):
    spools = SlotSpools(_context(tmp_path), 2, {"value": (np.float32, (3,)), "flag": (np.bool_, ())})
    spools.add([[], [(7, {"value": [1, 2, 3], "flag": True})]])
    spools.add([[(4, {"value": [9, 9, 9]}), (7, {"value": [4, 5, 6]})], [(4, {"flag": True})]])
    assert len(spools) == 4
    assert spools.slot_T(7).tolist() == [-1, 0, 1, -1]
    assert np.asarray(spools.take("value", 7)).tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6], [0, 0, 0]]
    assert spools.whole("flag", 4).tolist() == [False, False, False, True]
    assert spools.rows("value", 4, 2, 4).tolist() == [[9, 9, 9], [0, 0, 0]]
    assert not spools.whole("value", 99).any()


def test_an_empty_clip_has_empty_columns(tmp_path):
    spools = SlotSpools(_context(tmp_path), 2, {"value": (np.float32, (3,))})
    assert spools.whole("value", 0).shape == (0, 3)
    assert spools.take("value", 0).shape == (0, 3)
    assert spools.slot_T(0).shape == (0,)


def test_long_clips_read_the_same_in_chunks(tmp_path):
    spools = SlotSpools(_context(tmp_path), 3, {"value": (np.int64, ())})
    rng = np.random.default_rng(0)
    expected = np.zeros(1000, np.int64)
    for start in range(0, 1000, 10):
        frames = []
        for frame in range(start, start + 10):
            present = rng.permutation(5)[: rng.integers(0, 4)]
            frames.append([(int(track), {"value": frame * 10 + int(track)}) for track in present])
            expected[frame] = frame * 10 + 2 if 2 in present else 0
        spools.add(frames)
    np.testing.assert_array_equal(spools.whole("value", 2), expected)
    np.testing.assert_array_equal(np.concatenate(list(spools.chunks("value", 2))), expected)
