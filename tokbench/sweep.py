"""Rate–distortion curves: a tokenizer at several rates and codecs at several qualities, in one pass over the data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokbench.branches import Branch, length_branches
from tokbench.cache import ReferenceCache
from tokbench.cards import TokenizerCard
from tokbench.curve_comparison import compare_curves
from tokbench.curves import RATE_DISTORTION, RATES, RateDistortion, write_rate_distortion
from tokbench.errors import UsageError
from tokbench.evaluation import DEFAULT_BATCH_SIZE, evaluate, run_folder
from tokbench.registry import find_tokenizer, select_metrics, tokenizers
from tokbench.results import PLAIN, RunResult
from tokbench.runfolder import read_influences, read_records
from tokbench.runner.progress import Progress
from tokbench.tasks.catalogue import find_task
from tokbench.tasks.task import Task
from tokbench.tokenizers import load_tokenizer, resolve_device
from tokbench.wrapping import Wrapped, wrap

ANCHORS = ("jpeg", "webp", "avif")
# From a few tenths of a bit per pixel to a few bits at 256 px, which is where tokenizers are.
QUALITIES = ("q5", "q15", "q35", "q60", "q85")
MOST_VARIANTS = 8  # of a family without qualities; more are thinned out evenly
SWEEPS = "sweeps"
METRICS = "psnr,ssim,ms_ssim,t_acc.rapidocr,f_sim.dlib"
RATE = "bpp,bpp_adaptive1"


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A finished sweep: an ordinary run, and what its curves come to."""

    result: RunResult
    curves: RateDistortion


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """The tokenizer of the plain reconstruction, the branches beside it, and the names of its curve's points."""

    tokenizer: Wrapped
    name: str
    branches: tuple[Branch, ...]
    points: tuple[str, ...]


