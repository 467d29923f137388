"""Generated frames as pictures, with what is known of each, and written where the user wants them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.atomic import atomic_folder, check_output
from jwmtool.artifacts.frame_meta import FrameMeta
from jwmtool.artifacts.video import FrameWriter, check_video_output, open_writer, write_video
from jwmtool.errors import UsageError
from jwmtool.imaging.pixels import as_picture
from jwmtool.imaging.sheet import contact_sheet
from jwmtool.joint.drive import Drive
from jwmtool.joint.generate import Generated
from jwmtool.rendering.compare import WIDE

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Output:
    """Where videos go: one file for one camera and one sample, else a folder of them.

    Attributes:
        path: `.mp4`, `.png`, or a folder of PNGs for one; a folder for several.
        cameras: names.
        samples: of each camera.
    """

    path: Path
    cameras: tuple[str, ...]
    samples: int = 1

    @property
    def single(self) -> bool:
        """One video."""
        return len(self.cameras) * self.samples == 1

    def files(self) -> list[list[str]]:
        """Names inside the folder: of each sample, that of each camera."""
        if self.samples == 1:
            return [[f"{camera}.mp4" for camera in self.cameras]]
        width = len(str(self.samples - 1))
        names = [f"sample-{k:0{max(2, width)}d}" for k in range(self.samples)]
        if len(self.cameras) == 1:
            return [[f"{name}.mp4"] for name in names]
        return [[f"{name}/{camera}.mp4" for camera in self.cameras] for name in names]

    def check(self, num_frames: int, force: bool) -> None:
        """Refuse, before long work, what cannot be written.

        Raises:
            UsageError: a name that does not suit, or a folder that holds something else.
            OutputExistsError: it exists, unless `force`.
        """
        if self.single:
            check_video_output(self.path, force)
            if self.path.suffix.lower() == ".png" and num_frames > 1:
                raise UsageError(f"-o {self.path}: a still is one frame (--frames 1), found {num_frames}")
            return
        count = f"{len(self.cameras)} cameras" if self.samples == 1 else f"{self.samples} samples"
        if self.path.suffix:
            raise UsageError(f"-o {self.path}: expected a folder's name (no suffix) for {count}")
        check_output(self.path, force)
        if self.path.exists() and not _of_videos(self.path):
            raise UsageError(f"{self.path}: --force replaces a folder of videos, but this is something else")

    @contextmanager
    def open(
        self, rate_hz: float, force: bool = False, provenance: Sequence[Mapping[str, Any]] = ()
    ) -> Iterator[Writers]:
        """Write all or nothing."""
        if self.single:
            with open_writer(self.path, rate_hz, force, provenance) as writer:
                yield Writers([[writer]])
            return
        with atomic_folder(self.path, force) as part, ExitStack() as stack:
            yield Writers(
                [
                    [stack.enter_context(write_video(part / name, rate_hz, False, provenance)) for name in names]
                    for names in self.files()
                ]
            )


@dataclass(frozen=True)
class Writers:
    """One for each camera of each sample."""

    of: list[list[FrameWriter]]

    def write(self, sample: int, drive: Drive, seed: int, made: Generated, preview: bool = False) -> None:
        """Add the frames of one chunk."""
        for view, writer in enumerate(self.of[sample]):
            for k, frame in enumerate(made.frames):
                image = preview_of(made, view, k) if preview else as_picture(made.video[view, k])
                writer.write(image, meta_of(drive, view, frame, seed, made, image))


def meta_of(drive: Drive, view: int, frame: int, seed: int, made: Generated, image: Picture) -> FrameMeta:
    """Of one picture; a preview is no view of a camera and has no K."""
    camera = drive.camera_at(view, frame)
    plain = image.shape[:2] == (camera.height, camera.width)
    k = made.frames.index(frame)
    return FrameMeta(
        time_us=int(drive.path.times_us[frame]),
        camera=drive.cameras[view].name,
        world_from_cam=camera.world_from_cam,
        K=camera.K if plain else None,
        size=(image.shape[1], image.shape[0]),
        coverage=None if made.prior is None else float(made.prior.coverage[view, k].mean()),
        action=[round(float(number), 6) for number in drive.actions[frame]],
        seed=seed,
    )


def preview_of(made: Generated, view: int, k: int) -> Picture:
    """The k-th frame: as rendered, how much is covered, as generated.

    Raises:
        UsageError: there is no prior to show.
    """
    if made.prior is None:
        raise UsageError("--preview: expected --prior SCENE, found none")
    coverage = made.prior.coverage[view, k].expand(3, -1, -1)
    panels = [as_picture(x) for x in (made.prior.bare[view, k], coverage, made.video[view, k])]
    stacked = panels[0].shape[1] > WIDE * panels[0].shape[0]
    return contact_sheet(panels, ["rendered", "coverage", "generated"], columns=1 if stacked else 3, gap_px=2)


def _of_videos(folder: Path) -> bool:
    return folder.is_dir() and all(p.is_dir() or p.suffix in (".mp4", ".jsonl") for p in folder.rglob("*"))
