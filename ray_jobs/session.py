"""The connection to Ray: one of our own, a cluster's, or the caller's."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

from ray_jobs.vigil import own_ray
from wanprep.errors import UsageError

_OBJECT_STORE_BYTES = 512 << 20  # only rows of text go through it
_CONNECT_SECONDS = 10.0


@contextlib.contextmanager
def connected(address: str | None, *, cpus: int, run: str) -> Iterator[None]:
    """Ray for the length of the block.

    A connection that is there already is used and left alone. Otherwise `address` is joined, and without one a
    Ray of our own is started with `cpus` logical CPUs and ended with the block.

    Raises:
        UsageError: no cluster answers at the address.
        WanprepError: the Ray of our own was taken away from under the job.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {
        "namespace": f"wanprep-{run}",
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "configure_logging": True,
    }
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options |= {
            "address": "local",
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
            # Ray's workers run at nice 15 unless told otherwise, which starves them on a machine in use.
            # Nobody reads the metrics and the task history of a Ray that nobody sees (no dashboard).
            "_system_config": {
                "worker_niceness": 0,
                "enable_metrics_collection": False,
                "task_events_report_interval_ms": 0,
            },
        }
    else:
        _check_answers(address)
        options["address"] = address
    with _loopback_only() if address is None else contextlib.nullcontext():
        try:
            ray.init(**options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            why = _first_line(error)
            if address is None:
                raise UsageError(
                    f"Ray cannot be started on this machine ({why}); try --engine inline"
                ) from error
            raise _nobody(address, why) from error
        with own_ray() if address is None else _joined():
            yield


@contextlib.contextmanager
def _joined() -> Iterator[None]:
    """Somebody's cluster, left at the end of the block."""
    import ray

    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _loopback_only() -> Iterator[None]:
    """Has a Ray that is started meanwhile listen on the loopback address alone: whoever reaches its ports can run
    code. Ray binds to all addresses otherwise, `_node_ip_address` or not (measured with Ray 2.60); this is the
    switch that keeps it to itself on desktop systems."""
    from ray._private import ray_constants

    variable, switch = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, ray_constants.ENABLE_RAY_CLUSTER
    before = os.environ.get(variable)
    os.environ[variable] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = switch
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


def _check_answers(address: str) -> None:
    """Ray itself tries for five minutes before it gives up on an address (measured with Ray 2.60)."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise _nobody(address, error.strerror or str(error)) from error


def _nobody(address: str, why: str) -> UsageError:
    return UsageError(f"no Ray cluster answers at '{address}' ({why}); start one with `ray start --head`")


def nodes() -> list[dict[str, float]]:
    """What each machine that is up has in all, by Ray's resource names."""
    import ray

    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
