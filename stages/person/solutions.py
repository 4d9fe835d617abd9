"""MediaPipe's Solutions as functions from a picture to arrays. Each model is loaded on its first use.

A frame's result depends on that frame alone, bit for bit, so a clip can be split anywhere, nothing has to warm up
and objects serve one clip after another. Holistic's static mode alone does not give that: it follows face and hands
from the picture before, which moved hands by up to 30 pixels of a 480-row frame when frames came in another order
(measured). Its following is switched off here.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.person.coco_wholebody import Points
from stages.person.estimator import Detection, Pixels
from stages.person.quiet import quiet_stderr
from stages.person.views import View

_COMPLEXITY = 1  # the only body model inside the wheel; 0 and 2 would be downloaded
_FULL_RANGE = 1  # face detector for up to 5 m; the short-range one misses small faces and invents others
_WARM_UP = np.zeros((128, 128, 3), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """What Holistic found, in frame pixels."""

    pose_KC: Points  # [33,4] x, y, z, visibility
    mesh_KC: Points | None  # [478,3]
    left_KC: Points | None  # [21,3]
    right_KC: Points | None
    probability_HW: Pixels | None  # of the view's size, 0 to 255


@dataclass(frozen=True, slots=True, eq=False)
class Hand:
    points_KC: Points  # [21,3] frame pixels
    score: float


class Solutions:
    """Long-lived MediaPipe graphs of one process."""

    def __init__(self, face_confidence: float) -> None:
        self._face_confidence = face_confidence
        self._graphs: dict[str, Any] = {}

    def load(self) -> None:
        if "face_detection" not in self._graphs:
            _provoke_warnings()
        self._graph("face_detection", self._make_face_detection)

    def faces(self, view: View) -> list[Detection]:
        """Faces with their six points, in frame pixels."""
        found = self._graph("face_detection", self._make_face_detection).process(view.picture_HWC).detections
        faces = []
        for detection in found or ():
            data = detection.location_data
            box = data.relative_bounding_box
            corners = np.array(
                [(box.xmin, box.ymin), (box.xmin + box.width, box.ymin + box.height)], np.float32
            )
            points = np.array([(p.x, p.y) for p in data.relative_keypoints], np.float32)
            if box.width > 0 and box.height > 0:
                faces.append(
                    Detection(
                        view.to_frame(corners).reshape(4),
                        float(min(detection.score[0], 1)),
                        view.to_frame(points),
                    )
                )
        return faces

    def body(self, view: View, *, segmentation: bool) -> Body | None:
        """The one person that Holistic finds. Asking for the segmentation leaves the points as they are."""
        graph = self._graph(f"holistic {segmentation}", lambda: self._make_holistic(segmentation))
        found = graph.process(view.picture_HWC)
        if found.pose_landmarks is None:
            return None
        pose = np.array([(p.x, p.y, p.z, p.visibility) for p in found.pose_landmarks.landmark], np.float32)
        probability = found.segmentation_mask if segmentation else None
        return Body(
            view.to_frame(pose),
            _points(found.face_landmarks, view),
            _points(found.left_hand_landmarks, view),
            _points(found.right_hand_landmarks, view),
            None if probability is None else _to_bytes(probability),
        )

    def mesh(self, view: View) -> Points | None:
        """The face mesh [478,3] of the most prominent face in a crop."""
        found = self._graph("face_mesh", self._make_face_mesh).process(view.picture_HWC).multi_face_landmarks
        return _points(found[0], view) if found else None

    def hands(self, view: View, confidence: float) -> list[Hand]:
        """Up to two hands. Which side they are is not told: MediaPipe's label assumes a mirrored picture."""
        graph = self._graph(f"hands {confidence}", lambda: self._make_hands(confidence))
        found = graph.process(view.picture_HWC)
        hands = []
        for landmarks, sides in zip(
            found.multi_hand_landmarks or (), found.multi_handedness or (), strict=True
        ):
            points = _points(landmarks, view)
            if points is not None:
                hands.append(Hand(points, float(sides.classification[0].score)))
        return hands

    def _graph(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._graphs:
            with quiet_stderr():
                graph = make()
                # The graph's threads report on their models while the first picture passes.
                graph.process(_WARM_UP)
            self._graphs[name] = graph
        return self._graphs[name]

    def _make_face_detection(self) -> Any:
        from mediapipe.python.solutions.face_detection import FaceDetection

        return FaceDetection(min_detection_confidence=self._face_confidence, model_selection=_FULL_RANGE)

    def _make_holistic(self, segmentation: bool) -> Any:
        from mediapipe.python.solutions.holistic import Holistic

        class FramewiseHolistic(Holistic):  # type: ignore[misc]
            """Holistic whose face and hand regions come from the frame at hand, never from the one before."""

            def _modify_calculator_options(self, graph: Any, parameters: Any) -> None:
                super()._modify_calculator_options(graph, parameters)
                _never_follow(graph)

        return FramewiseHolistic(
            static_image_mode=True,
            model_complexity=_COMPLEXITY,
            refine_face_landmarks=True,
            enable_segmentation=segmentation,
        )

    def _make_face_mesh(self) -> Any:
        from mediapipe.python.solutions.face_mesh import FaceMesh

        return FaceMesh(static_image_mode=True, max_num_faces=1, refine_landmarks=True)

    def _make_hands(self, confidence: float) -> Any:
        from mediapipe.python.solutions.hands import Hands

        return Hands(
            static_image_mode=True,
            max_num_hands=2,
            model_complexity=_COMPLEXITY,
            min_detection_confidence=confidence,
        )


def _never_follow(graph: Any) -> None:
    """Makes every region tracker of a graph find the last frame's region too far off to be followed.

    Raises:
        RuntimeError: the graph is not Holistic's of the version that this was written for.
    """
    from mediapipe.modules.holistic_landmark.calculators import roi_tracking_calculator_pb2

    extension = roi_tracking_calculator_pb2.RoiTrackingCalculatorOptions.ext
    trackers = [node for node in graph.node if node.calculator == "RoiTrackingCalculator"]
    if len(trackers) != 3:
        raise RuntimeError(f"Holistic has {len(trackers)} region trackers, not 3: install mediapipe==0.10.21")
    for node in trackers:
        node.options.Extensions[extension].rect_requirements.rotation_degrees = -1.0


def _provoke_warnings() -> None:
    """Gets MediaPipe's once-a-process warnings over with: with thresholds at 0 a black picture passes every model
    of the face mesh."""
    # C++ logging looks at these when MediaPipe is first imported.
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", module="google.protobuf")
    with quiet_stderr():
        from mediapipe.python.solutions.face_mesh import FaceMesh

        with FaceMesh(
            static_image_mode=True,
            refine_landmarks=True,
            min_detection_confidence=0.0,
            min_tracking_confidence=0.0,
        ) as mesh:
            mesh.process(_WARM_UP)


def _points(landmarks: Any, view: View) -> Points | None:
    if landmarks is None:
        return None
    return view.to_frame(np.array([(p.x, p.y, p.z) for p in landmarks.landmark], np.float32))


def _to_bytes(probability_HW: npt.NDArray[np.float32]) -> Pixels:
    import cv2

    return cv2.convertScaleAbs(probability_HW, alpha=255)  # type: ignore[return-value]
