"""Code search by inner product and by logits: equal to the plain formulation, in pieces, and as distances."""

from __future__ import annotations

import pytest
import torch

from tokbench_adapters._networks.codebook import nearest_entries
from tokbench_adapters._networks.lookup import DotCodebook, LogitCodebook, largest_products, raised


def made(m: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(m, d, generator=torch.Generator().manual_seed(seed))


def test_the_largest_product_wins_not_the_nearest_entry() -> None:
    entries = torch.tensor([[1.0, 0.0], [5.0, 5.0]])
    vector = torch.tensor([[0.9, 0.1]])
    assert nearest_entries(vector, entries).tolist() == [0]
    assert largest_products(vector, entries).tolist() == [1]


def test_equal_products_go_to_the_lower_index() -> None:
    entries = torch.tensor([[0.0, 1.0], [2.0, 0.0], [2.0, 3.0], [2.0, 0.0]])
    assert largest_products(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), entries).tolist() == [1, 0]


@pytest.mark.parametrize("largest_table", [1, 100, 64 * 7, 10**9])
def test_pieces_give_what_the_whole_table_gives(largest_table: int) -> None:
    vectors, entries, offsets = made(50, 6, 0), made(64, 6, 1), made(1, 64, 2)[0]
    whole = (vectors.double() @ entries.double().T + offsets).argmax(1)
    assert torch.equal(largest_products(vectors, entries, offsets, largest_table=largest_table), whole)


def test_the_table_of_products_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    monkeypatch.setattr(torch.Tensor, "argmax", lambda self, dim: rows.append(len(self)) or self.max(dim).indices)
    largest_products(made(100, 4, 0), made(1000, 4, 1), largest_table=30_000)
    assert rows == [30, 30, 30, 10]


def test_products_become_distances() -> None:
    book = DotCodebook(64, 6)
    book.embedding.weight.data = made(64, 6, 1) * torch.linspace(0.1, 3, 64)[:, None]
    vectors = made(40, 6, 0)
    entries = book.entries()
    assert torch.allclose(entries.norm(dim=1), entries.norm(dim=1).max().expand(64), rtol=1e-5)
    ranked = torch.cdist(book.compared(vectors).double(), entries.double()).argsort(1)
    expected = (vectors.double() @ book.embedding.weight.double().T).argsort(1, descending=True)
    assert torch.equal(ranked[:, :16], expected[:, :16])
    assert torch.equal(book.nearest(vectors), expected[:, 0])


def test_logits_become_distances() -> None:
    book = LogitCodebook(32, 6)
    vectors = made(40, 6, 0).view(2, 4, 5, 6)
    logits = book.proj(vectors.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    assert torch.equal(book.nearest(vectors), logits.argmax(-1))
    ranked = torch.cdist(book.compared(vectors).flatten(0, 2).double(), book.entries().double()).argmin(1)
    assert torch.equal(ranked, logits.argmax(-1).flatten())
    assert torch.equal(book.look_up(torch.tensor([[3]]))[0, 0], book.embed.weight[3])


def test_the_longest_entry_is_not_raised() -> None:
    assert raised(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[3, 4, 0], [0, 0, 5]]
