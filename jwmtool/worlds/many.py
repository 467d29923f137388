"""Many seeds: worlds in parallel processes, resumable, none of them stopping the others."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from jwmtool import console
from jwmtool.artifacts.json_file import read_json
from jwmtool.errors import JwmError, UsageError
from jwmtool.worlds.spec import WorldSpec

_MAX_NAMED = 20  # failing seeds in the last line


@dataclass(frozen=True)
class Order:
    """What to make: one world for each seed, in `output`/<kind>-<seed>/."""

    spec: WorldSpec  # its seed is the first one's
    output: Path
    rig: str | Path = "front1"
    lidar: str = "auto"
    supersampling: int = 2
    withhold: tuple[str, ...] = ()
    force: bool = False
    provenance: dict[str, Any] | None = None


def write_worlds(order: Order, count: int, workers: int, finished: Callable[[Path], None]) -> None:
    """Make the worlds of `count` seeds from the order's own on.

    Those that are there already are left alone, so that a run that was stopped goes on where it was.

    Args:
        order: what to make.
        count: number of seeds.
        workers: processes, each with one thread.
        finished: called with each clip's folder, in order of the seeds; also for those that were there.

    Raises:
        JwmError: some seeds failed (all others were made); the message names them.
    """
    if count < 1 or workers < 1:
        raise UsageError(f"--count, --workers: expected at least 1, found {min(count, workers)}")
    first = order.spec.seed
    waiting, crashes = deque(range(first, first + count)), Counter[int]()
    results: dict[int, Path] = {}
    failures: dict[int, str] = {}
    told = first
    with console.progress("worlds", count) as bar:
        while waiting:
            for seed, result in _run_pool(order, waiting, workers, crashes):
                if isinstance(result, Path):
                    results[seed] = result
                else:
                    failures[seed] = result
                    console.notice(f"seed {seed}: {result}")
                while told in results or told in failures:
                    if told in results:
                        finished(results[told])
                    told += 1
                bar.update(len(results) + len(failures), f"{len(results)}/{count} worlds")
    if failures:
        seeds = sorted(failures)
        named = ", ".join(map(str, seeds[:_MAX_NAMED])) + (" ..." if len(seeds) > _MAX_NAMED else "")
        message = f"{len(seeds)} of {count} worlds failed: seed {named}; the first: {failures[seeds[0]]}"
        raise JwmError(message)


def make_one(order: Order) -> Path:
    """Make the world of the order's own seed unless it is there; return its folder.

    Raises:
        JwmError: another clip stands there, and the order does not say `force`.
    """
    from jwmtool.worlds.describe import describe
    from jwmtool.worlds.generate import source_of, write_world
    from jwmtool.worlds.world import World

    description = describe(order.spec, order.rig, order.lidar)
    target = order.output / description.spec.name
    if target.exists() and not order.force:
        document = read_json(target / "clip.json")
        found = (document.get("source"), document.get("split", {}).get("rules", []))
        if found != (source_of(description, order.supersampling), list(order.withhold)):
            raise JwmError(f"{target}: a clip made otherwise stands there (other flags or version); pass --force")
        return target
    return write_world(
        World(description),
        target,
        supersampling=order.supersampling,
        withhold=order.withhold,
        force=order.force,
        provenance=None if order.provenance is None else {**order.provenance, "seed": order.spec.seed},
    )


def _run_pool(order: Order, waiting: deque[int], workers: int, crashes: Counter[int]) -> Any:
    """Yield (seed, folder or what went wrong) until all are done or a worker dies, leaving the rest in `waiting`.

    A dead worker (memory ran out, say) takes its pool along. Who was to blame is not known, so that the seeds that ran
    are tried again one at a time; one that dies a second time has failed.
    """
    running: dict[Future[Path], int] = {}
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        while waiting or running:
            alone = bool(waiting) and crashes[waiting[0]] > 0
            while waiting and len(running) < (1 if alone else workers):
                seed = waiting[0]
                running[pool.submit(_worker, replace(order, spec=replace(order.spec, seed=seed)))] = seed
                waiting.popleft()
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            broken = []
            for future in done:
                seed = running.pop(future)
                error = future.exception()
                if error is None:
                    yield seed, future.result()
                elif isinstance(error, BrokenProcessPool):
                    broken.append(seed)
                else:
                    yield seed, str(error) if isinstance(error, JwmError) else f"{type(error).__name__}: {error}"
            if broken:
                broken += running.values()
                crashes.update(broken)
                for seed in sorted(broken, reverse=True):
                    if crashes[seed] < 2:
                        waiting.appendleft(seed)
                    else:
                        yield seed, "its process died, twice (out of memory?)"
                break
        pool.shutdown()
    except BrokenProcessPool:  # it broke while a seed was submitted; that seed is still waiting
        for seed in sorted(running.values(), reverse=True):
            waiting.appendleft(seed)
    finally:
        _stop(pool)


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers; each removes its unfinished folder."""
    pool.shutdown(wait=False, cancel_futures=True)
    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    for child in children:
        child.join(10.0)


def _start_worker() -> None:
    """One thread for each process; Ctrl-C is for the parent, which then ends its workers."""
    os.environ["JWM_THREADS"] = "1"
    console.set_verbosity(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _worker(order: Order) -> Path:
    return make_one(order)
