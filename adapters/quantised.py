"""Quantised: any continuous tokenizer with each number of its latents rounded to one of a few levels.

Quantisation after training, as in TokenBridge (arXiv 2503.16430): ``quantised:pca?bits=4``. Nothing is trained, so a
continuous tokenizer gets a rate and a place on a rate–distortion curve beside its continuous self.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from tokbench.encodings import Encoding, Latents, Tokens
from tokbench.errors import BadOutputError, UsageError
from tokbench.images import far_outside
from tokbench.names import Opening, OpenName
from tokbench.quantisers import Quantiser
from tokbench_adapters._quantised.latent_scale import Scale, TellsStatistics, given_scale, measured_scale, told_scale
from tokbench_adapters._quantised.photographs import USUAL_SIDE_PX, Continuous, latents_of, read_photographs, side_of
from tokbench_adapters._quantised.scalar_levels import SPACINGS, Spacing, borders_of, levels_of

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer

PUBLISHED_RANGE = 5.0

OPENS = Opening(
    prefix="quantised",
    usage="quantised:NAME?bits=1…16[&levels=gaussian|uniform|ends][&range=5][&mean=0&std=1][&channels=first|last]; a "
    "NAME with options of its own goes in braces",
    title="any continuous tokenizer, its latents rounded to 2^bits levels after training (TokenBridge)",
    wraps=True,
)

_SPACING_NOTES = {
    "gaussian": "Levels are TokenBridge's (arXiv 2503.16430, code at 3ede281): ±{reach:g} standard deviations are "
    "mapped to ±3 of a normal distribution, cut into {count} equally likely cells, each represented by its mean.",
    "uniform": "Levels are the mid-points of {count} equal cells from -{reach:g} to {reach:g} standard deviations.",
    "ends": "Levels are {count} equally spaced values from -{reach:g} to {reach:g} standard deviations, both included.",
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What may stand after the question mark.

    Attributes:
        bits: of each number, 1 to 16 (Gaussian levels: to 9).
        levels: see :mod:`tokbench_adapters._quantised.scalar_levels`.
        range: the outermost value that is told apart, in standard deviations.
        mean, std: one scale of all latents instead of the tokenizer's own or a measured one; both or none.
        channels: which axis channels are, for sequences where that cannot be told.
    """

    bits: int
    levels: Spacing = "gaussian"
    range: float = PUBLISHED_RANGE
    mean: float | None = None
    std: float | None = None
    channels: str = ""

    @classmethod
    def of(cls, name: OpenName) -> Options:
        """The options of a name, checked.

        Raises:
            UsageError: unknown, unusable or contradictory ones, or no bits.
        """
        found = name.only(
            bits=int, levels=_one_of(*SPACINGS), range=_above_zero, mean=_number, std=_above_zero,
            channels=_one_of("first", "last"),
        )  # fmt: skip
        if "bits" not in found:
            raise UsageError(f"quantised:{name.target} needs to know how many bits a number takes: add ?bits=4")
        if ("mean" in found) != ("std" in found):
            raise UsageError("quantised: mean and std go together; without both, the scale is the tokenizer's")
        return cls(**found)  # type: ignore[arg-type]

    @property
    def suffix(self) -> str:
        """What tells tokenizers of other options apart: ``b4``, ``b8.ends.r3.m0.s1``."""
        parts = [f"b{self.bits}"]
        parts += [] if self.levels == "gaussian" else [self.levels]
        parts += [] if self.range == PUBLISHED_RANGE else [f"r{_written(self.range)}"]
        parts += [] if self.mean is None else [f"m{_written(self.mean)}"]
        parts += [] if self.std is None else [f"s{_written(self.std)}"]
        parts += [self.channels] if self.channels else []
        return ".".join(parts)


def open_name(name: OpenName, *, device: str, dtype: str, load: Callable[[str], Tokenizer]) -> Tokenizer:  # noqa: ARG001
    """Load the tokenizer that is named, find its scale, and put the quantiser between its halves."""
    options = Options.of(name)
    levels = levels_of(options.levels, bits=options.bits, reach=options.range)
    inner = cast(Continuous, load(name.target))  # what `load` gives passes seeds on to those who take them
    if inner.card.latent != "continuous":
        raise UsageError(
            f"{inner.card.name} cannot be quantised: its latent is {inner.card.latent}, and only continuous ones are; "
            "`tokbench list tokenizers` shows which are"
        )
    side = side_of(inner.card)
    images, digest = read_photographs(side)
    latents = latents_of(inner, images.to(device))  # float32: what `load` gives rounds to the run's type itself
    scale = _scale(inner, latents, options, side_px=side, digest=digest)
    card = _card(inner.card, latents, scale, levels, options, side_px=side)
    # Coarse latents may be decoded far outside of [0, 1]; a tokenizer that works in another range is still found.
    card = replace(card, overshoots=_keeps_range(inner, latents[:1].to(device)))
    return Quantised(inner, card, scale, levels)


