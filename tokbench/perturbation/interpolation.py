"""Interpolated reconstructions: each sample's latent mixed with a neighbour's, as for iFID.

Source: "Making Reconstruction FID Predictive of Diffusion Generation FID" (arXiv 2603.05630),
tongdaxu/Making-rFID-Predictive-of-Diffusion-gFID, ``evalvae.py`` at bac6ede: of the ten latents of the highest cosine
similarity one is drawn with probability softmax(-mean squared difference), and the two are mixed half and half by
spherical interpolation. There the neighbours are training images; here they are the other images of the evaluated set,
without the sample itself, because no training set is at hand. Similarities are float32 throughout, and draws come from
each sample's own seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokbench.encodings import Encoding, Latents
from tokbench.errors import MetricError
from tokbench.perturbation.draws import Draws
from tokbench.perturbation.noise import latents_of

if TYPE_CHECKING:
    import torch

SHORTLIST = 10
WEIGHT = 0.5
MAX_BANK_BYTES = 4 << 30
_EPSILON = 1e-7
_PARALLEL = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pool:
    """Latents of one shape: float32 ``(m, size)``, and the row of each sample's seed."""

    places: Mapping[int, int]
    latents: torch.Tensor


class LatentBank:
    """The latents of a whole set, on the CPU in float32; a sample is known by its seed."""

    def __init__(self, *, shortlist: int = SHORTLIST, weight: float = WEIGHT, max_bytes: int = MAX_BANK_BYTES) -> None:
        self._shortlist = shortlist
        self._weight = weight
        self._max_bytes = max_bytes
        self._rows: dict[int, torch.Tensor] = {}
        self._by_shape: dict[tuple[int, ...], _Pool] = {}
        self._bytes = 0

    def see(self, encoding: Encoding, seeds: Sequence[int]) -> None:
        """Take in a batch.

        Raises:
            BadOutputError: these are no latents.
            MetricError: the set does not fit the bank.
        """
        values = latents_of(encoding).values
        if not values.numel():
            raise MetricError(f"latents of shape {tuple(values.shape)} hold nothing to mix")
        for seed, row in zip(seeds, values.float().cpu(), strict=True):
            self._rows[seed] = row
            self._bytes += 4 * row.numel()
        if self._bytes > self._max_bytes:
            self._rows.clear()
            raise MetricError(
                f"the latents of the set take over {self._max_bytes >> 20} MiB, and finding neighbours needs all of "
                "them at once; measure fewer samples (--limit)"
            )

    def finish(self) -> None:
        """Gather the latents by shape.

        Raises:
            MetricError: a sample has no neighbour.
        """
        import torch

        shapes: dict[tuple[int, ...], list[int]] = {}
        for seed in sorted(self._rows):  # whatever the order of batches
            shapes.setdefault(tuple(self._rows[seed].shape), []).append(seed)
        for shape, seeds in shapes.items():
            if len(seeds) < 2:
                raise MetricError(f"a sample's latents have shape {shape}, and no other's do: no neighbour to mix")
            self._by_shape[shape] = _Pool(
                places={seed: place for place, seed in enumerate(seeds)},
                latents=torch.stack([self._rows.pop(seed).flatten() for seed in seeds]),
            )

    def derive(self, encoding: Encoding, seeds: Sequence[int]) -> Latents:
        """Each latent mixed with its drawn neighbour.

        Raises:
            MetricError: a sample was not seen before.
        """
        import torch

        values = latents_of(encoding).values
        mixed = []
        for seed, row in zip(seeds, values.float().cpu(), strict=True):
            pool = self._by_shape.get(tuple(row.shape))
            if pool is None or seed not in pool.places:
                raise MetricError(f"latents of shape {tuple(row.shape)} were not seen when the set was surveyed")
            own = row.flatten()
            place = draw_neighbour(
                own, pool.latents, Draws(seed), leave_out=pool.places[seed], shortlist=self._shortlist
            )
            mixed.append(slerp(own, pool.latents[place], self._weight).reshape(row.shape))
        return Latents(values=torch.stack(mixed).to(values))


def neighbour_weights(
    latent: torch.Tensor, others: torch.Tensor, *, leave_out: int | None = None, shortlist: int = SHORTLIST
) -> tuple[torch.Tensor, torch.Tensor]:
    """The most similar latents and how likely each is drawn.

    Args:
        latent: float32 ``(size,)``.
        others: float32 ``(m, size)``.
        leave_out: a row that is the latent itself.
        shortlist: how many are considered, at most those there are.

    Returns:
        Rows, int64 ``(k,)``, the highest cosine similarity first, and their probabilities, float64 ``(k,)``.
    """
    import torch

    cosine = (others @ latent) / (others.norm(dim=1) * latent.norm() + 1e-8)
    if leave_out is not None:
        cosine[leave_out] = -torch.inf
    count = min(shortlist, len(others) - (leave_out is not None))
    rows = cosine.sort(descending=True, stable=True).indices[:count]
    cost = (latent - others[rows]).square().mean(1)
    return rows, torch.softmax(-cost.double(), dim=0)


def draw_neighbour(
    latent: torch.Tensor,
    others: torch.Tensor,
    draws: Draws,
    *,
    leave_out: int | None = None,
    shortlist: int = SHORTLIST,
) -> int:
    """The row of the neighbour that this sample's draw falls on."""
    rows, weights = neighbour_weights(latent, others, leave_out=leave_out, shortlist=shortlist)
    place = int((weights.cumsum(0) <= draws.uniform()).sum())
    return int(rows[min(place, len(rows) - 1)])


def slerp(first: torch.Tensor, second: torch.Tensor, weight: float) -> torch.Tensor:
    """Spherical interpolation of two vectors ``(size,)``, from ``first`` at weight 0 to ``second`` at 1.

    The angle is between their directions, the mix of the vectors as they are; nearly parallel ones are mixed linearly.
    """
    import torch

    unit_first = first / (first.norm() + _EPSILON)
    unit_second = second / (second.norm() + _EPSILON)
    angle = torch.acos((unit_first * unit_second).sum().clamp(-1.0, 1.0))
    sine = torch.sin(angle)
    if float(sine) < _PARALLEL:
        return (1 - weight) * first + weight * second
    mix_first = torch.sin((1 - weight) * angle) / (sine + _EPSILON)
    mix_second = torch.sin(weight * angle) / (sine + _EPSILON)
    return mix_first * first + mix_second * second
