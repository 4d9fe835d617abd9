"""The inline engine: generations one after the other in this process."""

from __future__ import annotations

from collections.abc import Sequence

from wanprep_infer.jobs.job import GenerationJob, Listener
from wanprep_infer.jobs.making import Maker
from wanprep_infer.jobs.request import Request


def run(job: GenerationJob, requests: Sequence[Request], listener: Listener) -> None:
    """Makes all requests with one loaded model.

    Raises:
        WanprepError: the model cannot be loaded, or the output folder cannot be written.
    """
    maker = Maker(job)
    for request in requests:
        listener.outcome(maker.make(request, listener.progress))
