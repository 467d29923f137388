"""Bodies of actors: they fill their boxes, stand on the ground, face outwards, walk, and can be told apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from jwmtool.errors import UsageError
from jwmtool.worlds.figures.figure import Figure
from jwmtool.worlds.figures.models import MODELS, Size, draw_size, headlights, make_figure, stride_m
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.shapes.mesh import Mesh
from jwmtool.worlds.shapes.surfaces import Material

embree_scene = pytest.importorskip("embreex.rtcore_scene")

PHASES = np.arange(8) / 8.0
VEHICLES = [m for m, about in MODELS.items() if about.category in ("car", "lorry", "bus", "cyclist")]
WALKERS = ["man", "woman", "child"]
ANIMALS = ["horse", "deer", "tiger", "dog"]


def middle_size(model: str) -> Size:
    low, high = MODELS[model].low, MODELS[model].high
    return 0.5 * (low[0] + high[0]), 0.5 * (low[1] + high[1]), 0.5 * (low[2] + high[2])


def silhouette(mesh: Mesh, axis: int, pixels: int = 96) -> NDArray[np.bool_]:
    """[pixels, pixels] what covers the box's face seen along x (0) or y (1), stretched to a square, up first."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore import EmbreeDevice

    low, high = mesh.bounds()
    scene = embree_scene.EmbreeScene(EmbreeDevice())
    TriangleMesh(scene, mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32))
    share = (np.arange(pixels) + 0.5) / pixels
    across, up = np.meshgrid(share, share[::-1])
    other = 1 - axis
    origins = np.zeros((pixels * pixels, 3), np.float32)
    origins[:, other] = (low[other] + across * (high[other] - low[other])).ravel()
    origins[:, 2] = (low[2] + up * (high[2] - low[2])).ravel()
    origins[:, axis] = high[axis] + 1.0
    directions = np.zeros_like(origins)
    directions[:, axis] = -1.0
    face = scene.run(origins, directions, query="INTERSECT")
    return (np.asarray(face) >= 0).reshape(pixels, pixels)


def at_phase(figure: Figure, phase: float) -> Mesh:
    vertices, normals = figure.posed(phase)
    return replace(figure.mesh, vertices=vertices, normals=normals)


@pytest.mark.parametrize("model", MODELS)
def test_fills_its_box_at_every_phase(model: str) -> None:
    for seed, size in ((0, MODELS[model].low), (5, middle_size(model)), (17, MODELS[model].high)):
        figure = make_figure(model, size, seed)
        poses = [figure.posed(float(phase))[0] for phase in PHASES]
        low, high = np.min([p.min(0) for p in poses], 0), np.max([p.max(0) for p in poses], 0)
        half = 0.5 * np.array(size)
        np.testing.assert_allclose(low, [-half[0], -half[1], 0.0], atol=0.01)
        np.testing.assert_allclose(high, [half[0], half[1], size[2]], atol=0.01)
        shares = np.array([np.ptp(p, axis=0) / size for p in poses])
        assert shares[:, 2].min() > 0.95
        assert shares[:, 1].min() > 0.95
        assert shares[:, 0].min() > (0.68 if model in WALKERS else 0.88), shares[:, 0]
        for pose in poses:  # somebody always touches the ground
            assert abs(pose[:, 2].min()) < 0.01


@pytest.mark.parametrize("model", MODELS)
def test_mesh_is_sound_and_faces_outwards(model: str) -> None:
    figure = make_figure(model, middle_size(model), 3)
    mesh = figure.mesh
    assert 20 <= len(mesh.faces) <= 4500
    assert mesh.faces.min() == 0
    assert mesh.faces.max() < len(mesh.vertices)
    assert mesh.surface.max() < len(mesh.surfaces)
    assert len(mesh.texture) == len(mesh.normals) == len(mesh.vertices)
    for phase in (0.0, 0.3):
        posed = at_phase(figure, phase)
        assert np.isfinite(posed.vertices).all()
        np.testing.assert_allclose(np.linalg.norm(posed.normals, axis=1), 1.0, atol=1e-3)
        corners = posed.vertices[posed.faces]
        area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        agree = (area * posed.normals[posed.faces].mean(1)).sum(1) > 0
        size = np.linalg.norm(area, axis=1)
        assert size[agree].sum() > 0.985 * size.sum()
        assert np.einsum("fi,fi->", corners[:, 0], area) > 0  # closed skins seen from outside hold a volume


def test_first_hits_from_outside_show_outer_sides() -> None:
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore import EmbreeDevice

    stream = Stream(9, "rays")
    for model in MODELS:
        size = middle_size(model)
        mesh = make_figure(model, size, 1).mesh
        scene = embree_scene.EmbreeScene(EmbreeDevice())
        TriangleMesh(scene, mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32))
        count = 1500
        away = np.array([[stream.normal() for _ in range(3)] for _ in range(count)])
        away[:, 2] = np.abs(away[:, 2])
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        target = mesh.vertices[mesh.faces[[stream.integer(0, len(mesh.faces)) for _ in range(count)]]].mean(1)
        face = np.asarray(
            scene.run((target + 20.0 * away).astype(np.float32), (-away).astype(np.float32), query="INTERSECT")
        )
        hit = face >= 0
        corners = mesh.vertices[mesh.faces[face[hit]]]
        outer = (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) * away[hit]).sum(1) > 0
        assert hit.mean() > 0.5
        assert outer.mean() > 0.98, model


