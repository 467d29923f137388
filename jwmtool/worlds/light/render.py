"""Pictures of a world with their truth: rays through pixels, light, haze, weather, and what the sensor makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jwmtool.errors import UsageError
from jwmtool.geometry.camera import Camera
from jwmtool.worlds.description import Atmosphere
from jwmtool.worlds.light import materials, shading
from jwmtool.worlds.light.raycast import Caster, Hits
from jwmtool.worlds.light.surfels import Surfels, locate
from jwmtool.worlds.light.weather import add_glow, add_precipitation
from jwmtool.worlds.rigs import Optics
from jwmtool.worlds.shapes.surfaces import SURFACE_COLUMNS, Material

Floats = NDArray[np.float64]

_MAX_RAYS = 24_000  # cast together: keeps the arrays in the cache and the memory of large pictures bounded
_PROBE_REACH_M = 9.0  # what is farther away hides no sky light
_BRIGHTEST = 6.0  # of one sample after exposure: the sun's disc must not outshine its whole pixel


@dataclass(frozen=True)
class Moment:
    """The world at one time, ready for rays.

    Attributes:
        static: what never moves.
        moving: what moves, posed for this time; None where nothing does.
        next_vertices: [V, 3] of `moving` one frame later; None: it stands still.
        atmosphere: light and weather.
        signal_colors: [G] of the traffic lights' groups: 0 red, 1 amber, 2 green.
        lights: [L, 11] lamps, see `atmosphere`.
        time_s: since the world's start; moves rain and snow.
    """

    static: Caster
    moving: Caster | None
    next_vertices: Floats | None
    atmosphere: Atmosphere
    signal_colors: NDArray[np.int8]
    lights: Floats
    time_s: float

    @cached_property
    def air(self) -> Floats:
        """The atmosphere as kernels read it."""
        return shading.pack_atmosphere(self.atmosphere)

    @cached_property
    def surfaces(self) -> Floats:
        """[S, 14] materials: static ones, then those of moving things."""
        moving = self.moving.geometry.surfaces if self.moving else np.zeros((0, SURFACE_COLUMNS))
        return np.concatenate([self.static.geometry.surfaces.reshape(-1, SURFACE_COLUMNS), moving])

    def occluded(self, origins: Floats, directions: Floats) -> NDArray[np.bool_]:
        """[R] True where anything stands in the way."""
        result = self.static.occluded(origins, directions)
        if self.moving:
            result |= self.moving.occluded(origins, directions)
        return result

    def free_distance(self, origins: Floats, directions: Floats, limit: float) -> NDArray[np.float32]:
        """[R] ray parameter of the first hit, at most `limit`."""
        result = self.static.free_distance(origins, directions, limit)
        return np.minimum(result, self.moving.free_distance(origins, directions, limit)) if self.moving else result


@dataclass(frozen=True)
class View:
    """A picture and its truth, which holds at pixel centres.

    Attributes:
        image: [H, W, 3] uint8, sRGB.
        depth: [H, W] float32 metres along the camera's z, inf in the sky.
        normal: [H, W, 3] float32 unit, world, towards the camera; zero in the sky.
        instance: [H, W] uint16, 0 for ground and sky.
        semantic: [H, W] uint8, a `surfaces.Class`.
        flow: [H, W, 2] float32 px to where the same surface point is seen one frame later (hidden or not); NaN where
            it is behind the camera then. The sky moves by the camera's rotation alone.
        scene_flow: [H, W, 3] float32 metres that the surface point moves in the world until the next frame.
    """

    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    normal: NDArray[np.float32]
    instance: NDArray[np.uint16]
    semantic: NDArray[np.uint8]
    flow: NDArray[np.float32]
    scene_flow: NDArray[np.float32]


@dataclass(frozen=True)
class Cast:
    """First hits of R rays with all there is.

    Attributes:
        static, moving: hits with either; `moving` is None where nothing moves.
        static_rows, moving_rows: rays that see one or the other.
        t: [R] ray parameter of the nearer hit, inf without one.
    """

    static: Hits
    moving: Hits | None
    static_rows: NDArray[np.int64]
    moving_rows: NDArray[np.int64]
    t: Floats

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rays that hit anything, in order."""
        return np.flatnonzero(np.isfinite(self.t))


