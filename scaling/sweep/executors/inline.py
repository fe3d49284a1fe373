"""One worker in this process."""

from __future__ import annotations

from scaling.sweep.executors.executor import EXECUTORS, Request, refuse_settings
from scaling.sweep.work import work
from scaling.sweep.worker import WorkerReport


@EXECUTORS.register("inline")
def inline(request: Request) -> WorkerReport:
    """Work here and now."""
    refuse_settings(request, "inline")
    return work(
        request.trunks,
        request.store,
        trainer=request.trainer,
        options=request.options,
        progress=request.progress,
        stop=request.stop,
    )
