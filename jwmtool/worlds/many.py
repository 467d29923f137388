"""Many seeds: worlds in parallel processes, resumable, none of them stopping the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jwmtool.artifacts.json_file import read_json
from jwmtool.errors import JwmError, UsageError
from jwmtool.pool import Words, run_jobs
from jwmtool.worlds.spec import WorldSpec


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
        workers: processes, which share the threads of this one.
        finished: called with each clip's folder, in order of the seeds; also for those that were there.

    Raises:
        JwmError: some seeds failed (all others were made); the message names them.
    """
    if count < 1:
        raise UsageError(f"--count: expected at least 1, found {count}")
    seeds = range(order.spec.seed, order.spec.seed + count)
    orders = {str(seed): replace(order, spec=replace(order.spec, seed=seed)) for seed in seeds}
    run_jobs(make_one, orders, workers, finished, Words(many="worlds", one="seed"))


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
