"""The floor: plain loops over the same decoder settings and the same estimators, without stages, keys, plan, tracks,
engine or store. Run as a command, so that its processes can be measured like any other.

    python -m bench.floor full MANIFEST OUT PROCESSES     person estimator, DIS flow both ways, masks; Parquet out
    python -m bench.floor motion MANIFEST OUT PROCESSES   DIS FAST at 240 pixels, mean length of flow
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.video.reformatter import Interpolation, VideoReformatter

from wanprep.media.geometry import fit_long_side, fit_short_side


def main() -> None:
    kind, manifest, out, processes = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    out.mkdir(parents=True, exist_ok=True)
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    jobs = [(row["id"], row["video"], float(row["end"]), str(out)) for row in rows]
    work = {"full": _full, "motion": _motion}[kind]
    if processes == 1:
        for job in jobs:
            work(job)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(work, jobs, chunksize=1)


def _decode(
    path: str, seconds: float, person_long_side: int | None
) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        person_scaler, gray_scaler = VideoReformatter(), VideoReformatter()
        size = fit_short_side(stream.width, stream.height, 240)
        person_size = (
            fit_long_side(stream.width, stream.height, person_long_side) if person_long_side else None
        )
        limit = round(seconds * float(stream.average_rate or 25))
        for index, frame in enumerate(container.decode(stream)):
            if index >= limit:
                return
            rgb = None
            if person_size:
                rgb = person_scaler.reformat(
                    frame, *person_size, "rgb24", interpolation=Interpolation.AREA, threads=1
                )
                rgb = np.ascontiguousarray(rgb.to_ndarray())
            gray = gray_scaler.reformat(frame, *size, "gray", interpolation=Interpolation.AREA, threads=1)
            yield rgb, np.ascontiguousarray(gray.to_ndarray())


def _full(job: tuple[str, str, float, str]) -> None:
    from stages.person.backends import estimator_for
    from stages.person.estimator import EstimatorConfig

    clip_id, path, seconds, out = job
    cv2.setNumThreads(1)
    config = EstimatorConfig()
    estimator = estimator_for(config)
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    last = None
    keypoints, masks, flows = [], [], []
    for rgb, gray in _decode(path, seconds, config.long_side):
        people = estimator.people(rgb, segmentation=True)
        keypoints.append(people[0].keypoints_KC if people else np.zeros((133, 3), np.float32))
        if people and people[0].segmentation is not None:
            masks.append(np.packbits(people[0].segmentation.probability_HW > 0.5).tobytes())
        if last is not None:
            there, back = dis.calc(last, gray, None), dis.calc(gray, last, None)
            flows.append(np.clip(np.rint(there * 8), -127, 127).astype(np.int8).tobytes())
            del back
        last = gray
    table = pa.table(
        {"keypoints": [np.stack(keypoints).tobytes()], "mask": [b"".join(masks)], "flow": [b"".join(flows)]}
    )
    pq.write_table(table, os.path.join(out, f"{clip_id}.parquet"), compression="zstd", use_dictionary=False)


def _motion(job: tuple[str, str, float, str]) -> None:
    clip_id, path, seconds, out = job
    cv2.setNumThreads(1)
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    last, scores, flows = None, [], []
    for _, gray in _decode(path, seconds, None):
        if last is not None:
            flow = dis.calc(last, gray, None)
            scores.append(float(np.hypot(flow[..., 0], flow[..., 1]).mean()))
            flows.append(np.clip(np.rint(flow * 8), -127, 127).astype(np.int8).tobytes())
        last = gray
    table = pa.table({"scores": [scores], "flow": [b"".join(flows)]})
    pq.write_table(table, os.path.join(out, f"{clip_id}.parquet"), compression="zstd", use_dictionary=False)


if __name__ == "__main__":
    main()
