"""Which patches are kept: every surface by the view that sees it finest, and none left bare.

Views are taken in order, those that see finest first. Of each view the patches are kept that the patches kept so far
do not cover: same surface, same color, not much coarser. So every patch of every view is either kept or shown by kept
ones; what views do not agree upon (movers, edges, wrong depth) stays with each of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jwmtool.worldrec.evidence import Evidence
from jwmtool.worldrec.life import confirmed
from jwmtool.worldrec.surfels import Pixels
from jwmtool.worldrec.views import Views

PATCH = 4  # px
COARSER = 0.2  # log of how much coarser what covers may be
ENOUGH = 0.5  # of a patch: then it is another's
_ALIVE = 1.3  # standard deviations of its life within which a Gaussian shows


@torch.no_grad()
def uncovered(views: Views, pixels: Pixels, evidence: Evidence, life: Tensor) -> Tensor:
    """[M] bool: which patches are kept.

    Args:
        pixels: centers of all patches.
        evidence: what views say of them; life: [M] their `time_sigma`: who is over covers nothing.
    """
    rows, columns = views.size[0] // PATCH, views.size[1] // PATCH
    pairs = confirmed(evidence) & (evidence.finer < COARSER)
    pairs &= (evidence.view != pixels.view[:, None]) & (evidence.apart_s.abs() <= _ALIVE * life[:, None])
    patch, slot = pairs.nonzero(as_tuple=True)
    view, xy = evidence.view[patch, slot], evidence.xy[patch, slot]
    area = torch.exp(2.0 * evidence.finer[patch, slot].clamp(max=0.0))
    order = finest_first(views, pixels, evidence)
    keep = torch.zeros(len(pixels.view), dtype=torch.bool, device=xy.device)
    cell = (pixels.xy[:, 1].long() // PATCH) * columns + pixels.xy[:, 0].long() // PATCH
    for v in order.tolist():
        covers = (view == v) & keep[patch]
        total = spread(torch.zeros_like(view[covers]), xy[covers], area[covers], (1, rows, columns))
        mine = pixels.view == v
        keep[mine] = total[cell[mine]] <= ENOUGH
    return keep


def finest_first(views: Views, pixels: Pixels, evidence: Evidence) -> Tensor:
    """[V] order of views: by how much finer than others they see what both see; of equals the later, then by camera."""
    count = len(views)
    same = evidence.same
    pair = pixels.view[:, None] * count + evidence.view
    finer = torch.where(same, evidence.finer, torch.zeros_like(evidence.finer))
    gain = torch.zeros(count * count, device=finer.device).index_add(0, pair.flatten(), finer.flatten())
    seen = torch.zeros_like(gain).index_add(0, pair.flatten(), same.float().flatten())
    table = (gain / seen.clamp(min=1.0)).reshape(count, count)
    score = (table.sum(0) - table.sum(1)) / count
    score = (score / 0.02).round()  # what is nearly equal is equal
    order = views.cameras.argsort(stable=True)
    order = order[views.times_s[order].argsort(descending=True, stable=True)]
    return order[score[order].argsort(descending=True, stable=True)]


def spread(view: Tensor, xy: Tensor, share: Tensor, patches: tuple[int, int, int]) -> Tensor:
    """Sums [V * rows * columns] of shares of patches, each spread bilinearly over the four patches about its place.

    Args:
        view: [P] int64; xy: [P, 2] px; share: [P].
        patches: V, and rows and columns of patches in each view.
    """
    views, rows, columns = patches
    total = share.new_zeros(views * rows * columns)
    place = xy / PATCH - 0.5
    low = place.floor()
    part = place - low
    for down in (0, 1):
        for right in (0, 1):
            column, row = low[:, 0].long() + right, low[:, 1].long() + down
            inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
            weight = (part[:, 0] if right else 1 - part[:, 0]) * (part[:, 1] if down else 1 - part[:, 1])
            index = (view * rows + row) * columns + column
            total = total.index_add(0, index[inside], (share * weight)[inside])
    return total
