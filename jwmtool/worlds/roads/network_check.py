"""Is a drawn network one that can be built and driven?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from jwmtool.worlds.roads.network import Network

Floats = NDArray[np.float64]

LEAST_GAP_M = 2.0  # between the rims of two roads
LEAST_TURN_M = 5.0  # radius of any driven path
_INSIDE_M = 0.3  # a lane's middle stays this far from the kerb at least


def problem_with_roads(network: Network) -> str | None:
    """Why roads bend too sharply or overlap; None if all is well."""
    verge = 0.0 if network.edges[0].profile.sidewalk_m > 0 else 5.0
    for edge in network.edges:
        s = np.arange(2.0, edge.path.length_m - 2.0, 1.0)
        sharpest = float(np.abs(edge.path.curvature(s)).max())
        if sharpest * (edge.profile.total_half_m + verge + 3.0) > 1.0:
            return f"edge {edge.id} bends too sharply"
    return _overlap(network, LEAST_GAP_M + 2.0 * verge)


def _overlap(network: Network, gap_m: float) -> str | None:
    """Two rims that come too near each other, or a rim that lies on another road."""
    points, owner, along, lap = [], [], [], []
    for i, border in enumerate(network.borders):
        rim = border.rim
        s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(rim, axis=0).T))])
        points.append(rim)
        owner.append(np.full(len(rim), i))
        along.append(s)
        # A rim that ends where it began goes round.
        lap.append(float(s[-1]) if np.hypot(*(rim[0] - rim[-1])) < 1e-3 else np.inf)
    xy, own, at = np.concatenate(points), np.concatenate(owner), np.concatenate(along)
    edges_of = [set(border.edges) for border in network.borders]
    a, b = cKDTree(xy).query_pairs(gap_m, output_type="ndarray").T
    apart = np.abs(at[a] - at[b])
    apart = np.minimum(apart, np.array(lap)[own[a]] - apart)
    itself = (own[a] == own[b]) & (apart > 6.0 * gap_m)
    if itself.any():
        return f"a road comes too near itself (edges {sorted(edges_of[own[a[itself.argmax()]]])})"
    for pair in np.unique(own[a] * len(edges_of) + own[b]):
        i, j = divmod(int(pair), len(edges_of))
        if not edges_of[i] & edges_of[j]:
            return f"edges {sorted(edges_of[i])} and {sorted(edges_of[j])} come too near each other"
    for edge in network.edges:
        # Rims of other borders must lie beyond this road's own rim; corners touch it only at its ends.
        s = np.linspace(edge.first_m, edge.last_m, max(3, round(edge.last_m - edge.first_m)))
        middle = edge.path.at(s)
        others = np.array([edge.id not in edges_of[i] for i in own])
        near, _ = cKDTree(middle[:, :2]).query(xy[others]) if others.any() else (np.array([np.inf]), None)
        if near.min() < edge.profile.total_half_m + LEAST_GAP_M:
            return f"edge {edge.id} lies on another road"
        touching = ~others
        near, index = cKDTree(middle[:, :2]).query(xy[touching])
        inner = (index > 1) & (index < len(s) - 2)
        if inner.any() and near[inner].min() < edge.profile.total_half_m - 0.3:
            return f"edge {edge.id} overlaps its own rim"
    return None


def problem_with_circuits(network: Network) -> str | None:
    """Why a circuit cannot be driven; None if all is well."""
    if not network.circuits:
        return "no way round"
    for i, circuit in enumerate(network.circuits):
        s = np.arange(0.0, circuit.path.length_m, 1.0)
        place = circuit.path.at(s)
        sharpest = float(np.abs(circuit.path.curvature(s, 1.0)).max())
        if sharpest * LEAST_TURN_M > 1.0:
            return f"circuit {i} turns with a radius of {1.0 / sharpest:.1f} m"
        if float(network.kerb_distance_m(place[:, 0], place[:, 1]).max()) > -_INSIDE_M:
            return f"circuit {i} leaves the road"
        if any(b <= a for piece in circuit.pieces for a, b in [piece[2:]]):
            return f"circuit {i} has an empty piece"
    return None
