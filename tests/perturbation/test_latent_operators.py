"""Noise in continuous latents, and mixing them with a neighbour's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from perturbation_inputs import draws, normal

from tokbench.encodings import Latents, Tokens
from tokbench.errors import BadOutputError, MetricError, UsageError
from tokbench.perturbation.draws import Draws
from tokbench.perturbation.interpolation import LatentBank, draw_neighbour, neighbour_weights, slerp
from tokbench.perturbation.noise import ChannelSpread, add_noise


def spread_of(values: torch.Tensor, batches: list[list[int]]) -> torch.Tensor:
    spread = ChannelSpread()
    for rows in batches:
        spread.see(Latents(values=values[rows]), rows)
    spread.finish()
    return spread.deviations()


@pytest.mark.parametrize(("shape", "axis"), [((6, 3, 4, 5), 1), ((6, 10, 3), 2), ((6, 3), 1)])
def test_the_spread_is_the_sets_in_any_batches_and_order(shape: tuple[int, ...], axis: int) -> None:
    values = 100 + normal(*shape) * torch.arange(1, 4).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    expected = values.double().std(dim=[a for a in range(len(shape)) if a != axis], unbiased=False)
    whole = spread_of(values, [[0, 1, 2, 3, 4, 5]])
    torch.testing.assert_close(whole, expected, rtol=1e-10, atol=0)
    assert torch.equal(spread_of(values, [[5], [2, 0], [4, 1, 3]]), whole)


def test_noise_has_the_strength_it_says() -> None:
    latents = Latents(values=normal(4, 2, 40, 40))
    deviations = torch.tensor([3.0, 0.0], dtype=torch.float64)
    noise = add_noise(latents, deviations, draws(4), sigma=0.5).values - latents.values
    assert float(noise[:, 0].std()) == pytest.approx(1.5, rel=0.03)
    assert float(noise[:, 0].mean()) == pytest.approx(0, abs=0.08)
    assert not noise[:, 1].any()
    alone = add_noise(latents.select([3]), deviations, draws(1, first=3), sigma=0.5)
    assert torch.equal(alone.values[0], add_noise(latents, deviations, draws(4), sigma=0.5).values[3])
    assert torch.equal(add_noise(latents, deviations, draws(4), sigma=0.0).values, latents.values)


def test_noise_that_cannot_be_scaled_is_refused() -> None:
    with pytest.raises(MetricError, match="not surveyed"):
        ChannelSpread().deviations()
    with pytest.raises(MetricError, match=r"have \[\] channels"):
        ChannelSpread().finish()
    spread = ChannelSpread()
    spread.see(Latents(values=normal(1, 2, 4, 4)), [0])
    spread.see(Latents(values=normal(1, 3, 4, 4)), [1])
    with pytest.raises(MetricError, match=r"have \[2, 3\] channels"):
        spread.finish()
    with pytest.raises(UsageError, match="a deviation for each of 2 channels"):
        add_noise(Latents(values=normal(1, 2, 4, 4)), torch.ones(3), draws(1), sigma=0.1)
    with pytest.raises(BadOutputError, match="returned Tokens"):
        ChannelSpread().see(Tokens.grid(torch.zeros(1, 4, dtype=torch.int64), codebook_size=2), [0])


def test_slerp_keeps_the_sphere_and_halves_the_angle() -> None:
    first, second = torch.tensor([2.0, 0, 0]), torch.tensor([0, 2.0, 0])
    middle = slerp(first, second, 0.5)
    assert float(middle.norm()) == pytest.approx(2, rel=1e-6)
    torch.testing.assert_close(middle, torch.tensor([math.sqrt(2), math.sqrt(2), 0]))
    torch.testing.assert_close(slerp(first, second, 0.0), first, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(slerp(first, second, 1.0), second, rtol=1e-6, atol=1e-6)
    assert torch.equal(slerp(first, 3 * first, 0.5), 2 * first)  # parallel: linear


def test_neighbours_are_drawn_by_their_nearness_and_never_the_sample_itself() -> None:
    others = torch.cat([torch.eye(4), torch.tensor([[1.0, 1.0, 0, 0]])])
    latent = others[0]
    rows, weights = neighbour_weights(latent, others, leave_out=0, shortlist=3)
    assert rows.tolist() == [4, 1, 2]
    costs = np.array([1 / 4, 2 / 4, 2 / 4])
    np.testing.assert_allclose(weights.numpy(), np.exp(-costs) / np.exp(-costs).sum(), rtol=1e-6)
    drawn = [draw_neighbour(latent, others, Draws(seed), leave_out=0, shortlist=3) for seed in range(3000)]
    shares = [drawn.count(row) / 3000 for row in rows.tolist()]
    np.testing.assert_allclose(shares, weights.numpy(), atol=4 * math.sqrt(0.25 / 3000))
    assert sum(shares) == pytest.approx(1)


def test_the_bank_mixes_alike_whatever_the_batches() -> None:
    values = normal(12, 2, 3, 3)
    seeds = list(range(100, 112))

    def mixed(batches: list[list[int]]) -> torch.Tensor:
        bank = LatentBank()
        for rows in batches:
            bank.see(Latents(values=values[rows]), [seeds[row] for row in rows])
        bank.finish()
        found = torch.zeros_like(values)
        for rows in batches:
            found[rows] = bank.derive(Latents(values=values[rows]), [seeds[row] for row in rows]).values
        return found

    whole = mixed([list(range(12))])
    assert torch.equal(mixed([[11, 3], [0, 1, 2], [4, 5, 6, 7], [8, 9, 10]]), whole)
    for row in range(12):  # each is half way to another sample
        candidates = [slerp(values[row].flatten(), values[other].flatten(), 0.5) for other in range(12) if other != row]
        assert any(torch.allclose(whole[row].flatten(), candidate, atol=1e-6) for candidate in candidates)


def test_a_bank_that_cannot_do_its_work_says_so() -> None:
    bank = LatentBank(max_bytes=100)
    with pytest.raises(MetricError, match="--limit"):
        bank.see(Latents(values=normal(3, 2, 3, 3)), [0, 1, 2])
    lonely = LatentBank()
    lonely.see(Latents(values=normal(2, 2, 3, 3)), [0, 1])
    lonely.see(Latents(values=normal(1, 2, 4, 4)), [2])
    with pytest.raises(MetricError, match=r"shape \(2, 4, 4\), and no other's"):
        lonely.finish()
    with pytest.raises(MetricError, match="were not seen"):
        LatentBank().derive(Latents(values=normal(1, 2, 3, 3)), [7])


@pytest.mark.parametrize("shape", [(2, 3, 0), (2, 3, 0, 4), (2, 0, 4, 4)])
def test_empty_latents_are_refused(shape: tuple[int, ...]) -> None:
    for survey in (ChannelSpread(), LatentBank()):
        with pytest.raises(MetricError, match="hold nothing"):
            survey.see(Latents(values=torch.zeros(shape)), [0, 1])
