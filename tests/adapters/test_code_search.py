"""The search for codes: the same in pieces, and in memory that does not grow with the codebook or the batch."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tokbench_adapters._networks.codebook import LARGEST_TABLE, Codebook, nearest_entries
from tokbench_adapters._networks.lookup import largest_products

MIB = 2**20
CODES, WIDTH = 2**18, 256
"""The largest released codebook (FVQ, IBQ): 256 MiB in float32."""


class Peak(TorchDispatchMode):
    """The most bytes that tensors made meanwhile held at any time; views hold none."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = 0
        self.most = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        given = {_memory(entry) for entry in tree_leaves((args, kwargs)) if isinstance(entry, Tensor)}
        for entry in tree_leaves(made):
            if isinstance(entry, Tensor) and _memory(entry) not in given:  # else a view, or written in place
                self.alive += entry.nbytes
                self.most = max(self.most, self.alive)
                weakref.finalize(entry, self._freed, entry.nbytes)
        return made

    def _freed(self, n_bytes: int) -> None:
        self.alive -= n_bytes


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def peak_of(search: Callable[[Tensor, Tensor], Tensor], n: int, codes: int = CODES) -> float:
    """MiB beyond what is given, for n vectors; on the device ``meta``, which allocates nothing and keeps count."""
    vectors, entries = (torch.empty(rows, WIDTH, device="meta") for rows in (n, codes))
    with Peak() as peak:
        assert search(vectors, entries).shape == (n,)
    return peak.most / MIB


@pytest.mark.parametrize("search", [nearest_entries, largest_products])
@pytest.mark.parametrize("n", [1, 256, 4096, 65536])
def test_a_codebook_of_2_to_the_18_needs_one_table_of_64_mib(search: Callable[..., Tensor], n: int) -> None:
    """4096 codes at 1024 px, 65536 in a batch of 16: the whole table of distances would be 4 and 64 GiB."""
    assert LARGEST_TABLE == 2**24
    assert peak_of(search, n) < 64 + 2


def test_that_count_sees_a_whole_table() -> None:
    assert peak_of(lambda vectors, entries: torch.cdist(vectors, entries).argmin(1), 4096) > 4096


def test_vectors_and_codes_are_searched_in_pieces_with_the_same_result() -> None:
    draw = torch.Generator().manual_seed(0)
    entries = torch.randn(300, 8, generator=draw)
    entries[200] = entries[100]  # equally near: the first counts
    vectors = torch.cat([torch.randn(500, 8, generator=draw), entries[[200, 7]]])
    whole = torch.cdist(vectors.double(), entries.double()).argmin(1)
    whole[500] = 100
    for largest_table in (1, 1000, 10**6):
        found = nearest_entries(vectors, entries, largest_table=largest_table)
        assert found.dtype == torch.int64
        assert torch.equal(found, whole)
    book = Codebook(300, 8, is_normalised=True)
    book.embedding.weight.data = entries
    angles = F.cosine_similarity(vectors[:500, None].double(), entries[None].double(), dim=-1).argmax(1)
    assert torch.equal(book.nearest(vectors[:500].view(5, 10, 10, 8)).flatten(), angles)
    assert torch.allclose(book.look_up(torch.arange(3)).norm(dim=1), torch.ones(3))


def test_the_vectors_are_not_written_to() -> None:
    vectors, entries = torch.randn(20, 4), torch.randn(30, 4)
    untouched = vectors.clone(), entries.clone()
    for largest_table in (50, 10**6):
        nearest_entries(vectors, entries, largest_table=largest_table)
        largest_products(vectors, entries, torch.ones(30), largest_table=largest_table)
    assert torch.equal(vectors, untouched[0])
    assert torch.equal(entries, untouched[1])
