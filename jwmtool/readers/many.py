"""Many scenes: each becomes a clip, in parallel processes, resumable, none of them stopping the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jwmtool.artifacts.atomic import check_output
from jwmtool.artifacts.json_file import read_json
from jwmtool.artifacts.provenance import record
from jwmtool.errors import InputError, UsageError
from jwmtool.pool import Words, run_jobs
from jwmtool.readers import list_scenes, read_recording
from jwmtool.readers.ingest import ingest
from jwmtool.readers.recording import Hints, Recording, safe_name
from jwmtool.readers.select import Selection, override_masks


@dataclass(frozen=True)
class Order:
    """What one run of `jwm ingest` asks of every recording.

    Attributes:
        format: a name in `readers.FORMATS`, or None to detect it.
        masks: rules of `--mask`.
        size: (width, height) px, or None.
        argv: the command line, for provenance.
    """

    format: str | None = None
    selection: Selection = field(default_factory=Selection)
    masks: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    hints: Hints = field(default_factory=Hints)
    force: bool = False
    argv: tuple[str, ...] = ()

    def read(self, source: Path, scene: str | None) -> Recording:
        """The recording's index, with the masks that were ordered."""
        return override_masks(read_recording(source, self.format, scene, self.hints), self.masks)

    def write(self, recording: Recording, source: Path, scene: str | None, target: Path) -> Path:
        """Write the clip; its provenance also says what was asked for."""
        provenance = record(self.argv, list(recording.index_files)) | {"request": self.request(source, scene)}
        return ingest(
            recording, target, selection=self.selection, size=self.size, force=self.force, provenance=provenance
        )

    def request(self, source: Path, scene: str | None) -> dict[str, Any]:
        """All that decides what is in a clip, as it reads back from JSON."""
        asked = {
            "source": str(source.resolve()),
            "scene": scene,
            "selection": asdict(self.selection),
            "size": self.size,
            "masks": self.masks,
            "hints": asdict(self.hints),
        }
        told: dict[str, Any] = json.loads(json.dumps(asked))
        return told


@dataclass(frozen=True)
class Job:
    """One scene of a source, and the clip that it becomes."""

    order: Order
    source: Path
    scene: str
    target: Path


def plan(order: Order, sources: Sequence[Path], split: str, output: Path) -> list[Job]:
    """A job for every scene of a split of the sources, in `output`/<scene>/.

    Raises:
        UsageError: an unknown split, a format without scenes, one name twice. InputError: not readable, no scene.
    """
    jobs: dict[Path, Job] = {}
    for source in sources:
        scenes = list_scenes(source, order.format, split)
        if not scenes:
            raise InputError(source, f"scenes in the split {split}", "none")
        for scene in scenes:
            job = Job(order, source, scene, output / safe_name(scene))
            if job.target in jobs:
                raise UsageError(
                    f"{job.target}: both {jobs[job.target].source} and {source} hold a scene of this name; "
                    "ingest them into folders of their own"
                )
            jobs[job.target] = job
    return list(jobs.values())


def ingest_scenes(jobs: Sequence[Job], workers: int, resume: bool, finished: Callable[[Path], None]) -> None:
    """Make the clips of all jobs.

    Args:
        jobs: see `plan`.
        workers: processes, which share the threads of this one.
        resume: leave clips alone that are there and were asked for in the same way.
        finished: called with each clip's folder, in order of the jobs; also for those that were there.

    Raises:
        OutputExistsError: a clip is there, without `resume` (or is no clip); nothing is done. InputError: with
            `resume`, a clip is there that was asked for otherwise; nothing is done. JobsFailedError: some scenes
            failed, all others were made.
    """
    ready = {}
    for job in jobs:
        if resume and (job.target / "clip.json").is_file():
            _check_same(job)
            ready[job.target.name] = job.target
        else:
            check_output(job.target, job.order.force)
    run_jobs(_ingest_one, {job.target.name: job for job in jobs}, workers, finished, Words("scenes", "scene"), ready)


def _ingest_one(job: Job) -> Path:
    check_output(job.target, job.order.force)
    return job.order.write(job.order.read(job.source, job.scene), job.source, job.scene, job.target)


def _check_same(job: Job) -> None:
    file = job.target / "clip.json"
    history = read_json(file).get("provenance", [])
    found = next((entry["request"] for entry in reversed(history) if "request" in entry), None)
    expected = job.order.request(job.source, job.scene)
    if found != expected:
        other = [key for key in expected if not isinstance(found, dict) or found.get(key) != expected[key]]
        told = f"one made with another {', '.join(other)}; without --resume, --force replaces it"
        raise InputError(file, "a clip as this command makes it", told)
