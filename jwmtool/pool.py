"""Many jobs in parallel processes: none of them stops the others, and an interrupted run leaves no process behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from types import FrameType
from typing import Generic, TypeVar

from jwmtool import console
from jwmtool.device import num_threads
from jwmtool.errors import JwmError, UsageError

Job = TypeVar("Job")
Result = TypeVar("Result")

_MAX_NAMED = 20  # failed jobs in the last line


class JobsFailedError(JwmError):
    """Some jobs failed, all others were done. Leaves with the code that all failures have in common, else 1."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Failure:
    """What went wrong with a job, in one line."""

    message: str
    exit_code: int = 1


@dataclass(frozen=True)
class Words:
    """How jobs are called: `2 of 9 worlds failed: seed 3, 5`."""

    many: str  # worlds
    one: str  # seed


def run_jobs(
    work: Callable[[Job], Result],
    jobs: Mapping[str, Job],
    workers: int,
    finished: Callable[[Result], None],
    words: Words,
    ready: Mapping[str, Result] | None = None,
) -> None:
    """Do every job, each in one of `workers` processes, which share the threads of this one (JWM_THREADS).

    Args:
        work: a function of a module; it and the jobs are pickled.
        jobs: by name, in order.
        workers: number of processes.
        finished: called with each result in order of the jobs, as soon as all before it are done or have failed.
        words: for what is told.
        ready: results of jobs that are done already, by name.

    Raises:
        JobsFailedError: some failed; each was told when it did, and the message names them.
    """
    if workers < 1:
        raise UsageError(f"--workers: expected at least 1, found {workers}")
    names = list(jobs)
    results: dict[int, Result] = {i: ready[name] for i, name in enumerate(names) if ready and name in ready}
    failures: dict[int, Failure] = {}
    waiting = deque(i for i in range(len(names)) if i not in results)
    crashes: Counter[int] = Counter()
    pool = _Pool(work, list(jobs.values()), max(1, min(workers, len(waiting))))
    told = 0

    def tell() -> None:
        nonlocal told
        while told in results or told in failures:
            if told in results:
                finished(results[told])
            told += 1

    with console.progress(words.many, len(names)) as bar:
        tell()
        while waiting:
            with closing(pool.run(waiting, crashes)) as outcomes:
                for index, result in outcomes:
                    if isinstance(result, Failure):
                        failures[index] = result
                        console.notice(f"{words.one} {names[index]}: {result.message}")
                    else:
                        results[index] = result
                    tell()
                    bar.update(len(results) + len(failures), f"{len(results)}/{len(names)} {words.many}")
    if failures:
        failed = sorted(failures)
        listed = ", ".join(names[i] for i in failed[:_MAX_NAMED]) + (" ..." if len(failed) > _MAX_NAMED else "")
        codes = {failure.exit_code for failure in failures.values()}
        message = f"{len(failed)} of {len(names)} {words.many} failed: {words.one} {listed}; the first: "
        raise JobsFailedError(message + failures[failed[0]].message, codes.pop() if len(codes) == 1 else 1)


class _Pool(Generic[Job, Result]):
    """Runs jobs by number."""

    def __init__(self, work: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> None:
        self._work, self._jobs, self._workers = work, jobs, workers
        self._threads = max(1, num_threads() // workers)

    def run(self, waiting: deque[int], crashes: Counter[int]) -> Generator[tuple[int, Result | Failure], None, None]:
        """Yield (job, result or failure) until all are done or a worker dies, leaving the rest in `waiting`.

        A dead worker (memory ran out, say) takes its pool along. Who was to blame is not known, so that the jobs that
        ran are tried again one at a time; one that dies a second time has failed.
        """
        running: dict[Future[Result | Failure], int] = {}
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self._workers, context, initializer=_start_worker, initargs=(self._threads,))
        try:
            while waiting or running:
                alone = bool(waiting) and crashes[waiting[0]] > 0
                while waiting and len(running) < (1 if alone else self._workers):
                    running[pool.submit(_attempt, self._work, self._jobs[waiting[0]])] = waiting[0]
                    waiting.popleft()
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                broken = []
                for future in done:
                    index = running.pop(future)
                    error = future.exception()
                    if isinstance(error, BrokenProcessPool):
                        broken.append(index)
                    else:
                        yield index, future.result() if error is None else _failure(error)
                if broken:
                    broken += running.values()
                    crashes.update(broken)
                    for index in sorted(broken, reverse=True):
                        if crashes[index] < 2:
                            waiting.appendleft(index)
                        else:
                            yield index, Failure("its process died, twice (out of memory?)")
                    break
            pool.shutdown()
        except BrokenProcessPool:  # it broke while a job was submitted; that job is still waiting
            for index in sorted(running.values(), reverse=True):
                waiting.appendleft(index)
        finally:
            _stop(pool)


def _attempt(work: Callable[[Job], Result], job: Job) -> Result | Failure:
    """In the worker: errors become failures there, since not every exception can be pickled."""
    try:
        return work(job)
    except Exception as error:  # noqa: BLE001 (whatever it is, the other jobs go on)
        return _failure(error)


def _failure(error: BaseException) -> Failure:
    if isinstance(error, JwmError):
        return Failure(str(error), error.exit_code)
    return Failure(" ".join(f"{type(error).__name__}: {error}".split()))


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers; each removes its unfinished folder."""
    pool.shutdown(wait=False, cancel_futures=True)
    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    for child in children:
        child.join(10.0)


def _start_worker(threads: int) -> None:
    """Its share of the threads; Ctrl-C is for the parent, which then ends its workers."""
    os.environ["JWM_THREADS"] = str(threads)
    console.set_verbosity(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
