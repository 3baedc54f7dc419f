"""The search for nearest codes: exact where arithmetic is, the same in any tiles, never the whole matrix at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from perturbation_inputs import normal

from tokbench.errors import UsageError
from tokbench.perturbation.nearest import nearest_codes


def by_sorting_everything(vectors: torch.Tensor, codebook: torch.Tensor, count: int) -> torch.Tensor:
    distances = (vectors[:, None].double() - codebook[None].double()).square().sum(-1)
    return distances.sort(dim=1, stable=True).indices[:, :count]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), entries=st.integers(1, 70), count=st.integers(1, 70), step=st.integers(1, 80))
def test_whole_numbers_are_ranked_exactly_ties_by_index_in_any_tiles(
    seed: int, entries: int, count: int, step: int
) -> None:
    """Small whole numbers make distances exact and ties frequent."""
    rng = np.random.default_rng(seed)
    vectors = torch.from_numpy(rng.integers(-2, 3, (9, 3))).float()
    codebook = torch.from_numpy(rng.integers(-2, 3, (entries, 3))).float()
    count = min(count, entries)
    expected = by_sorting_everything(vectors, codebook, count)
    assert torch.equal(nearest_codes(vectors, codebook, count).long(), expected)
    assert torch.equal(nearest_codes(vectors, codebook, count, tile=(4, step)).long(), expected)


@pytest.mark.parametrize("tile", [(1024, 4096), (7, 100), (1000, 1), (1, 333)])
def test_tiles_change_nothing(tile: tuple[int, int]) -> None:
    vectors, codebook = normal(50, 8, seed=1), normal(999, 8, seed=2)
    whole = nearest_codes(vectors, codebook, 64, tile=(50, 999))
    assert torch.equal(nearest_codes(vectors, codebook, 64, tile=tile), whole)
    assert torch.equal(whole.long(), by_sorting_everything(vectors, codebook, 64))


def test_large_codebooks_are_never_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    plain = torch.addmm

    def counting(*args: torch.Tensor, **options: float) -> torch.Tensor:
        product = plain(*args, **options)
        sizes.append(product.numel())
        return product

    monkeypatch.setattr(torch, "addmm", counting)
    codebook = normal(1 << 18, 2)
    found = nearest_codes(normal(3, 2, seed=5), codebook, 5)
    assert found.shape == (3, 5)
    assert sum(sizes) == 3 << 18
    assert max(sizes) <= 1 << 22


def test_negative_zero_and_zero_are_equal() -> None:
    codebook = torch.tensor([[0.0], [-0.0], [0.0]])
    assert nearest_codes(torch.tensor([[-0.0]]), codebook, 3).tolist() == [[0, 1, 2]]


def test_too_many_neighbours_and_other_widths_are_refused() -> None:
    with pytest.raises(UsageError, match="at least as many, this has 4"):
        nearest_codes(normal(2, 3), normal(4, 3), 5)
    with pytest.raises(UsageError, match="3 dimensions"):
        nearest_codes(normal(2, 3), normal(4, 2), 1)
    assert nearest_codes(normal(0, 3), normal(4, 3), 2).shape == (0, 2)
