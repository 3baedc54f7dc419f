"""The published operators' own outputs, beside ours.

``tests/golden/perturbation.json`` was made by running the two reference files at the commits it names on the numbers
drawn here. The reference of pFID cannot be seeded alike, so the sets of codes a token may become are compared.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from perturbation_inputs import draws

from tokbench.encodings import TokenStream
from tokbench.perturbation.draws import Draws
from tokbench.perturbation.interpolation import neighbour_weights, slerp
from tokbench.perturbation.lookup import perturb_stream

GOLDEN = json.loads((Path(__file__).resolve().parents[1] / "golden" / "perturbation.json").read_text())


class Inputs:
    def __init__(self) -> None:
        rng = np.random.Generator(np.random.Philox(2503))

        def draw(*shape: int) -> torch.Tensor:
            return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))

        self.vectors = draw(2, 6, 4, 4).permute(0, 2, 3, 1).contiguous()
        self.codebook = draw(40, 6)
        self.first, self.second = draw(3, 2, 3, 3), draw(3, 2, 3, 3)
        self.second[2] = 2 * self.first[2]
        self.pool = torch.from_numpy((rng.standard_normal((20, 18)) + 0.5).astype(np.float32))
        self.queries = torch.from_numpy((rng.standard_normal((3, 18)) + 0.5).astype(np.float32))


@pytest.mark.parametrize("case", GOLDEN["candidates"])
def test_a_token_may_become_the_same_codes_as_in_the_reference(case: str) -> None:
    given = Inputs()
    kind, _, delta = case.partition(", delta ")
    is_normalised = kind == "normalised"
    codebook = torch.nn.functional.normalize(given.codebook, dim=-1) if is_normalised else given.codebook
    assigned = [codes[0] for codes in GOLDEN["candidates"][f"{kind}, delta 1"]]
    stream = TokenStream(indices=torch.tensor(assigned).reshape(2, 4, 4), codebook_size=40, vectors=given.vectors)
    seen: list[set[int]] = [set() for _ in assigned]
    for seed in range(120):
        drawn = perturb_stream(
            stream, codebook, draws(2, first=2 * seed), alpha=1.0, delta=int(delta), is_normalised=is_normalised
        )
        for codes, code in zip(seen, drawn.indices.flatten().tolist(), strict=True):
            codes.add(code)
    assert [sorted(codes) for codes in seen] == GOLDEN["candidates"][case]


def test_slerp_is_the_references() -> None:
    given = Inputs()
    mixed = [slerp(a.flatten(), b.flatten(), 0.5) for a, b in zip(given.first, given.second, strict=True)]
    np.testing.assert_allclose(torch.stack(mixed).numpy(), GOLDEN["slerp"], rtol=2e-6, atol=1e-7)


def test_neighbours_and_their_weights_are_the_references() -> None:
    given = Inputs()
    for query, rows, weights in zip(given.queries, GOLDEN["neighbours"], GOLDEN["weights"], strict=True):
        found, probabilities = neighbour_weights(query, given.pool)
        assert found.tolist() == rows
        np.testing.assert_allclose(probabilities.numpy(), weights, rtol=1e-5)


def test_draws_move_only_with_the_metrics_versions() -> None:
    """If these numbers change, so does every robustness value: raise the versions."""
    own = Draws(7)
    assert own.ranks(16, alpha=0.5, delta=9).tolist() == [0, 0, 0, 0, 0, 8, 0, 7, 0, 6, 5, 4, 0, 0, 0, 0]
    assert own.below(8, 5).tolist() == [3, 4, 0, 3, 1, 4, 4, 3]
    np.testing.assert_allclose(
        own.normal((2, 2)).numpy(),
        [[0.06792987851482306, 0.6449754156102829], [-1.5019394981183485, -0.6626545468651045]],
        rtol=1e-12,
    )
