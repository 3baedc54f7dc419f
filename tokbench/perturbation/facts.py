"""What a tokenizer says about its quantiser, checked before anything is perturbed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tokbench.contracts import Tokenizer
from tokbench.encodings import TokenStream
from tokbench.errors import BadOutputError, NotApplicableError
from tokbench.quantisers import Perturbable, Quantiser

if TYPE_CHECKING:
    import torch


def quantiser_of(tokenizer: Tokenizer) -> Quantiser:
    """The quantiser of a tokenizer, or of the object that was wrapped, checked.

    Raises:
        NotApplicableError: it has none, or does not say what it is.
        BadOutputError: as :func:`checked` has it.
    """
    for candidate in (tokenizer, getattr(tokenizer, "model", None)):
        if isinstance(candidate, Perturbable):
            return checked(candidate.quantiser())
    latent = tokenizer.card.latent
    if latent != "discrete":
        raise NotApplicableError(f"discrete codes are perturbed here, and this tokenizer's latents are {latent}")
    raise NotApplicableError(
        "the tokenizer does not show its codebook: give it a method quantiser() and attach vectors to what encode "
        "returns (tokbench.quantisers.Perturbable)"
    )


def checked(quantiser: Quantiser) -> Quantiser:
    """The quantiser with codebooks in float32, scaled to length 1 where that is how codes are compared.

    Raises:
        BadOutputError: a codebook is no float matrix, or has entries that are NaN or infinite.
    """
    return replace(
        quantiser,
        codebooks={
            name: _checked(name, entries, is_normalised=quantiser.is_normalised)
            for name, entries in quantiser.codebooks.items()
        },
    )


def codebook_of(quantiser: Quantiser, stream: TokenStream) -> torch.Tensor:
    """The entries a stream's indices point into, float ``(K, d)``, on their device.

    Raises:
        BadOutputError: the quantiser has no codebook of that name, or one of another size.
    """
    entries = quantiser.codebooks.get(stream.codebook)
    if entries is None or len(entries) != stream.codebook_size:
        known = {name: len(other) for name, other in quantiser.codebooks.items()}
        raise BadOutputError(
            f"a stream has codes of codebook {stream.codebook!r} with {stream.codebook_size} entries, and the "
            f"quantiser has {known}"
        )
    return entries.to(stream.indices.device)


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors ``(…, d)`` scaled to length 1; zeros stay zero."""
    from torch.nn import functional as F

    return F.normalize(vectors, p=2, dim=-1)


def _checked(name: str, entries: torch.Tensor, *, is_normalised: bool) -> torch.Tensor:
    if not entries.is_floating_point() or entries.ndim != 2 or 0 in entries.shape:
        raise BadOutputError(
            f"codebook {name!r} must be floating point of shape (K, d), got {entries.dtype} {tuple(entries.shape)}"
        )
    entries = entries.detach().float()
    broken = ~entries.isfinite().all(dim=1)
    if bool(broken.any()):
        first = int(broken.int().argmax())
        raise BadOutputError(
            f"codebook {name!r}: {int(broken.sum())} of {len(entries)} entries hold NaN or infinite values, the first "
            f"is entry {first}; check the checkpoint"
        )
    return unit(entries) if is_normalised else entries
