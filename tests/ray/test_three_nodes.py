"""A cluster of machines with different resources, of which one goes and another comes while a job runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from small_jobs import Ears, causes, prepare, rows, texts

from ray_jobs.preprocess import run

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

_SMALL: dict[str, Any] = {"object_store_memory": 100 << 20, "include_dashboard": False}
_PATIENCE_SECONDS = 120.0
_CLIPS = 20


@pytest.fixture(scope="module", autouse=True)
def cluster(plugins: None) -> Iterator[Any]:
    """The head with CPUs alone; the tests add a machine with a reader and one with a GPU. No machine has either:
    Ray counts what it is told to."""
    from ray.cluster_utils import Cluster

    three = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 0, **_SMALL})
    ray.init(address=three.address, log_to_driver=False, logging_level="ERROR")
    yield three
    ray.shutdown()
    three.shutdown()


def _with_reader(cluster: Any) -> Any:
    return cluster.add_node(num_cpus=1, num_gpus=0, resources={"test_reader": 1}, **_SMALL)


def test_each_stage_runs_where_its_resources_are_also_when_they_move(cluster: Any, tmp_path: Path) -> None:
    reader = _with_reader(cluster)
    gpu = cluster.add_node(num_cpus=1, num_gpus=1, **_SMALL)
    cluster.wait_for_nodes()
    diary = tmp_path / "diary"
    stages = {"test_moody": {}, "test_reader": {"seconds": 0.4, "diary": str(diary)}, "test_on_gpu": {}}
    job, tasks = prepare(tmp_path, [f"clip {number}" for number in range(_CLIPS)], stages)
    assert sorted(map(sorted, job.groups)) == [["test_moody"], ["test_on_gpu"], ["test_reader"]], (
        "an operator a kind of machine"
    )
    ears = Ears()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            run(job, tasks, ears)
        except BaseException as error:
            failed.append(error)

    worker = threading.Thread(target=work, daemon=True)  # Ray starts nodes in a process's main thread only
    worker.start()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not diary.exists() or len(diary.read_text().splitlines()) < _CLIPS // 3:
        assert worker.is_alive() and time.monotonic() < deadline, failed
        time.sleep(0.05)
    cluster.remove_node(reader)
    assert worker.is_alive(), "the job ended before its machine could be taken away"
    later = _with_reader(cluster)
    worker.join(timeout=_PATIENCE_SECONDS)
    assert not worker.is_alive() and not failed, failed
    assert causes(job) == {}
    for stage in stages:
        assert len(texts(job, stage)) == _CLIPS == ears.total("done", stage), stage
        assert len({row["key"] for row in rows(job.store, stage)}) == _CLIPS, "each once"
    assert set(texts(job, "test_on_gpu")) == {gpu.node_id}
    assert set(texts(job, "test_reader")) == {reader.node_id, later.node_id}, "before and after"
