import numpy as np

from stages.person.estimator import Detection
from stages.person.track import Sighting, Tracker


def _head(x, y=50.0, width=20.0, score=0.9):
    return Detection(
        np.array([x - width / 2, y - width / 2, x + width / 2, y + width / 2], np.float32), score
    )


def _standing(x, width=20.0):
    """A head at x and a body below it whose points lie about it."""
    body_KC = np.zeros((17, 3), np.float32)
    for index, (dx, y) in {5: (20, 80), 6: (-20, 80), 11: (14, 160), 12: (-14, 160)}.items():
        body_KC[index] = (x + dx, y, 0.9)
    return Sighting(_head(x, width=width), np.array([x - 30, 40, x + 30, 260], np.float32), body_KC)


def _link(tracker, frame, heads):
    return tracker.link(frame, [Sighting(head) for head in heads])


def _numbers(tracks):
    return [track.number for track in tracks]


def test_two_people_keep_their_tracks_whatever_the_order_of_detections():
    tracker = Tracker(1.5, 30)
    for frame in range(20):
        heads = [_head(100 + 5 * frame), _head(300 - 5 * frame, y=100)]
        expected = [0, 1]
        if frame % 2:
            heads, expected = heads[::-1], expected[::-1]
        assert _numbers(_link(tracker, frame, heads)) == expected
    assert len(tracker.tracks) == 2


def test_a_far_head_is_another_person():
    tracker = Tracker(1.5, 30)
    _link(tracker, 0, [_head(100)])
    assert _numbers(_link(tracker, 1, [_head(131)])) == [1]
    assert _numbers(_link(tracker, 2, [_head(129)])) == [1]


def test_a_head_of_another_size_is_another_person():
    tracker = Tracker(1.5, 30)
    _link(tracker, 0, [_head(100, width=20)])
    assert _numbers(_link(tracker, 1, [_head(100, width=45)])) == [1]


def test_a_person_comes_back_within_the_gap_only():
    tracker = Tracker(1.5, 3)
    _link(tracker, 0, [_head(100), _head(300)])
    assert _numbers(_link(tracker, 4, [_head(100)])) == [0]
    assert len(tracker.expected(8)) == 1
    assert _numbers(_link(tracker, 9, [_head(100)])) == [2]


def test_the_only_person_so_far_comes_back_whenever_and_wherever():
    tracker = Tracker(1.5, 3)
    _link(tracker, 0, [_head(100)])
    assert _numbers(tracker.link(2, [_standing(300)])) == [0]  # with a body within the gap too
    assert _numbers(_link(tracker, 50, [_head(700, width=30)])) == [0]
    assert _numbers(_link(tracker, 51, [_head(702, width=30)])) == [0]
    assert _numbers(_link(tracker, 100, [_head(100, width=90)])) == [1]  # another size: somebody else
    assert _numbers(_link(tracker, 150, [_head(400, width=30)])) == [2]  # two were seen: nobody knows who
    (row,) = [track.row() for track in tracker.tracks if track.number == 0]
    assert (row["first_frame"], row["last_frame"], row["frames"]) == (0, 51, 4)


def test_a_face_on_the_wall_is_not_the_person_who_looked_away():
    tracker = Tracker(1.5, 30)
    tracker.link(0, [_standing(100)])
    assert _numbers(_link(tracker, 4, [_head(300)])) == [1]
    assert _numbers(tracker.link(8, [_standing(102)])) == [0]


def test_two_who_do_not_come_alone_are_not_the_one_who_left():
    tracker = Tracker(1.5, 3)
    _link(tracker, 0, [_head(100)])
    assert _numbers(_link(tracker, 50, [_head(100), _head(300)])) == [1, 2]


def test_a_passer_by_who_hides_the_subject_does_not_take_the_track():
    """Who is in front is nearest to both; the motion says which of them it is."""
    tracker = Tracker(1.5, 30)
    numbers = []
    for frame in range(31):
        passing, hidden = 220 - 8 * frame, 10 <= frame <= 20
        seen = [_standing(passing, 24.0)] if hidden else [_standing(100), _standing(passing, 24.0)]
        numbers.append(_numbers(tracker.link(frame, seen)))
    assert numbers[9] == [0, 1]
    assert numbers[10:21] == [[1]] * 11
    assert numbers[21:] == [[0, 1]] * 10
    assert len(tracker.tracks) == 2


def test_bodies_tell_heads_apart_that_are_equally_near():
    tracker = Tracker(3.0, 30)
    tracker.link(0, [_standing(100), _standing(140)])
    low, high = _standing(122), _standing(122)
    low.body_KC[:, 0] -= 24
    low.body_box_C[[0, 2]] -= 24
    high.body_KC[:, 0] += 20
    high.body_box_C[[0, 2]] += 20
    assert _numbers(tracker.link(1, [high, low])) == [1, 0]


def test_a_head_that_turns_away_keeps_its_track_by_the_body():
    tracker = Tracker(1.5, 30)
    tracker.link(0, [_standing(100)])
    assert _numbers(tracker.link(1, [_standing(101, width=50)])) == [0]


def test_one_head_takes_one_track():
    tracker = Tracker(1.5, 3)
    _link(tracker, 0, [_head(100)])
    assert sorted(_numbers(_link(tracker, 1, [_head(102), _head(112)]))) == [0, 1]
    assert tracker.tracks[0].head.centre[0] == 102  # the nearer one


def test_subject_is_the_largest_over_time_among_the_measured():
    tracker = Tracker(1.5, 30)
    for frame in range(10):
        heads = [_head(100, width=30)] if frame < 3 else []
        heads += [_head(300, width=20), _head(600, width=60)]
        for head, track in zip(heads, _link(tracker, frame, heads), strict=True):
            if head.width < 60:
                track.measured_area += head.area
    subject = tracker.largest()[0]
    assert subject.row() == {
        "track": 1,
        "first_frame": 0,
        "last_frame": 9,
        "frames": 10,
        "mean_area": 400.0,
        "mean_score": subject.score / 10,
    }


def test_nobody_has_no_subject():
    assert Tracker(1.5, 30).largest() == []


def test_a_body_without_a_face_continues_the_track_it_overlaps():
    tracker = Tracker(1.5, 30)
    left, right = _link(tracker, 0, [_head(100), _head(400)])
    left.body_box_C = np.array([50, 40, 150, 300], np.float32)
    right.body_box_C = np.array([350, 40, 450, 300], np.float32)
    turned = tracker.link_body(1, Sighting(_head(380, score=0.0), np.array([340, 60, 450, 300], np.float32)))
    assert turned is right
    stranger = tracker.link_body(
        2, Sighting(_head(800, score=0.0), np.array([700, 60, 900, 300], np.float32))
    )
    assert stranger.number == 2
