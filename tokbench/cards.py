"""Cards: the facts about a tokenizer or a metric, as frozen data that loads without torch or weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from tokbench.errors import UsageError

TOKENIZER_NAME = re.compile(r"^[a-z0-9][a-z0-9_]*(/[a-z0-9][a-z0-9_.-]*)?$")
METRIC_KEY = re.compile(r"^[a-z0-9_]+(\.[a-z0-9_]+)?$")

Better = Literal["higher", "lower", "neither"]
MetricKind = Literal["pair", "region", "set", "code", "cost"]
MetricGroup = Literal[
    "pixel", "perception", "text", "face", "distribution", "robustness", "codebook", "rate", "efficiency"
]
LatentKind = Literal["discrete", "continuous", "codec", "none"]
PrefixAxis = Literal["streams", "positions"]
Posterior = Literal["", "mode", "sample"]

METRIC_GROUPS: tuple[MetricGroup, ...] = get_args(MetricGroup)


@dataclass(frozen=True, kw_only=True)
class TokenizerCard:
    """What is known about a tokenizer before anything is loaded.

    Attributes:
        name: ``family/variant`` (or ``family`` for a tokenizer without variants), lower case.
        title: one line for people.
        latent: ``discrete`` (indices or bits), ``continuous`` (real values), ``codec`` (a coded file) or
            ``none`` (images pass through: reference rows such as ``identity``).
        codebook_sizes: entries of each distinct codebook, in stream order; empty when there is none.
        size_multiple: image sides must be a multiple of this, in pixels.
        fixed_size_px: the only side length it takes (square images), or None for any multiple.
        downsampling: pixels per latent cell on a side, where that is one number.
        prefix_axis: what a shorter encoding keeps a prefix of, for variable-length tokenizers.
        max_length: the longest prefix (streams or positions) the tokenizer has.
        deterministic: False if decoding draws random numbers (then seeded per sample).
        overshoots: its decoder may leave [0, 1] by any amount, since no encoder made what it is given (latents rounded
            after training, say); what is outside is clamped like any overshoot, and not an error.
        side_information: what decode needs besides the encoding (a caption, say), or "".
        takes_source: the tokenizer is handed the untouched reference instead of the task's placed image.
            Only for reference rows that bound a task from above.
        weights: file name to SHA-256 of every weight file, as pinned by the adapter.
        hub: ``ORG/REPO@REVISION`` where the weights lie on the hub, "" elsewhere.
        page: where the weights are got by hand, where they lie on no hub (a download page, a university share), or "".
        weights_keys: keys of `tokbench weights` of the files it reads that lie on no hub, or beside its checkpoint.
        gated: why the weights cannot simply be downloaded (terms to accept, research only), or "".
        tokens: how many tokens an image of ``fixed_size_px`` (or 256 px) takes, where that is one number.
        pixel_range: what its network takes and gives; tokbench converts.
        posterior: what of a Gaussian posterior is decoded: its ``mode``, or a ``sample`` drawn from the sample's seed
            (where that is the published convention); "" where there is no posterior.
        opened_as: the name it was opened by (see :mod:`tokbench.names`), or "".
        reserved: why this system cannot be adapted (no code, no weights), or ""; reserved ones are listed, not run.
        extra: the pip extra that must be installed, or "".
        requires: top-level modules that must be importable, for `tokbench doctor` and clear errors.
        install: what to type to get them, where neither an extra nor the package index has them, or "".
        licence, weights_licence, paper, repository: SPDX id or name, the same for the weights, arXiv id or DOI, URL.
        notes: conventions that change scores, one sentence each.
    """

    name: str
    title: str = ""
    latent: LatentKind = "discrete"
    codebook_sizes: tuple[int, ...] = ()
    size_multiple: int = 1
    fixed_size_px: int | None = None
    downsampling: int | None = None
    prefix_axis: PrefixAxis | None = None
    max_length: int | None = None
    deterministic: bool = True
    overshoots: bool = False
    side_information: str = ""
    takes_source: bool = False
    weights: tuple[tuple[str, str], ...] = ()
    hub: str = ""
    page: str = ""
    weights_keys: tuple[str, ...] = ()
    gated: str = ""
    tokens: int | None = None
    pixel_range: tuple[float, float] = (0.0, 1.0)
    posterior: Posterior = ""
    opened_as: str = ""
    reserved: str = ""
    extra: str = ""
    requires: tuple[str, ...] = ()
    install: str = ""
    licence: str = ""
    weights_licence: str = ""
    paper: str = ""
    repository: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not TOKENIZER_NAME.match(self.name):
            raise UsageError(f"tokenizer name {self.name!r} is not of the form family/variant (lower case)")
        if self.size_multiple < 1 or any(size < 1 for size in self.codebook_sizes):
            raise UsageError(f"{self.name}: size_multiple and codebook sizes must be at least 1")
        if (self.prefix_axis is None) != (self.max_length is None):
            raise UsageError(f"{self.name}: prefix_axis and max_length go together")

    @property
    def family(self) -> str:
        return self.name.partition("/")[0]

    @property
    def variant(self) -> str:
        return self.name.partition("/")[2]

    @property
    def asked_as(self) -> str:
        """The name that loads it again: the one it was opened by, or its own."""
        return self.opened_as or self.name


@dataclass(frozen=True, kw_only=True)
class MetricCard:
    """What is known about a metric before it runs.

    Attributes:
        key: lower snake case; an engine after a dot (``t_acc.parseq``).
        version: bumped whenever any number it gives may change.
        kind: ``pair`` (per image), ``region`` (per annotated word or face), ``set`` (over all image pairs),
            ``code`` (over all encodings) or ``cost`` (over the run's timings).
        unit: "" for a plain number.
        better: which direction is an improvement.
        low, high: the closed range of possible values; None where unbounded.
        perfect: the value when the reconstruction equals the reference; None where that says nothing.
        aggregate: how per-sample values become one number.
        extra: the pip extra that must be installed, or "".
        requires: top-level modules that must be importable; without them the metric is skipped with the reason.
        undefined: why a value can be missing for some inputs; shown as the reason when it is.
        paper, notes: source, and where this implementation differs from it.
    """

    key: str
    version: int
    kind: MetricKind
    group: MetricGroup
    title: str
    unit: str = ""
    better: Better
    low: float | None = None
    high: float | None = None
    perfect: float | None = None
    aggregate: Literal["mean", "macro_mean", "pooled", "median", "total"] = "mean"
    extra: str = ""
    requires: tuple[str, ...] = ()
    undefined: str = ""
    paper: str = ""
    notes: str = ""

    def __post_init__(self) -> None:
        if not METRIC_KEY.match(self.key):
            raise UsageError(f"metric key {self.key!r} must be lower snake case, with at most one dotted engine")
        if self.version < 1:
            raise UsageError(f"metric {self.key}: version counts from 1")
