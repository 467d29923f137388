"""What `jwm generate` does: hold the request against what is there, then make and write the videos."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jwmtool import console
from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.clip_io import clip_content_sha256, read_clip
from jwmtool.artifacts.images import image_size
from jwmtool.artifacts.provenance import record
from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.scene_files import open_scene
from jwmtool.artifacts.trajectory_io import TRAJECTORY_SUFFIXES
from jwmtool.artifacts.weights import weights_sha256
from jwmtool.device import resolve_device
from jwmtool.errors import UsageError
from jwmtool.joint.chunks import Chunks, Overlapping
from jwmtool.joint.drive import Drive, DriveRequest, resolve_drive
from jwmtool.joint.first_frames import first_pictures
from jwmtool.joint.generate import generate
from jwmtool.joint.imagined import imagined
from jwmtool.joint.models import (
    AUTOENCODER,
    FIRST_FRAME,
    MODEL,
    REPAIR,
    WITHOUT,
    Models,
    check_fit,
    find_checkpoint,
    open_models,
)
from jwmtool.joint.pictures import Output
from jwmtool.joint.prior import PriorRenderer
from jwmtool.rendering.view import on_device
from jwmtool.worldgen.first_frame import first_frame_config, load_first_frame
from jwmtool.worldgen.repair import load_repair, repair_config
from jwmtool.worldgen.sampler import CALM, Sampling

DEFAULT_VIDEO = "video.mp4"
MAX_SAMPLES = 1000
KEEP = 0.5  # of models that have learned little


@dataclass(frozen=True)
class Order:
    """A request and where things are; None: not given.

    Attributes:
        request: what to make.
        sampling: how noise becomes latents.
        calm: take `CALM` as temperature instead of the sampling's, where the model is a small one of our own.
        keep: share of what the scene shows, or of the last picture carried along, that stays as it is; None: `KEEP`
            with such a model, else 0.
        prior, clip, layout: a scene and clips.
        first_frames: pictures, one for each camera.
        model, autoencoder, repair, first_frame_model: paths or names of shipped ones, which are the defaults. The last
            two may be `none`, and are by default unless the model is a small one of our own.
        output: see `pictures.Output`; None: `video.mp4`, or a folder `video`.
        seed: of the first sample; the next ones count on.
        num_samples: videos of each camera.
        preview: put render and coverage beside what was generated.
        device: `auto`, `cpu` or `cuda`.
    """

    request: DriveRequest
    sampling: Sampling
    calm: bool = False
    keep: float | None = None
    prior: Path | None = None
    clip: Path | None = None
    layout: Path | None = None
    first_frames: tuple[Path, ...] = ()
    model: str | None = None
    autoencoder: str | None = None
    repair: str | None = None
    first_frame_model: str | None = None
    output: Path | None = None
    seed: int = 0
    num_samples: int = 1
    preview: bool = False
    device: str = "auto"
    force: bool = False


@dataclass(frozen=True)
class Plan:
    """An order that can be carried out; no weights were read and nothing was rendered yet."""

    order: Order
    drive: Drive
    output: Output
    scene: Scene | None
    clip: Clip | None
    layout: Clip | None
    model: Path
    autoencoder: Path
    repair: Path | None
    first_frame_model: Path | None
    device: str

    def reads(self) -> list[Path]:
        """What carrying it out reads."""
        order = self.order
        given = (order.prior, order.clip, order.layout, *order.first_frames, *_trajectory_file(order))
        return [*(path for path in given if path is not None), *self._weights()]

    def write(self, argv: Sequence[str]) -> Path:
        """Make the videos; returns where they are.

        Raises:
            InputError: damaged weights or pictures.
        """
        order = self.order
        models = open_models(self.model, self.autoencoder, self.device)
        repair = None if self.repair is None else load_repair(self.repair, self.device)
        scene = None if self.scene is None else PriorRenderer(on_device(self.scene, self.device), repair)
        first = first_pictures(self.drive, order.first_frames, self.clip, scene)
        console.detail(f"{len(self.drive)} frames, {'no first frame' if first is None else 'first frame known'}")
        config, sampling = models.transformer.config, order.sampling
        small = config.start_stride > 0
        if order.calm and small:
            sampling = replace(sampling, temperature=CALM)
        painter = None
        if scene is None and first is None and self.first_frame_model is not None:
            painter = load_first_frame(self.first_frame_model, self.device)
            console.notice("nothing to begin with: a small model makes up a first picture (--first-frame gives one)")
        keep = order.keep if order.keep is not None else KEEP if small else 0.0
        told = {"sampling": asdict(sampling), "keep": keep, "tags": dict(self.drive.tags)}
        provenance = [*([] if self.scene is None else self.scene.history), self._record(argv) | told]
        total = len(self.drive) * order.num_samples
        with (
            console.progress("generating", total) as bar,
            self.output.open(self.drive.rate_hz, order.force, provenance) as writers,
        ):
            for sample in range(order.num_samples):
                tick = _ticker(bar, sample * len(self.drive), total)
                seed = order.seed + sample
                if painter is not None:
                    first = imagined(self.drive, painter, seed, order.sampling, self.device)
                made = generate(
                    self.drive, _chunks(models, sampling), models.autoencoder, seed,
                    scene=scene, first=first, keep=keep, carry=config.carry, device=self.device, progress=tick,
                )  # fmt: skip
                for some in made:
                    writers.write(sample, self.drive, seed, some, order.preview)
                    tick(some.frames.stop)
        return self.output.path

    def _weights(self) -> list[Path]:
        weights = (self.model, self.autoencoder, self.repair, self.first_frame_model)
        return [path for path in weights if path is not None]

    def _record(self, argv: Sequence[str]) -> dict[str, Any]:
        order = self.order
        inputs: list[Any] = [path for path in (order.prior, *order.first_frames, *_trajectory_file(order)) if path]
        for path, clip in ((order.clip, self.clip), (order.layout, self.layout)):
            if clip is not None:
                inputs.append({"path": str(path), "sha256": clip_content_sha256(clip)})
        inputs += [{"path": str(path), "sha256": weights_sha256(path)} for path in self._weights()]
        return record(argv, inputs, seed=order.seed, device=self.device)


def plan_videos(order: Order) -> Plan:
    """Hold an order against what is there.

    Raises:
        UsageError: it contradicts itself, or asks for what is not there.
        InputError: an input is missing, damaged or does not fit the others.
        OutputExistsError: the output exists and not `force`.
    """
    if order.preview and order.prior is None:
        raise UsageError("--preview: expected --prior SCENE, found none")
    if order.repair is not None and order.prior is None:
        raise UsageError("--repair: expected --prior SCENE, found none")
    if order.first_frame_model is not None and (order.prior is not None or order.first_frames):
        raise UsageError("--first-frame-model: expected neither --prior nor --first-frame, which it takes the place of")
    if order.keep is not None and not 0.0 <= order.keep <= 1.0:
        raise UsageError(f"--keep: expected 0 to 1, found {order.keep:g}")
    scene = None if order.prior is None else open_scene(order.prior)
    clip = None if order.clip is None else read_clip(order.clip)
    layout = None if order.layout is None else read_clip(order.layout)
    for path in order.first_frames:
        image_size(path)  # no picture is told before any work
    drive = resolve_drive(order.request, scene, clip, layout)
    names = tuple(camera.name for camera in drive.cameras)
    several = len(names) * order.num_samples > 1
    path = order.output or Path(Path(DEFAULT_VIDEO).stem if several else DEFAULT_VIDEO)
    output = Output(path, names, order.num_samples)
    output.check(len(drive), order.force)
    model = find_checkpoint(order.model, MODEL, "--model")
    autoencoder = find_checkpoint(order.autoencoder, AUTOENCODER, "--autoencoder")
    small = check_fit(model, autoencoder).start_stride > 0

    def beside(given: str | None, shipped: str, flag: str, check: Callable[[Path], Any]) -> Path | None:
        """A network that a small model has beside it by default; another's weights are told before any work."""
        if given == WITHOUT or not (small or given is not None):
            return None
        found = find_checkpoint(given, shipped, flag)
        check(found)
        return found

    repair = first_frame_model = None
    if scene is not None:
        repair = beside(order.repair, REPAIR, "--repair", repair_config)
    elif not order.first_frames:
        first_frame_model = beside(order.first_frame_model, FIRST_FRAME, "--first-frame-model", first_frame_config)
    device = resolve_device(order.device)
    return Plan(order, drive, output, scene, clip, layout, model, autoencoder, repair, first_frame_model, device)


def _chunks(models: Models, sampling: Sampling) -> Chunks:
    """The way a model goes about a video, new for each."""
    return Overlapping(models.transformer, models.autoencoder.stride, sampling)


def _ticker(bar: console.Progress, before: int, total: int) -> Callable[[float], None]:
    def tick(done: float) -> None:
        bar.update(before + done, f"frame {min(total, before + math.floor(done))}/{total}")

    return tick


def _trajectory_file(order: Order) -> list[Path]:
    text = order.request.trajectory
    return [Path(text)] if text is not None and Path(text).suffix.lower() in TRAJECTORY_SUFFIXES else []
