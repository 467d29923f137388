"""A world with its triangles: asks for any picture, truth or lidar sweep of it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jwmtool.geometry.camera import Camera
from jwmtool.worlds.bodies import Bodies, Body, sample_times, states_at
from jwmtool.worlds.describe import describe
from jwmtool.worlds.description import STEP_S, WorldDescription
from jwmtool.worlds.figures.figure import Figure
from jwmtool.worlds.figures.models import MODELS, headlights, make_figure
from jwmtool.worlds.light.atmosphere import headlight_rows, lamp_rows
from jwmtool.worlds.light.lidar import sweep
from jwmtool.worlds.light.raycast import Caster
from jwmtool.worlds.light.render import Moment, View, render_view
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.ground import build_ground
from jwmtool.worlds.roads.terrain import states_between, world_from_state
from jwmtool.worlds.scenery.things import THING_CLASS, build_thing, lamp_heads
from jwmtool.worlds.shapes.geometry import Solid, assemble
from jwmtool.worlds.spec import WorldSpec

Floats = NDArray[np.float64]

_MOMENTS_KEPT = 4  # threads work on neighboring frames
_EGO_HEADLIGHTS = np.array([[3.6, 0.65, 0.65], [3.6, -0.65, 0.65]])  # in the rig's frame, metres


@dataclass(frozen=True)
class ActorTrack:
    """One actor's box over time; the box's frame is at its middle, x along its length."""

    id: str
    instance: int  # its number in the truth
    category: str
    size: tuple[float, float, float]  # length, width, height in metres; the largest
    world_from_box: Floats  # [F, 4, 4], one for each frame
    sizes: Floats | None = None  # [F, 3] where the box changes with the gait


class World:
    """Builds the triangles of a description once; every view of it is then a matter of rays.

    Safe to use from several threads at once.
    """

    def __init__(self, description: WorldDescription) -> None:
        self.description = description
        self._lock = threading.Lock()
        self._moments: OrderedDict[int, Moment] = OrderedDict()
        spec = description.spec
        self.num_frames = spec.num_frames
        self._times_s = sample_times(len(description.ego))
        stream = Stream(spec.seed, spec.kind)
        solids = build_ground(description.network, description.terrain, description.stretch, stream.sub("ground"))
        bodies = []
        for number, actor in enumerate(description.actors, start=1):
            figure = make_figure(actor.model, actor.size, actor.seed)
            if len(actor.states) == 1:
                mesh = figure.mesh.moved(world_from_state(actor.states[0]))
                solids.append(Solid(mesh, number, MODELS[actor.model].semantic))
            else:
                bodies.append(Body(actor, number, figure))
        for number, thing in enumerate(description.things, start=1 + len(description.actors)):
            solids.append(Solid(build_thing(thing), number, THING_CLASS[thing.kind]))
        self._static = Caster(assemble(solids))
        self._bodies = Bodies(bodies)
        heads = [lamp_heads(t) for t in description.things if t.kind == "lamp"] if description.atmosphere.lamps else []
        self._lamps = lamp_rows(np.concatenate(heads) if heads else np.zeros((0, 3)))

    @property
    def num_triangles(self) -> int:
        """Of everything, moving or not."""
        return len(self._static.geometry.faces) + self._bodies.num_triangles

    def frame_time_s(self, frame: int) -> float:
        """Seconds since the start."""
        return frame / self.description.spec.rate_hz

    def world_from_rig(self, frame: int) -> Floats:
        """[4, 4]."""
        return world_from_state(states_between(self._times_s, self.description.ego, self.frame_time_s(frame)))

    def controls(self, frame: int) -> Floats:
        """[4] speed m/s, acceleration m/s2, yaw rate rad/s, curvature 1/m."""
        table = self.description.ego_controls
        return np.array([np.interp(self.frame_time_s(frame), self._times_s, table[:, k]) for k in range(4)])

    def camera(self, frame: int, name: str) -> Camera:
        """A camera of the rig in the world."""
        model = self.description.rig.camera(name)
        return Camera(model.K, model.width, model.height, self.world_from_rig(frame) @ model.rig_from_cam)

    def tracks(self) -> list[ActorTrack]:
        """Boxes of all actors, parked ones too."""
        times = np.arange(self.num_frames) / self.description.spec.rate_hz
        figures = {body.instance: body.figure for body in self._bodies.all if body.figure.limbs}
        result = []
        for number, actor in enumerate(self.description.actors, start=1):
            poses = world_from_state(states_at(actor, times))
            poses[:, :3, 3] += poses[:, :3, 2] * (0.5 * actor.size[2])
            sizes = None
            if number in figures:
                phase = np.interp(times, self._times_s, actor.phase)
                sizes = np.array([_extent(figures[number], float(p), actor.size) for p in phase])
            result.append(ActorTrack(actor.id, number, actor.category, actor.size, poses, sizes))
        return result

    def view(self, frame: int, camera_name: str, supersampling: int = 2) -> View:
        """Picture and truth of one camera at one frame."""
        return render_view(
            self.camera(frame, camera_name),
            self.camera(frame + 1, camera_name),
            self.moment(frame),
            self.description.rig.camera(camera_name).optics,
            supersampling=supersampling,
            seed=self.description.spec.seed,
        )

    def sweep(self, frame: int) -> NDArray[np.float32] | None:
        """Lidar points [M, 4] in the sensor's frame (x, y, z metres, intensity); None without a lidar."""
        model = self.description.rig.lidar
        if model is None:
            return None
        pose = self.world_from_rig(frame) @ model.rig_from_lidar
        return sweep(self.moment(frame), pose, model, seed=self.description.spec.seed * 100003 + frame)

    def moment(self, frame: int) -> Moment:
        """The world as it stands at a frame, ready for rays."""
        with self._lock:
            if frame not in self._moments:
                self._moments[frame] = self._build_moment(frame)
                while len(self._moments) > _MOMENTS_KEPT:
                    self._moments.popitem(last=False)
            return self._moments[frame]

    def _build_moment(self, frame: int) -> Moment:
        time_s = self.frame_time_s(frame)
        moving, next_vertices = None, None
        rig = self.description.rig
        cameras = [self.camera(frame, c.name) for c in rig.cameras]
        ego = self.world_from_rig(frame)[:3, 3]
        shown = self._bodies.in_sight(time_s, ego, cameras, rig.lidar is not None)
        if shown:
            moving = Caster(self._bodies.geometry(shown, time_s))
            next_vertices = self._bodies.vertices(shown, self.frame_time_s(frame + 1))
        colors = self.description.signals.colors
        step = min(round(time_s / STEP_S), len(colors) - 1)
        return Moment(
            self._static, moving, next_vertices, self.description.atmosphere, colors[step], self._lights(time_s), time_s
        )

    def _lights(self, time_s: float) -> Floats:
        """Lamps, and the headlights of whoever drives, the ego included."""
        if not self.description.atmosphere.lamps:
            return self._lamps
        rows = [self._lamps]
        for body in self._bodies.all:
            fronts = headlights(body.actor.model, body.actor.size)
            if len(fronts):
                rows.append(headlight_rows(body.pose(time_s), fronts))
        ego = world_from_state(states_between(self._times_s, self.description.ego, time_s))
        rows.append(headlight_rows(ego, _EGO_HEADLIGHTS))
        return np.concatenate(rows)


def _extent(figure: Figure, phase: float, size: tuple[float, float, float]) -> tuple[float, float, float]:
    """The box about the same middle that just holds the body at a phase of its gait; its height stays."""
    length, width = 2.0 * np.abs(figure.posed(phase)[0][:, :2]).max(0)
    return float(min(length, size[0])), float(min(width, size[1])), size[2]


def make_world(spec: WorldSpec, rig: str | Path = "front1", lidar: str = "auto") -> World:
    """Describe and build; see `describe.describe` for what it raises."""
    return World(describe(spec, rig, lidar))
