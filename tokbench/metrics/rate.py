"""What an encoding costs: bits per pixel, tokens, and how much smaller it is than a lossless file."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tokbench.cards import MetricCard
from tokbench.contracts import Comparison, Summary
from tokbench.encodings import Latents, Payloads
from tokbench.metrics.base import PairFunction, per_comparison
from tokbench.metrics.codes import CountingMetric, Tally, books_of, rows_of, tally_codes
from tokbench.metrics.entropy_coding import Order, compress, sequences_of
from tokbench.metrics.histograms import entropy_bits, histogram_bits
from tokbench.metrics.state import State
from tokbench.samples import Region

if TYPE_CHECKING:
    import torch

WEBP_MAX_SIDE_PX = 16383
_FEATURE = "lossless_webp"


@dataclass(frozen=True, kw_only=True)
class LosslessSize:
    """The size of each reference as a lossless WebP file: a :class:`~tokbench.contracts.Feature`.

    Attributes:
        quality, method: the encoder's effort, 0 to 100 and 0 to 6; more is slower and slightly smaller. The defaults
            give photographs files at most about 2 % larger than the best, in a thirtieth of its time.
    """

    name: str = _FEATURE
    sides: Literal["reference", "both"] = "reference"
    uses_regions: bool = False
    quality: int = 75
    method: int = 4

    def identity(self) -> Mapping[str, str | int | float]:
        import PIL
        from PIL import features

        return {
            "version": 1,
            "quality": self.quality,
            "method": self.method,
            "pillow": PIL.__version__,
            "libwebp": str(features.version("webp")),
        }

    def compute(
        self,
        reference: torch.Tensor,
        regions: Sequence[Sequence[Region]],  # noqa: ARG002  # the contract
    ) -> list[dict[str, np.ndarray]]:
        """uint8 ``(n, 3, h, w)`` → n × {"bytes": int64 ``()``}; 0 where a side is over WebP's limit of 16383 px."""
        if max(reference.shape[-2:]) > WEBP_MAX_SIDE_PX:
            return [{"bytes": np.array(0, np.int64)} for _ in range(reference.shape[0])]
        pixels = reference.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return [{"bytes": np.array(self._size_bytes(image), np.int64)} for image in pixels]

    def _size_bytes(self, image: np.ndarray) -> int:
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(image).save(file, "WEBP", lossless=True, quality=self.quality, method=self.method, exact=True)
        return len(file.getvalue())


def encoding_bits(comparison: Comparison) -> list[float | None]:
    """Bits of each sample's encoding; None for latents and where there is no encoding.

    Tokens count log2(codebook size) bits each, without entropy coding; coded files count their true length.
    """
    bits = None if comparison.encoding is None else comparison.encoding.bits()
    if bits is None:
        return [None] * comparison.reference.shape[0]
    return [float(value) for value in bits.tolist()]


def bits_per_pixel(comparison: Comparison) -> list[float | None]:
    """Bits of each encoding over the pixels of the compared grid, at least 0; lower is better."""
    height, width = comparison.reference.shape[-2:]
    return [None if bits is None else bits / (height * width) for bits in encoding_bits(comparison)]


def token_counts(comparison: Comparison) -> list[float | None]:
    """Tokens (or bit-code positions) each sample sends, at least 0; lower is better; None for latents and files."""
    counts = None if comparison.encoding is None else comparison.encoding.token_counts()
    if counts is None:
        return [None] * comparison.reference.shape[0]
    return [float(count) for count in counts.tolist()]


def lossless_ratio(comparison: Comparison) -> list[float | None]:
    """How many times smaller each encoding is than its reference as a lossless WebP file; higher is better.

    None where the encoding has no bits, or the reference is too large for WebP.
    """
    sizes = [int(feature["bytes"]) for feature in comparison.features[_FEATURE]]
    return [
        8 * size / bits if bits and size else None for size, bits in zip(sizes, encoding_bits(comparison), strict=True)
    ]


def adaptive_bits_per_pixel(comparison: Comparison, *, order: Order) -> list[float | None]:
    """Bits per pixel of each image's tokens as a file of its own, adaptively arithmetic-coded; lower is better.

    :mod:`tokbench.metrics.entropy_coding` says how. Coded files already are what they cost and count as they are; None
    for latents and where there is no encoding.
    """
    encoding, streams = comparison.encoding, rows_of(comparison)
    if isinstance(streams, str) or encoding is None or isinstance(encoding, Payloads | Latents):
        return bits_per_pixel(comparison)
    height, width = comparison.reference.shape[-2:]
    files = [compress(sequences_of(streams, encoding, row), order=order) for row in range(encoding.n)]
    return [8 * len(file) / (height * width) for file in files]