@pytest.mark.parametrize("model", [*WALKERS, *ANIMALS])
def test_gait_is_periodic_and_sides_take_turns(model: str) -> None:
    figure = make_figure(model, middle_size(model), 2)
    np.testing.assert_allclose(figure.posed(0.3)[0], figure.posed(1.3)[0], atol=1e-9)
    now, later = figure.posed(0.2)[0], figure.posed(0.7)[0]
    feet = figure.mesh.vertices[:, 2] < 0.08 * middle_size(model)[2]
    left, right = feet & (figure.mesh.vertices[:, 1] > 0), feet & (figure.mesh.vertices[:, 1] < 0)
    moved = (later - now)[:, 0]
    assert moved[left].mean() * moved[right].mean() < 0 or model in ANIMALS
    # What the left feet do now, the right ones do half a cycle later.
    assert np.sort(now[left, 0]) == pytest.approx(np.sort(later[right, 0]), abs=0.03)
    assert np.abs(moved[feet]).max() > 0.1 * middle_size(model)[2]


def test_a_lifted_foot_travels_forward() -> None:
    """The leg in the air must swing the way the body goes, or it would seem to walk backwards."""
    for model in (*WALKERS, *ANIMALS):
        figure = make_figure(model, middle_size(model), 2)
        low = figure.mesh.vertices[:, 2] < 0.06 * middle_size(model)[2]
        lift_and_speed = []
        for phase in np.arange(32) / 32.0:
            here, there = figure.posed(float(phase))[0][low], figure.posed(float(phase) + 0.01)[0][low]
            lift_and_speed.append(np.stack([here[:, 2], there[:, 0] - here[:, 0]], -1))
        samples = np.array(lift_and_speed)  # [phase, vertex, 2]
        lift, speed = samples[..., 0] - samples[..., 0].mean(0), samples[..., 1] - samples[..., 1].mean(0)
        assert (lift * speed).mean() > 0.3 * lift.std() * speed.std(), model


def test_animals_and_vehicles_look_different_from_each_other() -> None:
    def likeness(one: str, other: str) -> float:
        views = []
        for model in (one, other):
            mesh = make_figure(model, middle_size(model), 4).mesh
            views.append(silhouette(mesh, 1))
        return float((views[0] & views[1]).sum() / (views[0] | views[1]).sum())

    for i, one in enumerate(ANIMALS):
        for other in ANIMALS[i + 1 :]:
            assert likeness(one, other) < 0.85, (one, other)
    assert likeness("sedan", "van") < 0.85
    assert likeness("sedan", "pickup") < 0.97
    assert likeness("horse", "horse") == 1.0


def test_animals_stand_on_separate_legs() -> None:
    for model in ANIMALS:
        figure = make_figure(model, middle_size(model), 4)
        counts = []
        for phase in PHASES:
            side = silhouette(at_phase(figure, float(phase)), 1)
            lower = np.concatenate([[False], side[int(0.86 * len(side))]])  # a row through the shins
            counts.append(np.count_nonzero(np.diff(lower.astype(int)) == 1))
        assert max(counts) >= 3, (model, counts)
        body = side[int((0.62 if model in ("tiger", "dog") else 0.5) * len(side))]
        assert body.mean() > 0.45, model


@pytest.mark.parametrize("model", VEHICLES)
def test_headlights_sit_on_lamps_at_the_front(model: str) -> None:
    size = middle_size(model)
    lamps = headlights(model, size)
    mesh = make_figure(model, size, 6).mesh
    made_of = mesh.surfaces[mesh.surface]
    shining = mesh.vertices[mesh.faces[made_of[:, 0] == Material.LAMP]].reshape(-1, 3)
    assert len(lamps) == (1 if MODELS[model].category == "cyclist" else 2)
    for lamp in lamps:
        assert lamp[0] > 0.2 * size[0]
        assert np.linalg.norm(shining - lamp, axis=1).min() < 0.2
    red = made_of[:, 1] > 3.0 * made_of[:, 2]
    rear = mesh.vertices[mesh.faces[(made_of[:, 0] == Material.LAMP) & red]].reshape(-1, 3)
    assert rear[:, 0].min() < -0.1 * size[0]


def test_only_vehicles_have_headlights() -> None:
    for model in MODELS:
        assert (len(headlights(model, middle_size(model))) > 0) == (model in VEHICLES)


def test_sizes_are_drawn_within_range_and_vary() -> None:
    for model, about in MODELS.items():
        sizes = np.array([draw_size(model, Stream(seed, model)) for seed in range(40)])
        assert (sizes >= np.array(about.low) - 1e-9).all()
        assert (sizes <= np.array(about.high) + 1e-9).all()
        assert (np.ptp(sizes, axis=0) > 0.4 * (np.array(about.high) - about.low)).all()
        assert stride_m(model, middle_size(model)) == pytest.approx(about.stride_m)


def test_seed_decides_colors_and_nothing_else_does() -> None:
    for model in MODELS:
        size = middle_size(model)
        first, again = make_figure(model, size, 8), make_figure(model, size, 8)
        np.testing.assert_array_equal(first.mesh.vertices, again.mesh.vertices)
        np.testing.assert_array_equal(first.mesh.surfaces, again.mesh.surfaces)
    for model in ("sedan", "man", "woman", "horse", "dog", "bus"):
        looks = {make_figure(model, middle_size(model), seed).mesh.surfaces[:, 1:4].tobytes() for seed in range(12)}
        assert len(looks) >= 4, model


def test_unknown_models_and_sizes_get_one_line() -> None:
    with pytest.raises(UsageError, match="unicorn"):
        make_figure("unicorn", (1.0, 1.0, 1.0), 0)
    with pytest.raises(UsageError, match="unicorn"):
        draw_size("unicorn", Stream(0))
    with pytest.raises(UsageError, match="positive"):
        make_figure("sedan", (4.0, 0.0, 1.4), 0)