class Quantised:
    """A continuous tokenizer between whose encoder and decoder every number takes the nearest of a few levels."""

    def __init__(self, inner: Continuous, card: TokenizerCard, scale: Scale, levels: Sequence[float]) -> None:
        self.card = card
        self._inner = inner
        self._scale = scale
        self._levels = tuple(levels)
        self._borders = borders_of(levels)
        self._dtype: torch.dtype | None = None  # of the latents, known once there were any

    def encode(self, images: torch.Tensor, *, seeds: Sequence[int] | None = None) -> Tokens:
        """Float ``(n, 3, h, w)`` in [0, 1] → one stream, int64 in the shape of the latents: a token a number."""
        import torch

        encoding = self._inner.encode(images, seeds=seeds)
        if not isinstance(encoding, Latents) or not bool(encoding.values.isfinite().all()):
            got = "NaN or infinite values" if isinstance(encoding, Latents) else type(encoding).__name__
            raise BadOutputError(f"{self.card.name} quantises finite latents, and its tokenizer gave {got}")
        self._dtype = encoding.values.dtype
        borders = torch.tensor(self._borders, dtype=torch.float32, device=encoding.values.device)
        normalised = self._scale.normalise(encoding.values).contiguous()
        indices = torch.bucketize(normalised, borders)  # at a border: the lower level
        return Tokens.grid(indices, codebook_size=len(self._levels))

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:
        """Tokens as ``encode`` gives them → float ``(n, 3, h, w)``, not clamped."""
        return self._inner.decode(Latents(values=self.dequantise(encoding)), seeds=seeds)

    def dequantise(self, encoding: Encoding) -> torch.Tensor:
        """Tokens → the latents the decoder is given, in their shape and in the encoder's float type."""
        import torch

        if not isinstance(encoding, Tokens) or len(encoding.streams) != 1:
            raise BadOutputError(f"{self.card.name} decodes one stream of tokens, got {type(encoding).__name__}")
        indices = encoding.streams[0].indices
        levels = torch.tensor(self._levels, dtype=torch.float32, device=indices.device)
        values = self._scale.restore(levels[indices])
        return values if self._dtype is None else values.to(self._dtype)

    def quantiser(self) -> Quantiser:
        """Levels in a row: a perturbed token takes one step up or down."""
        return Quantiser(kind="levels", composition="single", levels=(len(self._levels),), basis=(1,))


def _keeps_range(inner: Continuous, latents: torch.Tensor) -> bool:
    """Whether the tokenizer's own pictures are in [0, 1], give or take an overshoot; False if they are no pictures."""
    import torch

    with torch.no_grad():
        decoded: object = inner.decode(Latents(values=latents), seeds=[0])
    if not isinstance(decoded, torch.Tensor) or not decoded.is_floating_point() or decoded.ndim != 4:
        return False  # what is wrong with it is said when the first image is decoded
    return not far_outside(decoded.float())


def _scale(inner: Continuous, latents: torch.Tensor, options: Options, *, side_px: int, digest: str) -> Scale:
    """The user's, else the tokenizer's own, else measured."""
    if options.mean is not None and options.std is not None:
        return given_scale(options.mean, options.std)
    for candidate in (inner, getattr(inner, "model", None)):
        if isinstance(candidate, TellsStatistics):
            return told_scale(candidate.latent_statistics(), latents, inner.card, options.channels)
    return measured_scale(latents, inner.card, options.channels, side_px=side_px, digest=digest)


def _card(
    card: TokenizerCard, latents: torch.Tensor, scale: Scale, levels: Sequence[float], options: Options, *, side_px: int
) -> TokenizerCard:
    """The inner tokenizer's card, with what quantising changes."""
    outside = float((scale.normalise(latents).abs() > options.range).double().mean())
    notes = (
        f"Each number of {card.name}'s latents is a token of {options.bits} bits; all channels share the levels.",
        _SPACING_NOTES[options.levels].format(reach=options.range, count=len(levels)),
        f"Scale of the latents: {scale.source}.",
        f"Outside the range, at the outermost level: {100 * outside:.2g} % of the latents of photographs.",
        *(f"{card.name}: {note}" for note in card.notes),
    )
    return replace(
        card,
        name=f"{OPENS.prefix}/{card.name.replace('/', '.')}.{options.suffix}",
        title=f"{card.title or card.name}, {options.bits} bits a number",
        latent="discrete",
        codebook_sizes=(len(levels),),
        tokens=latents[0].numel() if side_px == (card.fixed_size_px or USUAL_SIDE_PX) else None,
        prefix_axis=None,
        max_length=None,
        opened_as="",
        notes=notes,
    )


def _one_of(*choices: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected {' or '.join(choices)}")
        return text

    return convert


def _number(text: str) -> float:
    number = float(text)
    if not abs(number) < float("inf"):
        raise ValueError("expected a finite number")
    return number


def _above_zero(text: str) -> float:
    if (number := _number(text)) <= 0:
        raise ValueError("expected a number above 0")
    return number


def _written(number: float) -> str:
    """A number as it may stand in a tokenizer's name, each number in one way."""
    return repr(number).removesuffix(".0").replace("+", "")
