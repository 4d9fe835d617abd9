import numpy as np

from stages.person.estimator import Detection
from stages.person.track import Tracker


def _head(x, y=50.0, width=20.0, score=0.9):
    return Detection(
        np.array([x - width / 2, y - width / 2, x + width / 2, y + width / 2], np.float32), score
    )


def _numbers(tracks):
    return [track.number for track in tracks]


def test_two_people_keep_their_tracks_whatever_the_order_of_detections():
    tracker = Tracker(1.5, 30)
    for frame in range(20):
        heads = [_head(100 + 5 * frame), _head(300 - 5 * frame, y=100)]
        expected = [0, 1]
        if frame % 2:
            heads, expected = heads[::-1], expected[::-1]
        assert _numbers(tracker.link(frame, heads)) == expected
    assert len(tracker.tracks) == 2


def test_a_far_head_is_another_person():
    tracker = Tracker(1.5, 30)
    tracker.link(0, [_head(100)])
    assert _numbers(tracker.link(1, [_head(131)])) == [1]
    assert _numbers(tracker.link(2, [_head(129)])) == [1]


def test_a_head_of_another_size_is_another_person():
    tracker = Tracker(1.5, 30)
    tracker.link(0, [_head(100, width=20)])
    assert _numbers(tracker.link(1, [_head(100, width=45)])) == [1]


def test_a_person_comes_back_within_the_gap_only():
    tracker = Tracker(1.5, 3)
    tracker.link(0, [_head(100)])
    assert _numbers(tracker.link(4, [_head(100)])) == [0]
    assert len(tracker.expected(8)) == 1
    assert _numbers(tracker.link(9, [_head(100)])) == [1]


def test_one_head_takes_one_track():
    tracker = Tracker(1.5, 3)
    tracker.link(0, [_head(100)])
    assert sorted(_numbers(tracker.link(1, [_head(102), _head(112)]))) == [0, 1]
    assert tracker.tracks[0].head.centre[0] == 102  # the nearer one


def test_subject_is_the_largest_over_time_among_the_measured():
    tracker = Tracker(1.5, 30)
    for frame in range(10):
        heads = [_head(100, width=30)] if frame < 3 else []
        heads += [_head(300, width=20), _head(600, width=60)]
        for head, track in zip(heads, tracker.link(frame, heads), strict=True):
            if head.width < 60:
                track.measured_area += head.area
    subject = tracker.subject()
    assert subject is not None
    assert subject.row() == {
        "track": 1,
        "first_frame": 0,
        "last_frame": 9,
        "frames": 10,
        "mean_area": 400.0,
        "mean_score": subject.score / 10,
    }


def test_nobody_has_no_subject():
    assert Tracker(1.5, 30).subject() is None


def test_a_body_without_a_face_continues_the_track_it_overlaps():
    tracker = Tracker(1.5, 30)
    left, right = tracker.link(0, [_head(100), _head(400)])
    left.body_box_C = np.array([50, 40, 150, 300], np.float32)
    right.body_box_C = np.array([350, 40, 450, 300], np.float32)
    turned = tracker.link_body(1, _head(380, score=0.0), np.array([340, 60, 450, 300], np.float32))
    assert turned is right
    stranger = tracker.link_body(2, _head(800, score=0.0), np.array([700, 60, 900, 300], np.float32))
    assert stranger.number == 2
