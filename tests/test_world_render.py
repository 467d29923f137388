"""The renderer against scenes whose truth is known on paper."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from jwmtool.errors import UsageError
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.worlds.description import Atmosphere
from jwmtool.worlds.light import lidar
from jwmtool.worlds.light.atmosphere import headlight_rows, lamp_rows, make_atmosphere
from jwmtool.worlds.light.raycast import Caster
from jwmtool.worlds.light.render import Moment, View, render_view
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.rigs import LidarModel, Optics
from jwmtool.worlds.shapes.geometry import Geometry, Solid, assemble
from jwmtool.worlds.shapes.mesh import Mesh, box, ellipsoid, grid
from jwmtool.worlds.shapes.surfaces import CENTER_SOLID, Class, Material, Surface, road_surface
from jwmtool.worlds.spec import TIMES_OF_DAY, WEATHERS, WorldSpec

GRAY = Surface(Material.PLAIN, (0.4, 0.4, 0.4))
BOX_AT = np.array([12.0, -1.0, 1.0])
BOX_SIZE = np.array([4.0, 2.0, 2.0])
WIDTH, HEIGHT = 112, 64
FAR_AWAY = np.array([2500.0, -1800.0, 40.0])  # float32 alone could not hold millimetres there


def atmosphere(weather: str = "clear", time_of_day: str = "day", seed: int = 0) -> Atmosphere:
    spec = WorldSpec("city", seed, weather=weather, time_of_day=time_of_day)
    return make_atmosphere(spec, Stream(seed, "atmosphere"))


def ground(surface: Surface = GRAY, half_m: float = 300.0, cell_m: float = 20.0) -> Mesh:
    ticks = np.arange(-half_m, half_m + 1e-6, cell_m)
    points = np.stack([*np.meshgrid(ticks, ticks, indexing="ij"), np.zeros((len(ticks), len(ticks)))], -1)
    return grid(points, points, surface)


def camera(x: float = 0.0, y: float = 0.0, yaw: float = 0.0, offset: np.ndarray | None = None) -> Camera:
    pose = se3.translation(np.array([x, y, 1.5]) + (0 if offset is None else offset)) @ se3.rotation_z(yaw)
    K = np.array([[70.0, 0.0, 55.0], [0.0, 71.0, 30.0], [0.0, 0.0, 1.0]])
    return Camera(K, WIDTH, HEIGHT, pose @ se3.RIG_FROM_CAM_AXES)


def moment(solids: list[Solid], air: Atmosphere | None = None, lights: np.ndarray | None = None) -> Moment:
    table = np.zeros((0, 11)) if lights is None else lights
    return Moment(Caster(assemble(solids)), None, None, air or atmosphere(), np.zeros(2, np.int8), table, 0.0)


def plain_solids(offset: np.ndarray | None = None) -> list[Solid]:
    move = se3.translation(np.zeros(3) if offset is None else offset)
    return [
        Solid(ground().moved(move), 0, Class.ROAD),
        Solid(box(BOX_SIZE, GRAY, BOX_AT).moved(move), 7, Class.CAR),
    ]


def expected_depth(cam: Camera, offset: np.ndarray) -> np.ndarray:
    """z-depth of the ground plane and the box by the slab method, in float64."""
    directions, origin = cam.rays(), cam.world_from_cam[:3, 3] - offset
    with np.errstate(divide="ignore", invalid="ignore"):
        plane = np.where(directions[..., 2] < 0, -origin[2] / directions[..., 2], np.inf)
        # The ground is a square of finite size.
        reach = np.abs(origin[:2] + plane[..., None] * directions[..., :2]).max(-1)
        plane[~(reach < 300.0)] = np.inf
        low = (BOX_AT - 0.5 * BOX_SIZE - origin) / directions
        high = (BOX_AT + 0.5 * BOX_SIZE - origin) / directions
    near, far = np.minimum(low, high).max(-1), np.maximum(low, high).min(-1)
    return np.minimum(plane, np.where((near < far) & (near > 0), near, np.inf))


@pytest.mark.parametrize("offset", [np.zeros(3), FAR_AWAY], ids=["at the origin", "far away"])
def test_depth_agrees_with_an_analytic_scene(offset: np.ndarray) -> None:
    for yaw in (0.0, 0.13, -0.4):
        cam = camera(0.3, 0.2, yaw, offset)
        view = render_view(cam, cam, moment(plain_solids(offset)), Optics(), 1)
        expected = expected_depth(cam, offset)
        agree = np.isfinite(view.depth) == np.isfinite(expected)
        assert agree.mean() > 0.999  # a ray along an edge may fall on either side
        both = np.isfinite(expected) & np.isfinite(view.depth)
        error = np.abs(view.depth[both] - expected[both])
        wrong = error > np.maximum(1e-3, 2e-5 * expected[both])
        assert wrong.mean() < 1e-3
        box_pixels = view.instance == 7
        assert box_pixels.sum() > 100
        assert set(np.unique(view.semantic[box_pixels])) == {Class.CAR}
        assert (view.semantic[~np.isfinite(view.depth)] == Class.SKY).all()
        assert np.allclose(view.normal[view.semantic == Class.ROAD], [0, 0, 1])


def lifted(cam: Camera, view: View) -> np.ndarray:
    return cam.world_from_cam[:3, 3] + cam.rays() * view.depth[..., None].astype(np.float64)


def test_points_project_onto_the_pixels_that_show_them_and_flow_leads_to_the_next_frame() -> None:
    cam, later = camera(), camera(0.8, 0.05, 0.03)
    view = render_view(cam, later, moment(plain_solids()), Optics(), 1)
    seen = np.isfinite(view.depth)
    u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    centers = np.stack([u, v], -1)
    pixels, _ = cam.project(lifted(cam, view)[seen])
    assert np.abs(pixels - centers[seen]).max() < 0.01
    pixels, z = later.project(lifted(cam, view)[seen])
    error = np.linalg.norm(pixels - centers[seen] - view.flow[seen], axis=-1)
    assert np.abs(error[z > 0]).max() < 0.01
    # The sky turns with the camera but does not come nearer.
    far, z = later.project(later.world_from_cam[:3, 3] + cam.rays()[~seen])
    assert np.abs(far[z > 0] - centers[~seen][z > 0] - view.flow[~seen][z > 0]).max() < 1e-3
    assert (view.scene_flow == 0).all()


def test_moving_things_carry_their_surface_along() -> None:
    body = assemble([Solid(box(BOX_SIZE, GRAY, BOX_AT), 3, Class.CAR)])
    turn = se3.translation([0.9, 0.2, 0.0]) @ se3.rotation_z(0.01)
    later_vertices = se3.apply(turn, body.vertices)
    base = Caster(assemble([Solid(ground(), 0, Class.ROAD)]))
    cam, later = camera(), camera(0.5)
    air, colors, lights = atmosphere(), np.zeros(1, np.int8), np.zeros((0, 11))
    now = Moment(base, Caster(body), later_vertices, air, colors, lights, 0.0)
    view = render_view(cam, later, now, Optics(), 1)
    mask = view.instance == 3
    points = lifted(cam, view)[mask]
    moved = se3.apply(turn, points)
    assert mask.sum() > 100
    assert np.abs(view.scene_flow[mask] - (moved - points)).max() < 1e-3
    u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    pixels, _ = later.project(moved)
    assert np.abs(pixels - np.stack([u, v], -1)[mask] - view.flow[mask]).max() < 0.01
    # And there it is: the next frame's mask holds what flow predicts.
    g = body
    posed = Geometry(later_vertices, g.faces, g.texture, g.normals, g.surface, g.instance, g.semantic, g.surfaces)
    after = render_view(later, later, Moment(base, Caster(posed), None, air, colors, lights, 0.1), Optics(), 1)
    around = np.asarray(np.lib.stride_tricks.sliding_window_view(np.pad(mask, 1), (3, 3)).all((2, 3)))
    columns, rows = np.floor(pixels[around[mask]]).astype(int).T  # off the silhouette, where a pixel may round away
    assert len(rows) > 60 and (after.instance[rows, columns] == 3).all()


def test_flow_is_not_a_number_behind_the_next_camera() -> None:
    view = render_view(camera(), camera(5.0), moment(plain_solids()), Optics(), 1)
    near = view.depth < 4.9
    assert near.any() and np.isnan(view.flow[near]).all()
    assert np.isfinite(view.flow[view.depth > 5.1]).all()


def test_sun_shadows_fall_where_they_should() -> None:
    air = replace(atmosphere(), sun_direction=np.array([0.0, math.sin(0.8), math.cos(0.8)]), cloud_cover=0.0)
    cam = camera(-2.0, -1.0)
    gray = np.asarray(render_view(cam, cam, moment(plain_solids(), air), Optics(), 2).image, float).mean(-1)
    # The sun stands to the left (+y): the box (y from -2 to 0, 2 m high) throws its shadow to y = -2 - 2 tan 0.8.
    edge = -2.0 - 2.0 * math.tan(0.8)
    inside, outside = np.array([[12.0, edge + 0.5, 0.0], [12.0, edge - 0.9, 0.0]])
    places, _ = cam.project(np.stack([inside, outside]))
    shade, lit = (gray[int(v), int(u)] for u, v in places)
    assert shade < 0.8 * lit


def test_color_is_the_same_from_two_places() -> None:
    """Materials must not shimmer: the same road seen from 0.4 m farther on keeps its colors."""
    road = road_surface(
        (0.1, 0.1, 0.1), (0.7, 0.7, 0.7), lane_width_m=3.3, num_right=1, num_left=1, median_half_m=0.0,
        paved_half_m=6.0, center=CENTER_SOLID, edge_lines=True,
    )  # fmt: skip
    scene = moment([Solid(ground(road), 0, Class.ROAD)])
    here, there = camera(0.0, -1.6), camera(0.4, -1.6)
    a, b = (render_view(c, c, scene, Optics()) for c in (here, there))
    seen = np.isfinite(b.depth) & (b.depth < 60.0)
    pixels, _ = here.project(lifted(there, b)[seen])
    columns, rows = np.floor(pixels).astype(int).T
    inside = (columns >= 0) & (columns < WIDTH) & (rows >= 0) & (rows < HEIGHT)
    first = a.image[rows[inside], columns[inside]].astype(float)
    second = b.image[seen][inside].astype(float)
    psnr = 10.0 * math.log10(255.0**2 / ((first - second) ** 2).mean())
    assert psnr > 28.0  # nearest pixel, no interpolation
    assert a.image[HEIGHT // 2 + 8 :].std() > 4.0  # there is something to see


def test_the_same_moment_gives_the_same_bytes_in_any_number_of_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = moment(plain_solids(), atmosphere("rain"))
    first = render_view(camera(), camera(0.8), scene, Optics(), 2, seed=5)
    again = render_view(camera(), camera(0.8), scene, Optics(), 2, seed=5)
    monkeypatch.setattr("jwmtool.worlds.light.render._MAX_RAYS", 3000)
    banded = render_view(camera(), camera(0.8), scene, Optics(), 2, seed=5)
    for name in ("image", "depth", "normal", "instance", "semantic", "flow", "scene_flow"):
        assert np.array_equal(getattr(first, name), getattr(again, name), equal_nan=name == "flow")
        assert np.array_equal(getattr(first, name), getattr(banded, name), equal_nan=name == "flow")
    assert not np.array_equal(first.image, render_view(camera(), camera(0.8), scene, Optics(), 2, seed=6).image)


def test_weather_shows() -> None:
    bright = Surface(Material.PLAIN, (0.7, 0.1, 0.1))
    road = Surface(Material.JUNCTION, (0.08, 0.08, 0.08))
    solids = [Solid(ground(road), 0, Class.ROAD), Solid(box(BOX_SIZE, bright, BOX_AT), 7, Class.CAR)]
    cam = camera(0.0, -1.0)
    images = {w: render_view(cam, cam, moment(solids, atmosphere(w)), Optics()).image.astype(float) for w in WEATHERS}
    truth = render_view(cam, cam, moment(solids), Optics(), 1)
    road_mask, car = truth.semantic == Class.ROAD, truth.instance == 7
    # Snow whitens the ground.
    assert images["snow"][road_mask].mean() > images["overcast"][road_mask].mean() + 25
    # Fog takes the color of what is far.
    saturation = {w: np.ptp(images[w][car].mean(0)) for w in WEATHERS}
    assert saturation["fog"] < 0.75 * saturation["overcast"]
    # The wet road mirrors the red box: redder before it than the dry road is.
    foot, _ = cam.project(np.array([[9.0, -1.0, 0.0]]))
    u, v = int(foot[0, 0]), int(foot[0, 1])
    redness = {w: images[w][v, u, 0] - images[w][v, u, 2] for w in WEATHERS}
    assert redness["rain"] > redness["overcast"] + 15


def test_lamps_light_the_night() -> None:
    air = atmosphere("clear", "night")
    assert air.lamps
    cam = camera()
    dark = render_view(cam, cam, moment(plain_solids(), air), Optics()).image.astype(float)
    lights = np.concatenate(
        [
            lamp_rows(np.array([[9.0, 5.0, 7.0]])),
            headlight_rows(np.eye(4), np.array([[1.0, 0.6, 0.6], [1.0, -0.6, 0.6]])),
        ]
    )
    lit = render_view(cam, cam, moment(plain_solids(), air, lights), Optics()).image.astype(float)
    assert dark.mean() < 40
    under, _ = cam.project(np.array([[9.0, 4.0, 0.0]]))
    u, v = int(under[0, 0]), int(under[0, 1])
    assert lit[v, u].mean() > dark[v, u].mean() + 30
    front, _ = cam.project(np.array([[10.0, -1.0, 1.0]]))
    u, v = int(front[0, 0]), int(front[0, 1])
    assert lit[v, u].mean() > dark[v, u].mean() + 60


def test_signals_change_color() -> None:
    lenses = [
        Solid(
            box((0.2, 1.0, 1.0), Surface(Material.SIGNAL, color, p=(1.0, float(k))), (8.0, 0.0, 3.0 - k)), 1, Class.SIGN
        )
        for k, color in enumerate([(1.0, 0.05, 0.03), (1.0, 0.45, 0.02), (0.05, 0.9, 0.4)])
    ]
    cam = camera()
    base = moment([*lenses, Solid(ground(), 0, Class.ROAD)], atmosphere("overcast"))
    image = {
        state: render_view(cam, cam, replace(base, signal_colors=np.array([1, state], np.int8)), Optics()).image
        for state in (0, 2)
    }
    places, _ = cam.project(np.array([[7.9, 0.0, 3.0], [7.9, 0.0, 1.0]]))
    (ur, vr), (ug, vg) = places.astype(int)
    assert image[0][vr, ur, 0] > 200 > image[2][vr, ur, 0]
    assert image[2][vg, ug, 1] > 200 > image[0][vg, ug, 1]


def test_optics_change_the_picture_and_not_the_truth() -> None:
    scene, cam = moment(plain_solids()), camera()
    plain = render_view(cam, cam, scene, Optics())
    warm = render_view(cam, cam, scene, Optics(1.3, (1.1, 1.0, 0.9), 1.1, 1.2, 0.3))
    assert np.array_equal(plain.depth, warm.depth)
    assert (warm.image[..., 0].astype(float) - warm.image[..., 2]).mean() > (
        plain.image[..., 0].astype(float) - plain.image[..., 2]
    ).mean() + 5


def test_every_weather_and_time_gives_a_picture_that_is_neither_black_nor_burnt() -> None:
    cam = camera()
    for weather in WEATHERS:
        for time_of_day in TIMES_OF_DAY[:2]:
            for seed in range(3):
                view = render_view(cam, cam, moment(plain_solids(), atmosphere(weather, time_of_day, seed)), Optics())
                assert 50 < view.image.mean() < 215, (weather, time_of_day, seed)


def test_every_material_has_a_color() -> None:
    cam = camera()
    for material in Material:
        surface = Surface(material, (0.4, 0.3, 0.2), (0.2, 0.3, 0.4), 5, (3.0, 1.0, 1.0, 0.4, 0.0, 8.0))
        solids = [
            Solid(ground(surface), 0, Class.TERRAIN),
            Solid(ellipsoid((9, 0, 1), (1, 1, 1), surface), 2, Class.ANIMAL),
        ]
        for weather in ("clear", "rain", "snow"):
            view = render_view(cam, cam, moment(solids, atmosphere(weather)), Optics(), 1)
            assert 0 < view.image[view.instance == 2].mean() <= 255


def test_lidar_measures_the_scene() -> None:
    model = LidarModel("lidar", np.eye(4), np.radians(np.linspace(-25.0, 5.0, 32)), 360, 80.0, 10.0)
    pose = se3.translation([0.0, 0.0, 1.8])
    points = lidar.sweep(moment(plain_solids()), pose, model, seed=3)
    assert points.dtype == np.float32 and points.shape[1] == 4 and len(points) > 4000
    assert (points[:, 3] >= 0).all() and (points[:, 3] <= 1).all()
    distance = np.linalg.norm(points[:, :3], axis=1)
    assert distance.max() < 80.1
    world = se3.apply(pose, points[:, :3].astype(np.float64))
    low, high = BOX_AT - 0.5 * BOX_SIZE - 0.08, BOX_AT + 0.5 * BOX_SIZE + 0.08
    on_box = ((world > low) & (world < high)).all(1)
    assert on_box.sum() > 100
    # Range noise shows in z only as far as the beam goes down.
    assert np.abs(world[~on_box, 2]).max() < 0.045
    again = lidar.sweep(moment(plain_solids()), pose, model, seed=3)
    assert np.array_equal(points, again)


def test_caster_far_from_the_origin_and_empty() -> None:
    empty = Caster(assemble([]))
    down = np.array([[0.0, 0.0, -1.0]])
    assert empty.cast(np.zeros(3), down).face[0] == -1
    assert not empty.occluded(np.zeros((1, 3)), down)[0]
    caster = Caster(assemble([Solid(ground().moved(se3.translation(FAR_AWAY)), 0, Class.ROAD)]))
    origin = FAR_AWAY + np.array([3.3, 4.4, 10.0])
    assert caster.cast(origin, down).t[0] == pytest.approx(10.0, abs=1e-9)
    assert caster.occluded(origin[None], down)[0] and not caster.occluded(origin[None], -down)[0]
    assert caster.free_distance(origin[None], down, 4.0)[0] == pytest.approx(4.0)
    assert caster.free_distance(origin[None], down, 40.0)[0] == pytest.approx(10.0, abs=1e-3)


def test_supersampling_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="supersampling"):
        render_view(camera(), camera(), moment(plain_solids()), Optics(), 0)
