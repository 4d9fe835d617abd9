"""DuckDB and pandas read a store with nothing of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.media import write_video

import wanprep

READ = """
import json, sys
from pathlib import Path
import duckdb, numpy as np, pandas as pd

store = Path(sys.argv[1])

def array(cell, folder):
    if cell["data"] is not None:
        data = bytes(cell["data"])
    else:
        with open(folder / cell["file"], "rb") as file:
            file.seek(cell["offset"])
            data = file.read(cell["nbytes"])
    return np.frombuffer(data, cell["dtype"]).reshape([int(n) for n in cell["shape"]])

def digest(tensor):
    return [str(tensor.dtype), list(tensor.shape), float(tensor.astype("float64").sum())]

clips = pd.concat(pd.read_parquet(path) for path in (store / "clips").glob("*.parquet"))
flow = store / "artifacts" / "flow"
frames = pd.concat(pd.read_parquet(path) for path in flow.glob("*.parquet"))
outcomes = pd.concat(pd.read_parquet(path) for path in (store / "outcomes").glob("*.parquet"))
by_pandas = {
    row.clip_id: {name: digest(array(getattr(row, name), flow)) for name in ("blocks", "motion_T")}
    for row in frames.itertuples()
}

table = duckdb.sql(f'''
    select clips.clip_id, clips.frames, flow.blocks, flow.motion_T, flow.mean_motion
    from '{store}/clips/*.parquet' clips
    join '{store}/artifacts/flow/*.parquet' flow on clips.keys['flow'] = flow.key
    order by clips.clip_id
''').fetchall()
by_duckdb = {
    row[0]: {"blocks": digest(array(row[2], flow)), "motion_T": digest(array(row[3], flow))} for row in table
}
causes = duckdb.sql(f"select cause from '{store}/outcomes/*.parquet' where outcome = 'failed'").fetchall()
ours = sorted(name for name in sys.modules if name.split(".")[0] in ("wanprep", "schemas", "stages"))
print(json.dumps({
    "ours": ours,
    "clips": sorted(clips.clip_id),
    "keys": {row.clip_id: dict(row["keys"])["flow"] for _, row in clips.iterrows() if len(row["keys"])},
    "frames": {row[0]: row[1] for row in table},
    "causes": [row[0] for row in causes],
    "pandas_causes": [cause for cause in outcomes.cause if cause is not None],
    "pandas": by_pandas,
    "duckdb": by_duckdb,
    "inline": {row.clip_id: row.blocks["data"] is not None for row in frames.itertuples()},
}))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readers")
    write_video(folder / "in/small.mp4", 3)
    write_video(folder / "in/large.mp4", 40, size=(320, 240))
    (folder / "in/bad.mp4").write_text("no video")
    wanprep.run(folder / "in", store=folder / "store", recipe={"stages": {"flow": {}}}, engine="inline")
    return folder / "store"


@pytest.fixture(scope="module")
def read(store: Path) -> Any:
    # Isolated from this folder and from the environment, so that only installed packages can be found.
    done = subprocess.run(
        [sys.executable, "-I", "-c", READ, str(store)], cwd=store, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def digest(tensor: Any) -> list[Any]:
    return [str(tensor.dtype), list(tensor.shape), float(np.asarray(tensor, dtype=np.float64).sum())]


def test_nothing_of_ours_is_loaded(read: Any) -> None:
    assert read["ours"] == []


def test_clips_artifacts_and_outcomes_join(store: Path, read: Any) -> None:
    clips = {clip.id: clip.record for clip in wanprep.open(str(store)).clips()}
    assert read["clips"] == sorted(clips) and len(clips) == 3
    assert read["keys"] == {name: clip.keys["flow"] for name, clip in clips.items() if clip.keys}
    assert read["frames"] == {name: clip.frames for name, clip in clips.items() if clip.keys}
    assert sorted(read["frames"].values()) == [3, 40]
    assert read["causes"] == read["pandas_causes"]
    assert read["causes"][0].startswith("video: cannot be opened as media")


def test_tensors_are_decoded_inline_and_by_reference(store: Path, read: Any) -> None:
    assert sorted(read["inline"].values()) == [False, True]
    for clip in wanprep.open(str(store)).clips():
        if clip.record.keys:
            expected = {"blocks": digest(clip.flow.blocks), "motion_T": digest(clip.flow.motion_T)}
            assert read["pandas"][clip.id] == read["duckdb"][clip.id] == expected
