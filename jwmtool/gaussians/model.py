"""The Gaussians data class: always activated values, never logs or logits."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

STATIC_SIGMA_S = 1e6  # time_sigma of a Gaussian that is there for all time


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians in a scene frame (metres, float32).

    Attributes:
        means: [N, 3] position at `time_mid`, metres.
        quats: [N, 4] unit quaternions, wxyz: scene_from_gaussian.
        scales: [N, 3] standard deviations, metres.
        opacities: [N] in [0, 1], at `time_mid`.
        sh: [N, (degree + 1)^2, 3] spherical harmonics of sRGB color; color = 0.5 + basis @ sh.
        velocity: [N, 3] metres per second.
        time_mid: [N] seconds since the scene's time origin.
        time_sigma: [N] seconds; opacity fades as a normal curve about `time_mid`. STATIC_SIGMA_S: never.
        actor: [N] int32 index into the scene's actors, -1 for the static world.
        imagined: [N] uint8, 0 observed, 1 generated.
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    sh: Tensor
    velocity: Tensor
    time_mid: Tensor
    time_sigma: Tensor
    actor: Tensor
    imagined: Tensor

    def __post_init__(self) -> None:
        n = len(self.means)
        shapes = {"means": (n, 3), "quats": (n, 4), "scales": (n, 3), "opacities": (n,), "velocity": (n, 3)}
        shapes |= {"time_mid": (n,), "time_sigma": (n,), "actor": (n,), "imagined": (n,)}
        for name, shape in shapes.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"Gaussians.{name}: expected shape {shape}, found {found}")
        if self.sh.ndim != 3 or self.sh.shape[0] != n or self.sh.shape[2] != 3 or self.sh.shape[1] not in (1, 4, 9, 16):
            raise ValueError(f"Gaussians.sh: expected [{n}, 1|4|9|16, 3], found {list(self.sh.shape)}")

    @staticmethod
    def static(means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, sh: Tensor) -> Gaussians:
        """Gaussians that neither move nor fade."""
        n, device = len(means), means.device
        return Gaussians(
            means,
            quats,
            scales,
            opacities,
            sh,
            velocity=torch.zeros(n, 3, device=device),
            time_mid=torch.zeros(n, device=device),
            time_sigma=torch.full((n,), STATIC_SIGMA_S, device=device),
            actor=torch.full((n,), -1, dtype=torch.int32, device=device),
            imagined=torch.zeros(n, dtype=torch.uint8, device=device),
        )

    @staticmethod
    def empty(sh_degree: int = 0) -> Gaussians:
        """No Gaussians at all."""
        return Gaussians.static(
            torch.zeros(0, 3),
            torch.zeros(0, 4),
            torch.zeros(0, 3),
            torch.zeros(0),
            torch.zeros(0, (sh_degree + 1) ** 2, 3),
        )

    def __len__(self) -> int:
        return len(self.means)

    @property
    def sh_degree(self) -> int:
        """0 to 3."""
        return {1: 0, 4: 1, 9: 2, 16: 3}[self.sh.shape[1]]

    @property
    def is_static(self) -> bool:
        """True if no Gaussian moves or fades."""
        return not bool((self.velocity != 0).any()) and bool((self.time_sigma >= STATIC_SIGMA_S).all())

    def at(self, time_s: float) -> tuple[Tensor, Tensor]:
        """Means [N, 3] and opacities [N] at `time_s` seconds since the scene's time origin."""
        dt = time_s - self.time_mid
        fade = torch.exp(-0.5 * (dt / self.time_sigma) ** 2)
        return self.means + self.velocity * dt[:, None], self.opacities * fade

    def held(self, time_s: float, least: float = 0.01) -> Gaussians:
        """As they are at a moment, and from there on without fading; what has less than `least` left of it is gone."""
        means, opacities = self.at(time_s)
        kept = opacities > least * self.opacities
        still = replace(
            self,
            means=means,
            opacities=opacities,
            time_mid=torch.full_like(self.time_mid, time_s),
            time_sigma=torch.full_like(self.time_sigma, STATIC_SIGMA_S),
        )
        return still.select(kept)

    def select(self, index: Tensor) -> Gaussians:
        """Rows by boolean mask or integer index."""
        return Gaussians(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def to(self, device: torch.device | str) -> Gaussians:
        """Move every tensor."""
        return Gaussians(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def detach(self) -> Gaussians:
        """Cut every tensor from the graph."""
        return Gaussians(**{f.name: getattr(self, f.name).detach() for f in fields(self)})

    def replace(self, **changes: Tensor) -> Gaussians:
        """The same Gaussians with some tensors changed."""
        return replace(self, **changes)

    @staticmethod
    def concat(parts: list[Gaussians]) -> Gaussians:
        """Join; spherical harmonics of lower degree are padded with zeros."""
        width = max(p.sh.shape[1] for p in parts)
        padded = [p.replace(sh=torch.nn.functional.pad(p.sh, (0, 0, 0, width - p.sh.shape[1]))) for p in parts]
        return Gaussians(**{f.name: torch.cat([getattr(p, f.name) for p in padded]) for f in fields(Gaussians)})