def sweep(
    tokenizer: Any,
    task: str | Task = "quick",
    metrics: str | Iterable[Any] = METRICS,
    *,
    out: str | Path,
    lengths: Sequence[int] = (),
    variants: Sequence[Any] = (),
    against: Sequence[str] | None = None,
    rates: str | Sequence[str] = RATE,
    data: str | Path | None = None,
    device: str = "auto",
    dtype: str = "float32",
    batch_size: int = DEFAULT_BATCH_SIZE,
    workers: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    cache: ReferenceCache | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Measure a tokenizer at several rates, and others to hold against it, in one pass over the data.

    Every point is a branch of one run: ``psnr@length=2``, ``psnr@jpeg-q35``. Reading, placing and features of the
    references are shared, and so is encoding between the lengths of a variable-length tokenizer.

    Args:
        tokenizer: a name or object, as for :func:`tokbench.evaluate`.
        task, metrics: what to measure; any image, region or set metric becomes a curve. Rates are added.
        out: the run goes to ``out/sweeps/<task>/<family>__<variant>/``, so that it replaces no ordinary run.
        lengths: prefix lengths of a variable-length tokenizer.
        variants: others of the tokenizer's family (``q30``), or full names or objects. With neither lengths nor
            variants: the powers of two up to the longest and that; or qualities 5, 15, 35, 60 and 85; or all variants
            of the family, thinned out evenly to 8.
        against: families to compare with; None for JPEG, WebP and AVIF without the tokenizer's own, empty for none.
        rates: rate metrics; each gives the tokenizer a curve. Coded files count at their true size under any of them.
        data, device, dtype, batch_size, workers, seed, limit, cache, progress: as for :func:`tokbench.evaluate`.

    Returns:
        The run, and its curves; ``rate_distortion.json`` in the run's folder holds the same.

    Raises:
        UsageError: an unknown name or a contradictory request, before anything runs.
        TokenizerError, ResultsError: as for :func:`tokbench.evaluate`.
    """
    resolved = resolve_device(device)

    def load(name: Any) -> Wrapped:
        return load_tokenizer(name, device=resolved, dtype=dtype) if isinstance(name, str) else wrap(name)

    keys = _rate_keys(rates)
    asked = select_metrics([*select_metrics(metrics), "bpp", *keys])
    own = _own_points(tokenizer, lengths, variants, load)
    # Of others, only what says something of images: a file has no codebook, and costs are the run's own tokenizer's.
    images = {m.card.key for m in asked if m.card.kind in ("pair", "region", "set") or m.card.key in keys}
    branches, curves = [*own.branches], {own.name: own.points}
    for family in _anchors(against, own):
        made = tuple(replace(branch, metrics=tuple(sorted(images))) for branch in _anchor_points(family, load))
        for branch in made:
            _check_same_grid(own.tokenizer.card, branch.tokenizer.card if branch.tokenizer else own.tokenizer.card)
        branches += made
        curves[family] = tuple(branch.name for branch in made)
    found = find_task(task) if isinstance(task, str) else task
    folder = Path(out) / SWEEPS
    (run_folder(folder, task=found.name, tokenizer=own.tokenizer.card.name) / RATE_DISTORTION).unlink(missing_ok=True)
    result = evaluate(
        own.tokenizer, found, asked, data=data, branches=branches, curves=curves, out=folder, device=resolved,
        dtype=dtype, batch_size=batch_size, workers=workers, seed=seed, limit=limit, cache=cache, progress=progress,
    )  # fmt: skip
    written = Path(result.path or folder)
    compared = compare_curves(
        result, read_records(written), rates=keys, influences=read_influences(written)
    )  # fmt: skip
    write_rate_distortion(written, compared)
    return Sweep(result=result, curves=compared)


def _rate_keys(rates: str | Sequence[str]) -> list[str]:
    keys = [word.strip() for word in (rates.split(",") if isinstance(rates, str) else rates) if word.strip()]
    unknown = [key for key in keys if key not in RATES]
    if unknown or not keys:
        raise UsageError(f"a rate is one of {', '.join(RATES)}, got {', '.join(unknown) or 'none'}")
    return list(dict.fromkeys(keys))


def _own_points(tokenizer: Any, lengths: Sequence[int], variants: Sequence[Any], load: Callable[..., Wrapped]) -> _Plan:
    """The tokenizer's own curve: by length, or by variant."""
    if lengths and variants:
        raise UsageError("a curve goes by --lengths or by --variants, not by both")
    if not variants:
        main = load(tokenizer)
        if lengths or main.card.prefix_axis is not None:
            return _by_length(main, lengths or _all_lengths(main.card))
        variants = _spread(main.card.family)
        if not variants:
            raise UsageError(
                f"{main.card.name} has one rate: it has neither lengths nor other variants; pass --variants with names "
                "(module:attr) of the same tokenizer at other rates"
            )
    return _by_variant(tokenizer, variants, load)


def _by_length(main: Wrapped, lengths: Sequence[int]) -> _Plan:
    _check_has_rate(main.card)
    longest = main.card.max_length
    branches = length_branches(main.card, [length for length in lengths if length != longest])
    ends = (PLAIN,) if longest in lengths else ()  # the plain reconstruction is the longest: no need to decode it twice
    points = (*(branch.name for branch in branches), *ends)
    return _Plan(tokenizer=main, name=main.card.family, branches=branches, points=points)


def _all_lengths(card: TokenizerCard) -> list[int]:
    longest = card.max_length or 1
    return [2**power for power in range(longest.bit_length()) if 2**power < longest] + [longest]


def _by_variant(tokenizer: Any, variants: Sequence[Any], load: Callable[..., Wrapped]) -> _Plan:
    """The tokenizer is a point too if it was named in full; otherwise the last variant gives the plain reconstruction.

    A family's bare name (``jpeg``) is no such point, though it would load the family's default.
    """
    family, slash, _ = tokenizer.partition("/") if isinstance(tokenizer, str) and ":" not in tokenizer else ("", "", "")
    is_family = bool(family) and not slash
    loaded = [] if is_family else [load(tokenizer)]
    loaded += [load(_variant_name(family, item) if isinstance(item, str) else item) for item in variants]
    by_name = {item.card.name: item for item in loaded}
    if len(by_name) < 2:
        raise UsageError(f"a curve needs at least two variants, got {', '.join(by_name) or 'none'}")
    main = loaded[-1] if is_family else loaded[0]
    for item in by_name.values():
        _check_has_rate(item.card)
        _check_same_grid(main.card, item.card)
    name = main.card.family
    others = [item for item in by_name.values() if item.card.name != main.card.name]
    branches = tuple(Branch(name=_branch_name(name, item.card), tokenizer=item) for item in others)
    return _Plan(tokenizer=main, name=name, branches=branches, points=(*(b.name for b in branches), PLAIN))


def _variant_name(family: str, variant: str) -> str:
    """What a word of ``--variants`` names: a variant of the family, else another family's default, else itself."""
    if {"/", ":"} & set(variant):
        return variant
    known = tokenizers().items
    if f"{family}/{variant}" in known:
        return f"{family}/{variant}"
    if any(entry.card.family == variant for entry in known.values()):
        return variant
    if not family:
        raise UsageError(f"--variants {variant} needs a family of built-in tokenizers; name yours as module:attr")
    return f"{family}/{variant}"


def _anchors(against: Sequence[str] | None, own: _Plan) -> list[str]:
    if against is None:
        return [family for family in ANCHORS if family != own.name]
    families = list(dict.fromkeys(find_tokenizer(family).card.family for family in against))
    if own.name in families:
        raise UsageError(f"{own.name} against itself says nothing; leave it out of --against")
    return families


def _anchor_points(family: str, load: Callable[..., Wrapped]) -> list[Branch]:
    """A family's points, as further branches that keep no pictures."""
    card = find_tokenizer(family).card
    _check_has_rate(card)
    if card.prefix_axis is not None:
        model = load(family)
        made = length_branches(card, _all_lengths(card))
        return [replace(b, name=f"{family}-{b.name}", tokenizer=model, keeps_pictures=False) for b in made]
    names = _spread(family)
    if len(names) < 2:
        raise UsageError(f"{family} has a single variant, so it gives no curve to compare with")
    models = [load(f"{family}/{name}") for name in names]
    return [Branch(name=_branch_name(family, m.card), tokenizer=m, keeps_pictures=False) for m in models]


def _spread(family: str) -> list[str]:
    """A family's variants from low to high: five qualities of a codec, or all of up to 8, or 8 spread evenly."""
    cards = [entry.card for entry in tokenizers().items.values()]
    names = sorted((card.variant for card in cards if card.family == family and card.variant), key=_natural)
    if set(QUALITIES) <= set(names):
        return list(QUALITIES)
    if len(names) <= MOST_VARIANTS:
        return names if len(names) > 1 else []
    return [names[round(place * (len(names) - 1) / (MOST_VARIANTS - 1))] for place in range(MOST_VARIANTS)]


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def _branch_name(curve: str, card: TokenizerCard) -> str:
    """``jpeg-q30``: the curve's name and the variant; of another family, its own name."""
    text = card.variant if card.family == curve and card.variant else card.name
    return f"{curve}-{text.replace('/', '-')}"


def _check_has_rate(card: TokenizerCard) -> None:
    if card.latent in ("continuous", "none"):
        raise UsageError(f"{card.name} has no size in bits (its latent is {card.latent!r}), so it has no rate to plot")


def _check_same_grid(main: TokenizerCard, other: TokenizerCard) -> None:
    """Points share one placement of the image, so their tokenizers must take the same sizes."""
    if main.takes_source or other.takes_source:
        name = main.name if main.takes_source else other.name
        raise UsageError(f"{name} is handed the untouched reference, so it cannot share a pass with others")
    other_fixed = other.fixed_size_px not in (None, main.fixed_size_px)
    if other_fixed or main.size_multiple % other.size_multiple:
        raise UsageError(
            f"{other.name} does not take the image sizes of {main.name} (multiples of {other.size_multiple} px, fixed "
            f"size {other.fixed_size_px}; {main.name}: {main.size_multiple}, {main.fixed_size_px}): run them apart"
        )
