"""What a run leaves behind: records (one a sample), values (one a metric) and the result that ties them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tokbench.cards import Better, TokenizerCard

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
PLAIN = ""  # the branch of the plain reconstruction

RunStatus = Literal["started", "partial", "complete", "failed"]
ValueStatus = Literal["ok", "undefined", "skipped", "failed"]


@dataclass(frozen=True, kw_only=True)
class GroupValue:
    """A metric's value over one size group.

    ``value`` is None for an empty group; ``n`` counts regions.
    """

    value: float | None
    n: int
    ci95: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Value:
    """One metric's number, or the reason why there is none.

    Attributes:
        key: metric key, with ``@branch`` appended for any branch but the plain reconstruction.
        metric: the metric key alone; branch: the branch name, ``""`` for the plain reconstruction.
        version, title, group, unit, better, low, high, perfect, aggregate: copied from the metric's card, so that
            readers need no metric code.
        value: None unless status is ``ok``.
        n: how many samples, regions or tokens it rests on.
        n_unit: what n counts: ``images``, ``words``, ``faces``, ``tokens``, ``batches``.
        ci95: 95 % interval, None where none is defined.
        status: ``ok``; ``undefined`` (these inputs have no such number); ``skipped`` (something is not installed or
            does not apply); ``failed`` (an error).
        reason: why status is not ``ok``.
        groups: by size group, for region metrics.
        details: further numbers that belong to this one (tokens seen, codes used, …).
    """

    key: str
    metric: str
    branch: str = ""
    version: int
    title: str
    group: str
    kind: str
    unit: str
    better: Better
    low: float | None = None
    high: float | None = None
    perfect: float | None = None
    aggregate: str = "mean"
    value: float | None
    n: int
    n_unit: str = "images"
    ci95: tuple[float, float] | None = None
    status: ValueStatus = "ok"
    reason: str = ""
    groups: Mapping[str, GroupValue] = field(default_factory=dict)
    details: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RegionRecord:
    """One annotated word or face in one sample: where, which size group, and its values by metric key.

    ``reasons`` says why a metric left the region out; ``seen`` is what it saw (the text read, say); both by metric key.
    """

    kind: str
    index: int
    label: str
    box: tuple[float, float, float, float]
    group: str | None
    values: Mapping[str, float]
    reasons: Mapping[str, str] = field(default_factory=dict)
    seen: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BranchRecord:
    """What one branch (the plain reconstruction is branch ``""``) gave for one sample.

    Attributes:
        reconstruction_sha256: of the compared 8-bit pixels.
        encoding_bits: size of the encoding, None where it has none.
        n_tokens: tokens in it, None for latents and coded files.
        clamped: fraction of decoded values outside [0, 1].
        values: by pair-metric key.
        regions: by annotated region.
    """

    reconstruction_sha256: str
    encoding_bits: float | None
    n_tokens: int | None
    clamped: float
    values: Mapping[str, float]
    regions: tuple[RegionRecord, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Record:
    """One sample's outcome. Holds no times, so that equal runs give equal records.

    Attributes:
        status: ``ok`` or ``failed``.
        stage: where it failed: ``load``, ``place``, ``encode``, ``decode``, ``restore``, ``metric``; "" if it did not.
        error: the message; "" if it did not fail.
        reference_sha256: of the compared 8-bit reference pixels; "" if loading failed.
        size_px: width and height of the compared grid.
        branches: by branch name; empty if it failed.
    """

    id: str
    cluster: str
    status: Literal["ok", "failed"]
    stage: str = ""
    error: str = ""
    reference_sha256: str = ""
    size_px: tuple[int, int] | None = None
    branches: Mapping[str, BranchRecord] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything asked for; two runs with equal ``run_id`` were asked the same thing of the same data.

    ``task`` is the task's full definition, ``metrics`` maps key to version. ``curves`` says which branches are points
    of one rate–distortion curve, by the curve's name; the run's own tokenizer comes first.
    """

    task: Mapping[str, Any]
    tokenizer: TokenizerCard
    metrics: Mapping[str, int]
    branches: tuple[str, ...]
    manifest_digest: str
    seed: int
    dtype: str
    device: str
    batch_size: int
    limit: int | None
    curves: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A finished (or interrupted) run.

    Attributes:
        status: ``complete``; ``partial`` (a limit was set, or it was interrupted); ``failed``; ``started`` on disk
            while it runs.
        run_id: hash of the spec.
        started, finished: UTC, ISO 8601.
        manifest: name, version, digest, n_samples, licence, citation.
        environment: versions, device, commit (see :mod:`tokbench.environment`).
        counts: ``ok`` and ``failed`` samples.
        values: by value key, in the order metrics were asked for.
        records: n and sha256 of ``records.jsonl``, and the sha256 of ``influences.npz`` where there is one.
        reason: why status is ``partial`` or ``failed``.
        path: the run's folder; None when nothing was written.
    """

    status: RunStatus
    run_id: str
    started: str
    finished: str
    spec: RunSpec
    manifest: Mapping[str, Any]
    environment: Mapping[str, Any]
    counts: Mapping[str, int]
    values: Mapping[str, Value]
    records: Mapping[str, Any]
    reason: str = ""
    path: str | None = None

    def __getitem__(self, key: str) -> float | None:
        """``result["psnr"]``: the value, None unless its status is ``ok``."""
        return self.values[key].value

    def to_frame(self) -> pd.DataFrame:
        """The values as a table: one row a key, with value, unit, better, n, ci_low, ci_high, status, reason."""
        import pandas as pd

        rows = [
            {
                "key": value.key,
                "value": value.value,
                "unit": value.unit,
                "better": value.better,
                "n": value.n,
                "ci_low": value.ci95[0] if value.ci95 else None,
                "ci_high": value.ci95[1] if value.ci95 else None,
                "status": value.status,
                "reason": value.reason,
            }
            for value in self.values.values()
        ]
        return pd.DataFrame(rows).set_index("key") if rows else pd.DataFrame()
