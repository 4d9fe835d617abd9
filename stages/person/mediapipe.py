"""People by MediaPipe: a face detector says where, Holistic measures there, and the two must agree.

Holistic alone finds one person, not always the same, and at times squeezes the body into the head while its
confidence stays high (a third of the frames of a film clip, measured). So each detected face gets views of
its own until a body fits it; with none, the body is absent rather than wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from schemas.skeleton import CROP, FULL_FRAME, NO_BODY, UNVERIFIED
from stages.person.coco_wholebody import Points, from_mediapipe
from stages.person.estimator import (
    Detection,
    EstimatorConfig,
    PersonEstimator,
    PersonFrame,
    Pixels,
    Segmentation,
    box_around,
)
from stages.person.plausible import body_fits, mesh_distance
from stages.person.solutions import Body, Hand, Solutions
from stages.person.views import BODY_CROPS, View, merge, near, square, tiles, whole

_MESH_CROP = 2.0  # side, face widths
# Face widths from the detector's points. Holistic's mesh is as steady as one made on a crop, and 0.7 % of a face
# width from it (measured), so the crop is left for where Holistic has another face or none.
_MESH_FITS = 0.25
_HAND_CROP = 2.4  # side, face widths
_HAND_CROP_PIXELS = 256  # smaller crops are enlarged to this
_HAND_OUTWARDS = 0.3  # forearms from the wrist to the crop's centre
_HAND_REACH = 0.8  # face widths from the body's wrist to the hand's
_HAND_CONFIDENCE = 0.3
_BOX_CONFIDENCE = 0.3  # points of the body's box
# A body that has no face to vouch for it: least visibility of its shoulders, and least width in shorter sides of
# the frame. A hand taken for a whole body had shoulders of 0.02 (measured).
_SHOULDERS_SEEN = 0.5
_SHOULDERS_WIDE = 0.08
_HEAD_OF_SHOULDERS = 0.25  # width of a detected head in shoulder widths, where none is detected

# BlazePose: (elbow, wrist) of the left and the right arm.
_ARMS = ((13, 15), (14, 16))
_SHOULDERS = (11, 12)
_HEAD_POINTS = slice(0, 11)


class MediaPipeEstimator(PersonEstimator):
    name = "mediapipe"

    def __init__(self, config: EstimatorConfig) -> None:
        super().__init__(config)
        self._solutions = Solutions(config.face_confidence)

    def load(self) -> None:
        self._solutions.load()

    def detect(self, frame_HWC: Pixels, expected: Sequence[Detection] = ()) -> list[Detection]:
        found = merge([self._solutions.faces(whole(frame_HWC))])
        lost = not found or any(not any(near(head, other) for other in found) for head in expected)
        if self.config.tiles == "always" or (self.config.tiles == "missing" and lost):
            found = merge([found, *(self._solutions.faces(view) for view in tiles(frame_HWC))])
        return found

    def measure(
        self, frame_HWC: Pixels, head: Detection, *, main: bool, segmentation: bool = False
    ) -> PersonFrame:
        for view, status in self._views(frame_HWC, head, main):
            body = self._solutions.body(view, segmentation=segmentation)
            if body is not None and body_fits(body.pose_KC, head):
                return self._person(frame_HWC, head, status, body, view)
        return self._face_only(frame_HWC, head)

    def measure_unverified(self, frame_HWC: Pixels, *, segmentation: bool = False) -> PersonFrame | None:
        view = whole(frame_HWC)
        body = self._solutions.body(view, segmentation=segmentation) if self.config.unverified else None
        if body is None or body.pose_KC[list(_SHOULDERS), 3].min() < _SHOULDERS_SEEN:
            return None
        left, right = body.pose_KC[list(_SHOULDERS), :2]
        across = float(np.linalg.norm(left - right))
        if across < _SHOULDERS_WIDE * min(frame_HWC.shape[:2]):
            return None
        half = _HEAD_OF_SHOULDERS * across / 2
        centre = body.pose_KC[_HEAD_POINTS, :2].mean(0)
        head = Detection(np.concatenate([centre - half, centre + half]).astype(np.float32), 0.0)
        keypoints_KC = from_mediapipe(body.pose_KC, None, body.left_KC, body.right_KC)
        return PersonFrame(
            UNVERIFIED,
            head,
            keypoints_KC,
            _body_box(keypoints_KC, head, frame_HWC),
            None,
            _segmentation(body, view),
        )

    def _views(self, frame_HWC: Pixels, head: Detection, main: bool) -> Iterator[tuple[View, int]]:
        if main:
            yield whole(frame_HWC), FULL_FRAME
        x, y = head.centre
        # A crop that reaches far over the border needs no more pixels than the frame has.
        most = max(frame_HWC.shape[:2])
        for side, down in BODY_CROPS:
            yield square(frame_HWC, (x, y + down * head.height), side * head.width, most=most), CROP

    def _person(self, frame_HWC: Pixels, head: Detection, status: int, body: Body, view: View) -> PersonFrame:
        mesh_KC = body.mesh_KC
        if mesh_KC is None or mesh_distance(mesh_KC, head) > _MESH_FITS:
            mesh_KC = self._mesh(frame_HWC, head)
        hands = [
            Hand(points, 1.0)
            if points is not None
            else self._missed_hand(frame_HWC, head, body.pose_KC, side)
            for side, points in enumerate((body.left_KC, body.right_KC))
        ]
        left, right = hands
        keypoints_KC = from_mediapipe(
            body.pose_KC,
            mesh_KC,
            left.points_KC if left else None,
            right.points_KC if right else None,
            face_score=head.score,
            left_score=left.score if left else 0.0,
            right_score=right.score if right else 0.0,
        )
        return PersonFrame(
            status,
            head,
            keypoints_KC,
            _body_box(keypoints_KC, head, frame_HWC),
            mesh_KC,
            _segmentation(body, view),
        )

    def _face_only(self, frame_HWC: Pixels, head: Detection) -> PersonFrame:
        mesh_KC = self._mesh(frame_HWC, head)
        keypoints_KC = from_mediapipe(None, mesh_KC, face_score=head.score)
        return PersonFrame(NO_BODY, head, keypoints_KC, _body_box(keypoints_KC, head, frame_HWC), mesh_KC)

    def _mesh(self, frame_HWC: Pixels, head: Detection) -> Points | None:
        mesh_KC = self._solutions.mesh(square(frame_HWC, head.centre, _MESH_CROP * head.width))
        if mesh_KC is None or mesh_distance(mesh_KC, head) > 2 * _MESH_FITS:
            return None  # a neighbour's face in the crop
        return mesh_KC

    def _missed_hand(self, frame_HWC: Pixels, head: Detection, pose_KC: Points, side: int) -> Hand | None:
        """The hand at the end of arm `side` (0 left, 1 right), looked for around the body's wrist. Its side is the
        arm's, not MediaPipe's label, which was the wrong one for 255 of 262 hands (measured)."""
        if not self.config.fill_hands:
            return None
        elbow, wrist = (pose_KC[i, :2] for i in _ARMS[side])
        other = pose_KC[_ARMS[1 - side][1], :2]
        x, y = wrist + _HAND_OUTWARDS * (wrist - elbow)
        height, width = frame_HWC.shape[:2]
        if not (0 <= x < width and 0 <= y < height):
            return None  # half a hand at most, which the model does not find
        view = square(frame_HWC, (float(x), float(y)), _HAND_CROP * head.width, least=_HAND_CROP_PIXELS)
        best, reach = None, _HAND_REACH * head.width
        for hand in self._solutions.hands(view, _HAND_CONFIDENCE):
            root = hand.points_KC[0, :2]
            distance = float(np.linalg.norm(root - wrist))
            if distance < reach and distance < float(np.linalg.norm(root - other)):
                best, reach = hand, distance
        return best


def _body_box(keypoints_KC: Points, head: Detection, frame_HWC: Pixels) -> Points:
    """Around the confident points and the head: no point lies on the forehead."""
    height, width = frame_HWC.shape[:2]
    corners_KC = np.column_stack([head.box_C.reshape(2, 2), np.ones(2)]).astype(np.float32)
    return box_around(np.concatenate([keypoints_KC, corners_KC]), _BOX_CONFIDENCE, (width, height))


def _segmentation(body: Body, view: View) -> Segmentation | None:
    return None if body.probability_HW is None else Segmentation(body.probability_HW, view.box_C)
