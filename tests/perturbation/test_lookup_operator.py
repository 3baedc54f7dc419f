"""pFID's operator: how much it changes, what it draws from, and what it may never touch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from perturbation_inputs import draws, normal, stream_of

from tokbench.encodings import TokenStream
from tokbench.errors import BadOutputError, UsageError
from tokbench.perturbation.lookup import perturb_stream

K = 50
CODEBOOK = normal(K, 4, seed=1)


def stream(n: int = 4, side: int = 16, *, seed: int = 3) -> TokenStream:
    return stream_of(normal(n, side, side, 4, seed=seed), CODEBOOK)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("delta", [1, 2, 10, 50])
def test_the_share_that_changes_is_alpha_times_one_minus_one_over_delta(alpha: float, delta: int) -> None:
    given = stream(40)
    changed = perturb_stream(given, CODEBOOK, draws(40), alpha=alpha, delta=delta)
    assert changed.replaced is not None
    expected = alpha * (1 - 1 / delta)
    tokens = given.indices.numel()
    spread = 4 * (expected * (1 - expected) / tokens) ** 0.5  # 4 standard deviations of a binomial share
    assert float(changed.replaced.double().mean()) == pytest.approx(expected, abs=spread)
    assert torch.equal(changed.replaced, changed.indices != given.indices)


def test_delta_one_changes_nothing() -> None:
    given = stream()
    changed = perturb_stream(given, CODEBOOK, draws(4), alpha=1.0, delta=1)
    assert torch.equal(changed.indices, given.indices)
    assert not changed.replaced.any()  # type: ignore[union-attr]


def test_ranks_are_uniform_over_the_nearest_codes_zero_included() -> None:
    delta = 8
    given = stream(60)
    changed = perturb_stream(given, CODEBOOK, draws(60), alpha=1.0, delta=delta)
    assert given.vectors is not None
    distances = torch.cdist(given.vectors.reshape(-1, 4), CODEBOOK)
    ranks = distances.argsort(dim=1).argsort(dim=1)
    drawn = ranks.gather(1, changed.indices.reshape(-1, 1))[:, 0]
    assert int(drawn.max()) == delta - 1
    counts = torch.bincount(drawn, minlength=delta).double()
    chi_square = float(((counts - counts.mean()) ** 2 / counts.mean()).sum())
    assert chi_square < 24.3  # the 0.1 % point on 7 degrees of freedom


def test_a_samples_codes_do_not_depend_on_the_batch() -> None:
    given = stream()
    together = perturb_stream(given, CODEBOOK, draws(4), alpha=0.7, delta=9)
    for row in (2, 0, 3, 1):
        alone = perturb_stream(given.select([row]), CODEBOOK, draws(1, first=row), alpha=0.7, delta=9)
        assert torch.equal(alone.indices[0], together.indices[row])
    other = perturb_stream(given, CODEBOOK, draws(4, first=100), alpha=0.7, delta=9)
    assert not torch.equal(other.indices, together.indices)


def test_a_wider_search_for_other_points_changes_nothing() -> None:
    narrow = perturb_stream(stream(), CODEBOOK, draws(4), alpha=0.5, delta=5)
    wide = perturb_stream(stream(), CODEBOOK, draws(4), alpha=0.5, delta=5, widest=40)
    assert torch.equal(narrow.indices, wide.indices)


def test_one_search_serves_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    from tokbench.perturbation import lookup

    searches = []
    plain = lookup.nearest_codes
    monkeypatch.setattr(lookup, "nearest_codes", lambda *args: searches.append(1) or plain(*args))
    given = stream()
    for delta in (2, 5, 9):
        perturb_stream(given, CODEBOOK, draws(4), alpha=0.5, delta=delta, widest=9)
    assert len(searches) == 4  # once a sample


def test_what_was_found_in_one_codebook_is_not_taken_for_another() -> None:
    given = stream_of(normal(1, 60, 4), CODEBOOK)
    before = perturb_stream(given, CODEBOOK, draws(1), alpha=1.0, delta=2)
    unused = next(code for code in range(K) if code not in given.indices and code not in before.indices)
    other = CODEBOOK.clone()
    other[unused] = CODEBOOK[given.indices[0].mode().values] + 1e-4  # now second to the code used most
    after = perturb_stream(given, other, draws(1), alpha=1.0, delta=2)
    assert unused in after.indices


def test_positions_past_the_length_are_left_alone() -> None:
    vectors = normal(3, 20, 4)
    given = stream_of(vectors, CODEBOOK, lengths=[20, 7, 0])
    sent = torch.arange(20)[None] < torch.tensor([[20], [7], [0]])
    vectors = torch.where(sent[..., None], vectors, torch.nan)  # what stands past the length is nobody's encoder output
    given = replace(given, vectors=vectors, indices=torch.where(sent, given.indices, 0))
    changed = perturb_stream(given, CODEBOOK, draws(3), alpha=1.0, delta=K)
    assert (changed.indices[~sent] == 0).all()
    assert not changed.replaced[~sent].any()  # type: ignore[index]
    assert changed.replaced[0].any()  # type: ignore[index]


def test_normalised_codes_are_ranked_by_angle() -> None:
    unit = torch.nn.functional.normalize(CODEBOOK, dim=-1)
    long = 30 * normal(2, 40, 4)
    angles = torch.nn.functional.normalize(long, dim=-1)
    given = replace(stream_of(angles, unit), vectors=long)
    changed = perturb_stream(given, unit, draws(2), alpha=1.0, delta=3, is_normalised=True)
    nearest = (angles.reshape(-1, 4) @ unit.T).argsort(dim=1, descending=True)[:, :3]
    assert (changed.indices.reshape(-1, 1) == nearest).any(1).all()


def test_a_tokenizer_that_rounds_otherwise_keeps_its_own_code_as_rank_zero() -> None:
    """The two nearest codes are as good as equal; the tokenizer took the second."""
    codebook = torch.tensor([[1.0], [-1.0 - 1e-6], [5.0], [1.0]])
    given = TokenStream(indices=torch.tensor([[1] * 300]), codebook_size=4, vectors=torch.zeros(1, 300, 1))
    assert (perturb_stream(given, codebook, draws(1), alpha=1.0, delta=1).indices == 1).all()
    two = perturb_stream(given, codebook, draws(1), alpha=1.0, delta=2)
    assert set(two.indices.unique().tolist()) == {0, 1}
    three = perturb_stream(given, codebook, draws(1), alpha=1.0, delta=3)
    assert set(three.indices.unique().tolist()) == {0, 1, 3}


def test_delta_outside_the_codebook_is_refused() -> None:
    with pytest.raises(UsageError, match=r"between 1 and the 50 codes of '0', got 51"):
        perturb_stream(stream(), CODEBOOK, draws(4), alpha=0.5, delta=51)
    with pytest.raises(UsageError, match="at least 1"):
        perturb_stream(stream(), CODEBOOK, draws(4), alpha=0.5, delta=0, widest=5)
    with pytest.raises(UsageError, match=r"alpha is a probability, got 1\.5"):
        perturb_stream(stream(), CODEBOOK, draws(4), alpha=1.5, delta=2)


def test_vectors_that_do_not_explain_the_codes_are_refused() -> None:
    given = stream()
    with pytest.raises(BadOutputError, match="attached no vectors"):
        perturb_stream(replace(given, vectors=None), CODEBOOK, draws(4), alpha=0.5, delta=2)
    with pytest.raises(BadOutputError, match="are not the codes nearest to the vectors"):
        perturb_stream(replace(given, vectors=normal(4, 16, 16, 4, seed=9)), CODEBOOK, draws(4), alpha=0.5, delta=2)
    broken = torch.full((4, 16, 16, 4), torch.nan)
    with pytest.raises(BadOutputError, match="NaN or infinite"):
        perturb_stream(replace(given, vectors=broken), CODEBOOK, draws(4), alpha=0.5, delta=2)