def order0_bits_per_pixel(comparison: Comparison) -> list[float | None]:
    """:func:`adaptive_bits_per_pixel` that learns how often each code occurs."""
    return adaptive_bits_per_pixel(comparison, order=0)


def order1_bits_per_pixel(comparison: Comparison) -> list[float | None]:
    """:func:`adaptive_bits_per_pixel` that also learns which code follows which."""
    return adaptive_bits_per_pixel(comparison, order=1)


@per_comparison
def _tally_codes_and_pixels(comparison: Comparison) -> Tally | str:
    tally = tally_codes(comparison)
    if isinstance(tally, str):
        return tally
    n, _, height, width = comparison.reference.shape
    return Tally(parts=tally.parts, totals={"pixels": n * height * width})


def _order0_summary(state: State) -> Summary:
    """Tokens times entropy over pixels; what the histograms themselves cost is among the details."""
    books = [book for book in books_of(state) if book.tokens]
    pixels, tokens = state["pixels"], sum(book.tokens for book in books)
    bits = math.fsum(book.tokens * entropy_bits(book.counts) for book in books)
    nominal = math.fsum(book.tokens * math.log2(book.entries) for book in books)
    model = math.fsum(histogram_bits(book.tokens, book.entries) for book in books)
    details = {
        "pixels": pixels,
        "bpp_nominal": nominal / pixels,
        "saved": 1 - bits / nominal if nominal else 0.0,
        "model_bits": model,
        "bpp_with_model": (bits + model) / pixels,
    }
    return Summary(value=bits / pixels, n=tokens, n_unit="tokens", details=details)


METRICS = (
    PairFunction(
        card=MetricCard(
            key="bpp",
            version=1,
            kind="pair",
            group="rate",
            title="Bits per pixel",
            unit="bit/px",
            better="lower",
            low=0.0,
            undefined="the encoding has no size in bits (continuous latents), or only reconstructions were given",
            notes="Tokens at log2(codebook size) bits each, without entropy coding; coded files at their true size; "
            "over the pixels of the compared grid.",
        ),
        function=bits_per_pixel,
    ),
    PairFunction(
        card=MetricCard(
            key="tokens",
            version=1,
            kind="pair",
            group="rate",
            title="Tokens per image",
            unit="tokens",
            better="lower",
            low=0.0,
            undefined="continuous latents and coded files have no tokens, or only reconstructions were given",
            notes="Over all streams; a position of binary codes is one token.",
        ),
        function=token_counts,
    ),
    PairFunction(
        card=MetricCard(
            key="lossless_ratio",
            version=1,
            kind="pair",
            group="rate",
            title="Times smaller than lossless",
            unit="×",
            better="higher",
            low=0.0,
            undefined="the encoding has no size in bits, is empty or was not given, or a side is over 16383 px",
            notes="Size of the reference as a lossless WebP file (quality 75, method 4) ÷ size of the encoding.",
        ),
        function=lossless_ratio,
        features=(LosslessSize(),),
    ),
    CountingMetric(
        card=MetricCard(
            key="bpp_order0",
            version=1,
            kind="code",
            group="rate",
            title="Bits per pixel, entropy-coded",
            unit="bit/px",
            better="lower",
            low=0.0,
            aggregate="pooled",
            undefined="the tokenizer has no codebook, or no encodings were given",
            notes="Tokens × entropy of the set's own code histogram (codebook_entropy) ÷ pixels: an ideal coder that "
            "knows the histograms of this very set. Sending them is not counted; bpp_with_model counts it.",
        ),
        tally=_tally_codes_and_pixels,
        summary=_order0_summary,
    ),
    *(
        PairFunction(
            card=MetricCard(
                key=f"bpp_adaptive{order}",
                version=1,
                kind="pair",
                group="rate",
                title=f"Bits per pixel, coded image by image, {what}",
                unit="bit/px",
                better="lower",
                low=0.0,
                requires=("constriction",),
                undefined="the encoding has no size in bits (continuous latents), or only reconstructions were given",
                notes="True size of each image's tokens as a file that decodes without any other image: adaptive "
                f"arithmetic coding of order {order} (range coder of constriction, counts by bit of the index), or log2"
                "(codebook size) a token where that is smaller. Lengths and shapes are not counted. Coded files count "
                "as they are.",
            ),
            function=function,
        )
        for order, what, function in (
            (0, "no context", order0_bits_per_pixel),
            (1, "previous token as context", order1_bits_per_pixel),
        )
    ),
)
