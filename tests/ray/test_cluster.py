"""The files for clusters, and addresses without one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ray_jobs.session import connected
from wanprep.errors import UsageError

FOLDER = Path(__file__).parents[2] / "ray_jobs" / "cluster"


def test_ray_takes_the_file_for_bare_machines() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(yaml.safe_load((FOLDER / "raycluster.yaml").read_text())))


def test_the_kuberay_file_says_what_each_group_needs() -> None:
    job = yaml.safe_load((FOLDER / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values()), (
            "KubeRay takes strings only"
        )
        container = group["template"]["spec"]["containers"][0]
        assert container["image"] and container["resources"]["limits"]
        assert {"name": "RAY_worker_niceness", "value": "0"} in container["env"]


def test_an_address_where_nobody_answers_is_one_line() -> None:
    with (
        pytest.raises(UsageError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'") as caught,
        connected("127.0.0.1:1", cpus=1, run="test"),
    ):
        pass
    assert "\n" not in str(caught.value)
