"""What a reconstruction is held against: rendered pictures, depth, sky, and how plain it should be."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from jwmtool.gaussians.rasterize import Rendering
from jwmtool.imaging.photometric import photometric_loss
from jwmtool.training.worldrec import depth_loss
from jwmtool.training.worldrec.motion_loss import motion_loss
from jwmtool.training.worldrec.sample import Sample, depth_of
from jwmtool.worldrec.reconstruction import Reconstruction

_LEAST_ALPHA = 0.01
_LEAST_DEPTH_M = 0.1
_MOVES_MPS = 1.0
_MANY_MOVE = 0.01  # of all pixels


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss's terms; a term of weight 0 is not computed.

    Attributes:
        photometric: 0.8 L1 + 0.2 (1 - SSIM) of rendered targets.
        rendered_depth: |log ratio| of rendered depth; alpha: of the render against the true sky (worlds).
        planes, likelihood, relative, gradient, sky: of the coarse depth, see depth_loss.py.
        movers: planes and relative error once more, of what moves alone (worlds): it is few pixels, and matching them
            says nothing, or, of a car at the ego's speed, that it is far away.
        exposure: distance of the exposures from none; velocity: mean speed of the Gaussians, m/s.
        motion: velocities against true ones (worlds), see motion_loss.py.
    """

    photometric: float = 1.0
    rendered_depth: float = 0.1
    alpha: float = 0.1
    planes: float = 0.2
    likelihood: float = 0.2
    relative: float = 0.3
    gradient: float = 0.3
    sky: float = 0.05
    movers: float = 0.1
    exposure: float = 0.1
    velocity: float = 0.003
    motion: float = 0.05

    @property
    def renders(self) -> bool:
        """False where only the coarse depth counts."""
        return max(self.photometric, self.rendered_depth, self.alpha) > 0.0

    @property
    def depth(self) -> bool:
        """False where the coarse depth does not count."""
        return max(self.planes, self.likelihood, self.relative, self.gradient, self.sky, self.movers) > 0.0

    def depth_only(self) -> LossWeights:
        """The weights of the first stage: coarse depth alone."""
        return replace(self, photometric=0.0, rendered_depth=0.0, alpha=0.0, exposure=0.0, velocity=0.0, motion=0.0)

    def gate_only(self) -> LossWeights:
        """The weights for the gate of fusion: rendering alone."""
        none = LossWeights(**dict.fromkeys(asdict(self), 0.0))
        return replace(none, photometric=self.photometric, rendered_depth=self.rendered_depth, alpha=self.alpha)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def reconstruction_loss(
    made: Reconstruction, sample: Sample, weights: LossWeights, nearest_m: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of one window, and its terms before weighting.

    Args:
        made: of the sample's context.
        nearest_m: of the network's planes.
    """
    terms = depth_terms(made, sample, weights, nearest_m) if weights.depth else {}
    if weights.renders:
        terms |= render_terms(made, sample, weights)
    terms |= plain_terms(made, weights)
    moved = motion_loss(made, sample.context) if weights.motion else None
    if moved is not None:
        terms["motion"] = moved
    total = made.depth.inverse.float().sum() * 0.0  # on the graph also where nothing is known
    for name, term in terms.items():
        total = total + getattr(weights, name) * term
    return total, {name: term.detach() for name, term in terms.items()}


def depth_terms(made: Reconstruction, sample: Sample, weights: LossWeights, nearest_m: float) -> dict[str, Tensor]:
    """Terms of the coarse depth of the context, where its depth is known at all."""
    views, depth = sample.context, made.depth
    depth_m = depth_of(views)
    inverse, known = depth_loss.known_depth(depth_m, views.usable)
    if not bool(known.any()):
        return {}
    terms = {}
    if weights.planes:
        terms["planes"] = depth_loss.plane_loss(depth.plane_logits, inverse, known, nearest_m, sample.exact)
    if weights.likelihood:
        terms["likelihood"] = depth_loss.likelihood_loss(depth, inverse, known)
    if weights.relative:
        terms["relative"] = depth_loss.relative_loss(depth, inverse, known)
    if weights.gradient and sample.exact:
        terms["gradient"] = depth_loss.gradient_loss(depth, inverse, known)
    if weights.movers and sample.exact and views.velocity is not None:
        moves = known & (views.velocity.norm(dim=-1) > _MOVES_MPS)
        share = (moves.sum() / (_MANY_MOVE * known.sum())).clamp(max=1.0)  # a few pixels are not as much as many
        planes = depth_loss.plane_loss(depth.plane_logits, inverse, moves, nearest_m, sample.exact)
        terms["movers"] = share * (planes + depth_loss.relative_loss(depth, inverse, moves))
    if weights.sky and sample.exact:
        terms["sky"] = depth_loss.sky_loss(depth, depth_m.isinf(), views.usable)
    return terms


def render_terms(made: Reconstruction, sample: Sample, weights: LossWeights) -> dict[str, Tensor]:
    """Terms of the rendered targets, each the mean over those that have it."""
    found: dict[str, list[Tensor]] = {}
    targets, depths = sample.targets, depth_of(sample.targets)
    for target, twin in enumerate(sample.twins):
        exposure = made.exposure[twin].float() if twin >= 0 else None
        color, bare = made.render(targets.camera(target), float(targets.times_s[target]), exposure)
        usable, depth_m = targets.usable[target], depths[target]
        if weights.photometric:
            image = targets.images[target].permute(1, 2, 0)
            found.setdefault("photometric", []).append(photometric_loss(color, image, usable))
        finite = (depth_m > 0.0) & torch.isfinite(depth_m) & usable
        if weights.rendered_depth and bool(finite.any()):
            found.setdefault("rendered_depth", []).append(_rendered_depth(bare, depth_m, finite))
        if weights.alpha and sample.exact:
            # Not squared, so that a thin veil over the sky is pulled away as hard as a wall.
            error = (bare.alpha - (~depth_m.isinf()).float()).abs()
            found.setdefault("alpha", []).append(depth_loss.mean_over(error, usable))
    return {name: torch.stack(values).mean() for name, values in found.items()}


def plain_terms(made: Reconstruction, weights: LossWeights) -> dict[str, Tensor]:
    """Terms that ask for no more change and motion than the pictures do."""
    terms = {}
    if weights.exposure:
        identity = torch.eye(3, 4, device=made.exposure.device)
        terms["exposure"] = (made.exposure.float() - identity).abs().mean()
    if weights.velocity and len(made.gaussians):
        opacities = made.gaussians.opacities.detach()
        speed = made.gaussians.velocity.abs().sum(1)
        terms["velocity"] = (opacities * speed).sum() / opacities.sum().clamp(min=1e-6)
    return terms


def _rendered_depth(bare: Rendering, depth_m: Tensor, finite: Tensor) -> Tensor:
    """|log ratio|, weighted with alpha: where there is nothing, there is no depth to be wrong."""
    covered = finite & (bare.alpha.detach() > _LEAST_ALPHA)
    truth = torch.where(covered, depth_m, torch.ones_like(depth_m))
    error = (bare.depth.clamp(min=_LEAST_DEPTH_M).log() - truth.log()).abs() * bare.alpha.detach()
    return torch.where(covered, error, torch.zeros_like(error)).sum() / finite.sum()
