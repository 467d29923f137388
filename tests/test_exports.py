"""PLY and .splat: the layout that public viewers read, round trips, damage, and scenes frozen in time."""

from __future__ import annotations

import struct
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import random_gaussians, random_scene

from jwmtool.artifacts.frozen import frozen, middle_time_us
from jwmtool.artifacts.ply import read_ply, write_ply
from jwmtool.artifacts.scene_files import convert_scene, file_kind, open_scene
from jwmtool.artifacts.scene_io import read_scene, write_scene
from jwmtool.artifacts.splat import read_splat, write_splat
from jwmtool.errors import InputError, OutputExistsError
from jwmtool.gaussians.model import Gaussians


def header_and_rows(path: Path) -> tuple[list[str], np.ndarray]:
    """An independent reader: text up to end_header, then float32 rows."""
    head, _, body = path.read_bytes().partition(b"end_header\n")
    lines = head.decode("ascii").splitlines()
    return lines, np.frombuffer(body, "<f4").reshape(-1, sum(line.startswith("property") for line in lines))


def test_ply_fields_are_those_of_the_reference_implementation(tmp_path: Path) -> None:
    write_ply(random_gaussians(5, sh_degree=3, moving=False), tmp_path / "a.ply")
    lines, rows = header_and_rows(tmp_path / "a.ply")
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    names += [f"f_rest_{i}" for i in range(45)]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert lines[:3] == ["ply", "format binary_little_endian 1.0", "element vertex 5"]
    assert lines[3:] == [f"property float {name}" for name in names]
    assert rows.shape == (5, 62)


def test_ply_values_are_logs_logits_and_channel_major(tmp_path: Path) -> None:
    sh = torch.arange(12, dtype=torch.float32).reshape(1, 4, 3)  # coefficient-major in memory
    g = Gaussians.static(
        torch.tensor([[1.0, 2, 3]]),
        torch.tensor([[0.5, 0.5, -0.5, 0.5]]),
        torch.tensor([[0.1, 1.0, 2.0]]),
        torch.tensor([0.75]),
        sh,
    )
    write_ply(g, tmp_path / "a.ply")
    _, rows = header_and_rows(tmp_path / "a.ply")
    red, green, blue = [3, 6, 9], [4, 7, 10], [5, 8, 11]
    expected = [
        1,
        2,
        3,
        0,
        0,
        0,
        0,
        1,
        2,
        *red,
        *green,
        *blue,
        np.log(3),
        np.log(0.1),
        0,
        np.log(2),
        0.5,
        0.5,
        -0.5,
        0.5,
    ]
    np.testing.assert_allclose(rows[0], expected, rtol=1e-6)


@settings(max_examples=20)
@given(n=st.integers(0, 200), sh_degree=st.integers(0, 3), seed=st.integers(0, 100))
def test_ply_round_trip(tmp_path_factory: pytest.TempPathFactory, n: int, sh_degree: int, seed: int) -> None:
    g = random_gaussians(n, sh_degree, seed, moving=False)
    path = tmp_path_factory.mktemp("ply") / "a.ply"
    write_ply(g, path)
    back = read_ply(path)
    for f in fields(Gaussians):
        torch.testing.assert_close(getattr(back, f.name), getattr(g, f.name), rtol=2e-6, atol=2e-6)


def test_opacities_of_0_and_1_stay_finite(tmp_path: Path) -> None:
    g = random_gaussians(2, 0, moving=False).replace(opacities=torch.tensor([0.0, 1.0]))
    write_ply(g, tmp_path / "a.ply")
    torch.testing.assert_close(read_ply(tmp_path / "a.ply").opacities, g.opacities, atol=1e-5, rtol=0)


