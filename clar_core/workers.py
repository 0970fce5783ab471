"""Worker processes for parallel work: deaf to Ctrl-C, ended with the loop that feeds them, never outliving it."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1


class WorkerDiedError(RuntimeError):
    """A worker process ended without an answer: killed from outside, out of memory, or crashed in native code."""


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def map_unordered(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    *,
    workers: int | None = None,
    setup: Callable[..., None] | None = None,
    setup_arguments: tuple[Any, ...] = (),
    ahead: int | None = None,
) -> Iterator[tuple[Job, Result]]:
    """Yield (job, result) pairs as worker processes finish them.

    Workers are fresh interpreters (spawned), because an OpenGL or ROS context does not survive a fork. Closing the
    iterator early, an exception or Ctrl-C cancels what has not begun and ends the workers.

    Args:
        function: what to do with a job; importable by name.
        jobs: picklable; at most two a worker are in flight.
        workers: number of processes; the available cores when left out.
        setup: called once in each worker before its first job; importable by name.
        setup_arguments: what it is called with.
        ahead: no job begins more than so many places after the first one that is not finished, so that whoever puts
            the results in order holds no more than these; unbounded when left out.

    Raises:
        WorkerDiedError: a worker ended without an answer.
        Exception: whatever ``function`` or ``setup`` raised.
    """
    count = max(1, workers if workers is not None else available_cores())
    pool = ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), _begin, (os.getpid(), setup, setup_arguments)
    )
    waiting = iter(jobs)
    running: dict[Future[Result], Job] = {}
    places: dict[Future[Result], int] = {}
    begun = 0
    clean = False
    try:
        while True:
            while (
                len(running) < 2 * count
                and (ahead is None or begun - min(places.values(), default=begun) < ahead)
                and (job := next(waiting, _END)) is not _END
            ):
                future = pool.submit(_call, function, job)
                running[future], places[future] = job, begun
                begun += 1
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                result = future.result()
                del places[future]
                yield running.pop(future), result
        clean = True
    except BrokenProcessPool as error:
        names = ", ".join(str(job) for job in running.values())
        raise WorkerDiedError(
            f"a worker process died (killed, out of memory, or a crash in native code); in work: {names}. "
            "What was finished before is kept; try again with fewer workers."
        ) from error
    finally:
        if not clean:
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def in_order(pairs: Iterable[tuple[int, Result]], first: int) -> Iterator[Result]:
    """Results of jobs numbered from ``first`` on, by number, whatever the order in which they were finished."""
    waiting: dict[int, Result] = {}
    expected = first
    for number, result in pairs:
        waiting[number] = result
        while expected in waiting:
            yield waiting.pop(expected)
            expected += 1


_END: Any = object()
_setup_error: Exception | None = None


def _begin(parent: int, setup: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    global _setup_error
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    if setup is not None:
        try:
            setup(*arguments)
        except Exception as error:
            # Raised where the parent sees it: an initializer's own exception would only break the pool.
            _setup_error = error


def _call(function: Callable[[Any], Result], job: Any) -> Result:
    if _setup_error is not None:
        raise _setup_error
    return function(job)