def render_view(
    camera: Camera, next_camera: Camera, moment: Moment, optics: Optics, supersampling: int = 2, seed: int = 0
) -> View:
    """Picture and truth of one camera.

    Args:
        camera, next_camera: now and one frame later (for the flow and for streaks of rain).
        supersampling: color is the mean of supersampling^2 rays a pixel.
        seed: of the rain's and the snow's particles.

    Raises:
        UsageError: supersampling is below 1.
    """
    if supersampling < 1:
        raise UsageError(f"supersampling: expected at least 1, found {supersampling}")
    height, width = camera.height, camera.width
    linear = np.empty((height, width, 3))
    view = View(
        np.empty((height, width, 3), np.uint8),
        np.empty((height, width), np.float32),
        np.zeros((height, width, 3), np.float32),
        np.zeros((height, width), np.uint16),
        np.zeros((height, width), np.uint8),
        np.empty((height, width, 2), np.float32),
        np.zeros((height, width, 3), np.float32),
    )
    band = max(1, _MAX_RAYS // (width * supersampling**2))
    for top in range(0, height, band):
        rows = slice(top, min(top + band, height))
        _fill_truth(view, rows, camera, next_camera, moment)
        linear[rows] = _colors(camera, rows, moment, supersampling)
    exposure = moment.atmosphere.exposure * optics.gain
    add_glow(linear, view.depth, camera, moment.lights, moment.atmosphere)
    add_precipitation(linear, view.depth, camera, next_camera, moment.atmosphere, moment.time_s, seed)
    view.image[:] = _develop(linear * exposure, optics)
    return view


def rays(camera: Camera, rows: slice, supersampling: int) -> Floats:
    """Directions [h * W * S, 3] of depth 1 through samples of image rows, pixel by pixel."""
    inside = (np.arange(supersampling) + 0.5) / supersampling
    rotation = camera.world_from_cam[:3, :3]
    u = (np.arange(camera.width)[:, None] + inside - camera.K[0, 2]) / camera.K[0, 0]
    v = (np.arange(rows.start, rows.stop)[:, None] + inside - camera.K[1, 2]) / camera.K[1, 1]
    across = u[..., None] * rotation[:, 0]  # [W, s, 3]
    down = v[..., None] * rotation[:, 1] + rotation[:, 2]  # [h, s, 3]
    return np.ascontiguousarray((down[:, None, :, None] + across[:, None]).reshape(-1, 3))


def cast(moment: Moment, origins: Floats, directions: Floats) -> Cast:
    """First hits of rays [R, 3] with all there is."""
    static = moment.static.cast(origins, directions)
    if moment.moving is None:
        return Cast(static, None, np.flatnonzero(static.face >= 0), np.zeros(0, np.int64), static.t)
    moving = moment.moving.cast(origins, directions)
    nearer = moving.t < static.t
    static_rows = np.flatnonzero((static.face >= 0) & ~nearer)
    return Cast(static, moving, static_rows, np.flatnonzero(nearer), np.minimum(static.t, moving.t))


def surfels_of(
    moment: Moment, hit: Cast, origins: Floats, directions: Floats, travelled_m: Floats, pixel_angle: float
) -> Surfels:
    """Where the rays of a cast hit."""
    surfels = Surfels.empty(len(directions))
    static, start = moment.static.geometry, len(moment.static.geometry.surfaces)
    locate(surfels, hit.static_rows, static, hit.static, origins, directions, travelled_m, pixel_angle, 0)
    if moment.moving is not None and hit.moving is not None:
        moving = moment.moving.geometry
        locate(surfels, hit.moving_rows, moving, hit.moving, origins, directions, travelled_m, pixel_angle, start)
    return surfels


def colors_of(moment: Moment, surfels: Surfels, rows: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """Reflectance [R, 3], own light [R, 3] and gloss [R, 2] at `rows`; see `materials.evaluate`."""
    count = len(surfels.point)
    albedo, emission, gloss = np.empty((count, 3)), np.empty((count, 3)), np.empty((count, 2))
    a, s = moment.atmosphere, surfels
    materials.evaluate(
        rows, s.point, s.normal, s.texture, s.extent, s.wide, s.narrow, s.surface, moment.surfaces,
        len(moment.static.geometry.surfaces), a.wetness, a.snow_cover, a.lamps, moment.signal_colors, albedo, emission,
        gloss,
    )  # fmt: skip
    return albedo, emission, gloss


def _fill_truth(view: View, rows: slice, camera: Camera, next_camera: Camera, moment: Moment) -> None:
    directions = rays(camera, rows, 1)
    origins = np.broadcast_to(camera.world_from_cam[:3, 3], directions.shape)
    hit = cast(moment, origins, directions)
    surfels = surfels_of(moment, hit, origins, directions, np.zeros(len(directions)), 1.0 / camera.K[0, 0])
    shape = (rows.stop - rows.start, camera.width)
    seen = hit.rows
    normal, instance, semantic = (
        np.zeros((len(directions), 3)),
        np.zeros(len(directions), int),
        np.zeros(len(directions), int),
    )
    normal[seen] = surfels.facet[seen]
    moved = np.zeros((len(directions), 3))
    geometry = moment.static.geometry
    face = hit.static.face[hit.static_rows]
    instance[hit.static_rows], semantic[hit.static_rows] = geometry.instance[face], geometry.semantic[face]
    if moment.moving is not None and hit.moving is not None and len(hit.moving_rows):
        geometry, m = moment.moving.geometry, hit.moving_rows
        face, u, v = hit.moving.face[m], hit.moving.u[m, None], hit.moving.v[m, None]
        instance[m], semantic[m] = geometry.instance[face], geometry.semantic[face]
        if moment.next_vertices is not None:
            change = (moment.next_vertices - geometry.vertices)[geometry.faces[face]]
            moved[m] = change[:, 0] * (1.0 - u - v) + change[:, 1] * u + change[:, 2] * v
    # The ray's direction has depth 1, so its parameter is the depth.
    view.depth[rows] = hit.t.reshape(shape)
    view.normal[rows] = normal.reshape(*shape, 3)
    view.instance[rows] = instance.reshape(shape)
    view.semantic[rows] = semantic.reshape(shape)
    view.scene_flow[rows] = moved.reshape(*shape, 3)
    # Directions serve as points infinitely far away: only the camera's turning moves them.
    later = directions @ next_camera.world_from_cam[:3, :3]
    later[seen] = (surfels.point[seen] + moved[seen] - next_camera.world_from_cam[:3, 3]) @ next_camera.world_from_cam[
        :3, :3
    ]
    ahead = later[:, 2] > 1e-6
    pixels = np.full((len(directions), 2), np.nan)
    pixels[ahead] = later[ahead, :2] / later[ahead, 2:] @ next_camera.K[:2, :2].T + next_camera.K[:2, 2]
    centers = np.stack(np.meshgrid(np.arange(camera.width), np.arange(rows.start, rows.stop)), -1) + 0.5
    view.flow[rows] = pixels.reshape(*shape, 2) - centers


def _colors(camera: Camera, rows: slice, moment: Moment, supersampling: int) -> Floats:
    """Radiance [h, W, 3] of image rows."""
    samples = supersampling**2
    directions = rays(camera, rows, supersampling)
    origins = np.broadcast_to(camera.world_from_cam[:3, 3], directions.shape)
    pixel_angle = 1.0 / camera.K[0, 0]
    nothing = np.zeros(len(directions))
    hit = cast(moment, origins, directions)
    surfels = surfels_of(moment, hit, origins, directions, nothing, pixel_angle)
    seen = hit.rows
    albedo, emission, gloss = colors_of(moment, surfels, seen)
    radiance = np.empty(directions.shape)
    sky = np.flatnonzero(~np.isfinite(hit.t))
    radiance[sky] = _sky(directions[sky], pixel_angle, moment)
    distance = np.zeros(len(directions))
    distance[seen] = np.linalg.norm(surfels.point[seen] - origins[seen], axis=1)
    sunlit, open_sky = _sun_and_sky(moment, surfels, seen, samples)
    mirror = _mirrors(moment, surfels, directions, gloss, distance, seen, samples, pixel_angle)
    shading.light(
        seen, surfels.point, surfels.normal, albedo, emission, gloss, directions, distance, sunlit, open_sky, mirror,
        moment.lights, moment.air, radiance,
    )  # fmt: skip
    np.minimum(radiance, _BRIGHTEST / moment.atmosphere.exposure, out=radiance)
    return radiance.reshape(rows.stop - rows.start, camera.width, samples, 3).mean(2)


def _sky(directions: Floats, pixel_angle: float, moment: Moment) -> Floats:
    color = np.empty(directions.shape)
    shading.sky(np.ascontiguousarray(directions), pixel_angle, moment.air, color)
    return color


def _sun_and_sky(moment: Moment, surfels: Surfels, seen: NDArray[np.int64], samples: int) -> tuple[Floats, Floats]:
    """[R] whether the sun reaches each surfel, and [R] how much of the sky does."""
    count = len(surfels.point)
    sunlit, open_sky = np.zeros(count), np.ones(count)
    facet, surface = surfels.facet[seen], surfels.surface[seen]
    leaves = moment.surfaces[surface, 0] == Material.LEAVES
    start = surfels.point[seen] + facet * np.where(leaves, 0.15, 0.012)[:, None]
    sun = moment.atmosphere.sun_direction
    sunny = bool(moment.atmosphere.sun_color.max() > 0)
    if sunny:
        faces_sun = surfels.normal[seen] @ sun > 0
        free = ~moment.occluded(start[faces_sun], np.broadcast_to(sun, (int(faces_sun.sum()), 3)))
        sunlit[seen[faces_sun]] = free
    # Every sample of a pixel feels for the sky another way, so that a pixel as a whole has felt all ways.
    num_probes = 4 if sunny else 8
    per_sample = -(-num_probes // samples)
    total = np.zeros(len(seen))
    for k in range(per_sample):
        direction = shading.SKY_PROBES[(seen % samples + k * samples) % num_probes]
        along = (direction * facet).sum(1, keepdims=True)
        direction = direction - 2.0 * np.minimum(along, 0.0) * facet  # into the half space that the surface sees
        free_m = moment.free_distance(start, direction, _PROBE_REACH_M)
        total += np.sqrt(free_m / _PROBE_REACH_M)
    open_sky[seen] = total / per_sample
    return sunlit, open_sky


def _mirrors(
    moment: Moment,
    surfels: Surfels,
    directions: Floats,
    gloss: Floats,
    distance: Floats,
    seen: NDArray[np.int64],
    samples: int,
    pixel_angle: float,
) -> Floats:
    """What wet ground mirrors [R, 3], traced once a pixel; -1 elsewhere."""
    mirror = np.full(directions.shape, -1.0)
    wet = seen[gloss[seen, 1] > 0.02]
    if not len(wet):
        return mirror
    pixel = wet // samples
    first = np.concatenate([[True], pixel[1:] != pixel[:-1]])
    rows = wet[first]
    normal, incoming = surfels.normal[rows], directions[rows]
    incoming = incoming / np.linalg.norm(incoming, axis=1, keepdims=True)
    normal = _ripples(surfels.point[rows], normal, surfels.wide[rows], moment)
    outgoing = incoming - 2.0 * (incoming * normal).sum(1, keepdims=True) * normal
    outgoing[:, 2] = np.maximum(outgoing[:, 2], 1e-3)
    outgoing /= np.linalg.norm(outgoing, axis=1, keepdims=True)
    start = surfels.point[rows] + 0.01 * surfels.facet[rows]
    hit = cast(moment, start, outgoing)
    color = np.empty(outgoing.shape)
    missed = np.flatnonzero(~np.isfinite(hit.t))
    color[missed] = _sky(outgoing[missed], pixel_angle, moment)
    struck = hit.rows
    travelled = distance[rows]
    reflected = surfels_of(moment, hit, start, outgoing, travelled, pixel_angle)
    albedo, emission, shine = colors_of(moment, reflected, struck)
    count = len(rows)
    path = np.where(np.isfinite(hit.t), hit.t, 0.0)  # haze up to the mirror is added with the mirror's own
    shading.light(
        struck, reflected.point, reflected.normal, albedo, emission, shine, outgoing, path, np.ones(count),
        np.full(count, 0.8), np.full(outgoing.shape, -1.0), moment.lights, moment.air, color,
    )  # fmt: skip
    shading.add_lamp_streaks(start, outgoing, hit.t, moment.lights, color)
    mirror[wet] = color[np.cumsum(first) - 1]
    return mirror


def _ripples(point: Floats, normal: Floats, wide: Floats, moment: Moment) -> Floats:
    """Normals of a water film: nearly still, shivering a little in the rain."""
    height = (0.0015 + 0.003 * moment.atmosphere.rain) * np.clip(0.6 / np.maximum(wide, 1e-3), 0.0, 1.0)
    time = 5.0 * moment.time_s
    x, y = point[:, 0], point[:, 1]
    tilt = np.stack(
        [
            np.sin(6.1 * x + 2.3 * y + time) + 0.6 * np.sin(13.0 * y - 4.0 * x - 1.7 * time),
            np.sin(5.3 * y - 3.1 * x - 1.3 * time) + 0.6 * np.sin(11.0 * x + 5.0 * y + 2.1 * time),
            np.zeros(len(x)),
        ],
        1,
    )
    result = normal + height[:, None] * tilt
    return result / np.linalg.norm(result, axis=1, keepdims=True)


def _develop(exposed: Floats, optics: Optics) -> NDArray[np.uint8]:
    """Linear light [H, W, 3] after exposure to sRGB bytes, through everything that `optics` names."""
    height, width = exposed.shape[:2]
    light = exposed * np.asarray(optics.white_balance)
    if optics.vignetting > 0:
        x = (np.arange(width) + 0.5) / width - 0.5
        y = (np.arange(height) + 0.5) / height - 0.5
        light *= (1.0 - optics.vignetting * 2.0 * (x**2 + y[:, None] ** 2))[..., None]
    # Straight up to `knee`, then bending towards white without ever reaching it.
    knee = 0.55
    brightest = np.maximum(light.max(-1, keepdims=True), 1e-9)

    def bent(x: Floats) -> Floats:
        return np.where(x < knee, x, knee + (1.0 - knee) * (1.0 - np.exp(-(x - knee) / (1.0 - knee))))

    # Half of it channel by channel, half with the hue kept: a red lamp stays red though it is very bright.
    light = 0.4 * bent(light) + 0.6 * light * (bent(brightest) / brightest)
    gray = light @ np.array([0.2126, 0.7152, 0.0722])
    light = np.clip(gray[..., None] + optics.saturation * (light - gray[..., None]), 0.0, 1.0)
    light = 0.18 * (light / 0.18) ** optics.gamma if optics.gamma != 1.0 else light  # contrast about middle gray
    light = np.clip(light, 0.0, 1.0)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1.0 / 2.4) - 0.055)
    return (encoded * 255.0 + 0.5).astype(np.uint8)