def test_ply_of_another_tool(tmp_path: Path) -> None:
    """Other order, another element, no normals, extra and double properties, quaternions of any length; and ascii."""
    names = ["opacity", "rot_0", "rot_1", "rot_2", "rot_3", "extra", "x", "y", "z"]
    names += ["scale_0", "scale_1", "scale_2", "f_dc_0", "f_dc_1", "f_dc_2"]
    values = [0.0, 2.0, 0, 0, 0, 9.0, 1.0, 2.0, 3.0, 0, 0, 0, 0.1, 0.2, 0.3]
    kinds = ["double" if name == "x" else "float" for name in names]
    for kind, body in (
        (
            "binary_little_endian",
            b"".join(struct.pack("<d" if k == "double" else "<f", v) for k, v in zip(kinds, values, strict=True)),
        ),
        (
            "binary_big_endian",
            b"".join(struct.pack(">d" if k == "double" else ">f", v) for k, v in zip(kinds, values, strict=True)),
        ),
        ("ascii", " ".join(map(str, values)).encode() + b"\n"),
    ):
        properties = "".join(f"property {k} {n}\n" for k, n in zip(kinds, names, strict=True))
        head = f"ply\nformat {kind} 1.0\ncomment x\nelement vertex 1\n{properties}"
        head += "element face 0\nproperty list uchar int i\nend_header\n"
        (tmp_path / "a.ply").write_bytes(head.encode() + body)
        g = read_ply(tmp_path / "a.ply")
        assert g.means.tolist() == [[1, 2, 3]] and g.opacities.tolist() == [0.5] and g.quats.tolist() == [[1, 0, 0, 0]]
        assert g.scales.tolist() == [[1, 1, 1]] and g.sh.shape == (1, 1, 3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"ply\nformat binary_little_endian 1.0\n",
        b"ply\nformat binary_little_endian 1.0\nelement vertex 2\nproperty float x\nend_header\n1234",
        b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nend_header\n1234",
        b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\nzzz\n",
        b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty list uchar int x\nend_header\n1234",
        b"ply\nformat binary_little_endian 1.0\nelement face 1\nproperty float x\nelement vertex 0\nend_header\n",
    ],
)
def test_damaged_ply(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.ply").write_bytes(content)
    with pytest.raises(InputError) as caught:
        open_scene(tmp_path / "a.ply")
    assert "\n" not in str(caught.value)


def test_truncated_and_nan_ply(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    write_ply(random_gaussians(10, 1, moving=False), path)
    raw = path.read_bytes()
    path.write_bytes(raw[:-5])
    with pytest.raises(InputError, match="truncated"):
        read_ply(path)
    path.write_bytes(raw[:-4] + struct.pack("<f", np.nan))
    with pytest.raises(InputError, match="NaN"):
        read_ply(path)


def test_splat_rows_are_those_of_the_viewer(tmp_path: Path) -> None:
    g = random_gaussians(50, 2, moving=False)
    write_splat(g, tmp_path / "a.splat")
    raw = (tmp_path / "a.splat").read_bytes()
    assert len(raw) == 50 * 32
    importance = g.scales.prod(1) * g.opacities
    first = int(importance.argmax())
    position, scale = struct.unpack("<3f", raw[:12]), struct.unpack("<3f", raw[12:24])
    assert position == tuple(g.means[first].tolist()) and scale == tuple(g.scales[first].tolist())
    color = (0.5 + 0.28209479177387814 * g.sh[first, 0]).clamp(0, 1)
    assert list(raw[24:28]) == pytest.approx([255 * c for c in (*color.tolist(), float(g.opacities[first]))], abs=0.51)
    assert list(raw[28:32]) == pytest.approx((128 + 128 * g.quats[first]).clamp(0, 255).tolist(), abs=0.51)


def test_splat_round_trip(tmp_path: Path) -> None:
    g = random_gaussians(200, 0, moving=False).replace(sh=torch.rand(200, 1, 3) * 2 - 1)
    order = torch.argsort(g.scales.double().prod(1) * g.opacities, descending=True, stable=True)
    write_splat(g, tmp_path / "a.splat")
    back, g = read_splat(tmp_path / "a.splat"), g.select(order)
    assert torch.equal(back.means, g.means) and torch.equal(back.scales, g.scales)
    torch.testing.assert_close(back.opacities, g.opacities, atol=0.51 / 255, rtol=0)
    torch.testing.assert_close(back.sh, g.sh, atol=0.51 / 255 / 0.28, rtol=0)
    assert ((back.quats * g.quats).sum(1) > 0.999).all()


def test_damaged_splat(tmp_path: Path) -> None:
    (tmp_path / "a.splat").write_bytes(b"x" * 33)
    with pytest.raises(InputError, match="32 bytes"):
        open_scene(tmp_path / "a.splat")
    (tmp_path / "a.splat").write_bytes(struct.pack("<6f", np.nan, 0, 0, 1, 1, 1) + bytes(8))
    with pytest.raises(InputError, match="finite"):
        open_scene(tmp_path / "a.splat")


def test_freezing_moves_what_moves_and_drops_what_has_faded() -> None:
    g = random_gaussians(3, 0, moving=False).replace(
        velocity=torch.tensor([[0.0, 0, 0], [2.0, 0, 0], [0, 0, 0]]),
        time_mid=torch.tensor([0.0, 1.0, 0.0]),
        time_sigma=torch.tensor([1e6, 1e6, 0.1]),
        opacities=torch.tensor([0.5, 0.5, 0.5]),
    )
    scene = replace(random_scene(1), gaussians=g)
    still = frozen(scene, scene.time_origin_us + 3_000_000)
    assert len(still) == 2 and still.is_static
    torch.testing.assert_close(still.means, g.means[:2] + torch.tensor([[0.0, 0, 0], [4.0, 0, 0]]))


def test_the_default_moment_is_the_middle_of_the_path() -> None:
    scene = random_scene()
    assert middle_time_us(scene) == scene.time_origin_us + 200_000
    assert middle_time_us(replace(scene, ego_times_us=np.zeros(0, np.int64))) == scene.time_origin_us


@pytest.mark.parametrize("target", ["ply", "splat", "h5"])
def test_convert_and_open_again(tmp_path: Path, target: str) -> None:
    write_scene(random_scene(), tmp_path / "a.h5")
    output = tmp_path / f"b.{target}"
    count = convert_scene(tmp_path / "a.h5", output, target, provenance={"argv": ["now"]})
    assert file_kind(output) == target and len(open_scene(output).gaussians) == count
    with pytest.raises(OutputExistsError):
        convert_scene(tmp_path / "a.h5", output, target)
    if target == "h5":
        assert [r["argv"] for r in read_scene(output).history] == [["jwm", "test"], ["now"]]


def test_time_chooses_the_moment(tmp_path: Path) -> None:
    write_scene(random_scene(), tmp_path / "a.h5")
    convert_scene(tmp_path / "a.h5", tmp_path / "b.ply", "ply", time_s=0.0)
    convert_scene(tmp_path / "a.h5", tmp_path / "c.ply", "ply", time_s=0.3)
    scene = read_scene(tmp_path / "a.h5")
    expected = frozen(scene, scene.time_origin_us + 300_000)
    assert torch.equal(read_ply(tmp_path / "c.ply").means, expected.means)
    assert (tmp_path / "b.ply").read_bytes() != (tmp_path / "c.ply").read_bytes()


def test_a_ply_becomes_a_scene_that_gives_the_same_ply(tmp_path: Path) -> None:
    write_ply(random_gaussians(30, 2, moving=False), tmp_path / "a.ply")
    convert_scene(tmp_path / "a.ply", tmp_path / "b.h5", "h5")
    convert_scene(tmp_path / "b.h5", tmp_path / "c.ply", "ply")
    _, first = header_and_rows(tmp_path / "a.ply")
    _, second = header_and_rows(tmp_path / "c.ply")
    np.testing.assert_allclose(second, first, rtol=1e-5, atol=1e-5)
