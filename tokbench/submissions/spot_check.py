"""The spot check: a random few of the samples, reconstructed and measured again with the tokenizer itself.

Where tokenizer and machine promise equal bits (a deterministic tokenizer, the same versions, processor and device),
reconstructions must be the same to the last bit. Elsewhere they may differ by what other kernels do to the last bits of
a float: up to ``PIXEL_DB`` of PSNR-like values and ``RELATIVE`` of the others, and one word or face in fifty.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokbench.branches import length_branches
from tokbench.cache import ReferenceCache
from tokbench.cards import TokenizerCard
from tokbench.contracts import CostMetric, PairMetric, RegionMetric, TaskBound
from tokbench.environment import environment
from tokbench.errors import UsageError
from tokbench.names import OpenName
from tokbench.registry import openings
from tokbench.requirements import why_unavailable
from tokbench.results import PLAIN, BranchRecord, Record, RunResult
from tokbench.runner.loading import Failure, batches, load_all
from tokbench.runner.measure import Measurer
from tokbench.runner.reconstruct import TokenizerReconstructor
from tokbench.submissions.findings import Findings, same
from tokbench.submissions.form import RECORDS_GZ
from tokbench.submissions.known import Known
from tokbench.submissions.opening import Opened
from tokbench.tasks.task import Task
from tokbench.tokenizers import load_tokenizer, resolve_device
from tokbench.wrapping import wrap

PIXEL_DB = 0.05
RELATIVE = 0.01
REGION_SHARE = 0.02
_BATCH_SIZE = 8
_WORKERS = 2
# Facts of the environment that decide the last bits.
_DECIDING = ("cpu", "device_name", "platform")
_DECIDING_PACKAGES = ("torch", "numpy", "pillow")


@dataclass(frozen=True, kw_only=True, eq=False)
class SpotCheck:
    """Call it with an opened submission; it adds what differs.

    Attributes:
        n: samples to run.
        seed: which ones.
        tokenizer: a name or an object; None is the name in the submission.
        device: where it runs.
    """

    n: int
    seed: int = 0
    tokenizer: Any = None
    device: str = "auto"
    known: Known = field(default_factory=Known)

    def __call__(self, opened: Opened, task: Task, findings: Findings) -> None:
        """Run the tokenizer on the drawn samples and compare.

        Raises:
            TokenizerError, UsageError: the tokenizer cannot be loaded here, or is not loaded on a submission's word.
        """
        result = opened.result
        manifest = self.known.manifest(task)
        if result is None or isinstance(manifest, str):
            findings.error("spot-check", f"the images are not on this machine: {manifest}")
            return
        ids = draw([record.id for record in opened.records], n=self.n, seed=self.seed)
        again = self._measure(result, task, manifest, ids, findings)
        exact = self._is_exact(result)
        claimed = {record.id: record for record in opened.records}
        differences = _Differences(findings, exact=exact, known=self.known)
        for sample in ids:
            if sample in again:
                differences.compare(claimed[sample], again[sample])
        differences.finish()
        how = "to the last bit" if exact else "within the tolerance for another machine"
        findings.note(
            "spot-checked",
            f"{len(again)} of {len(opened.records)} samples ran again, compared {how}",
            where=", ".join(ids[:4]) + (", …" if len(ids) > 4 else ""),
        )

    def _measure(
        self, result: RunResult, task: Task, manifest: Any, ids: Sequence[str], findings: Findings
    ) -> dict[str, Record]:
        spec = result.spec
        device = resolve_device(self.device)
        chosen = name_of(spec.tokenizer) if self.tokenizer is None else self.tokenizer
        model = load_tokenizer(chosen, device=device, dtype=spec.dtype) if isinstance(chosen, str) else wrap(chosen)
        if model.card.name != spec.tokenizer.name:
            findings.error(
                "spot-check",
                "another tokenizer than the submission's was run",
                got=model.card.name,
                expected=spec.tokenizer.name,
            )
        lengths = [int(name.removeprefix("length=")) for name in spec.branches if name.startswith("length=")]
        branches = length_branches(model.card, lengths) if lengths else ()
        metrics = [
            metric.for_task(task) if isinstance(metric, TaskBound) else metric
            for metric in (self.known.metrics[key] for key in spec.metrics if key in self.known.metrics)
            if isinstance(metric, PairMetric | RegionMetric)
            and not isinstance(metric, CostMetric)
            and not why_unavailable(metric)
            and spec.metrics[metric.card.key] == metric.card.version
        ]
        reconstructor = TokenizerReconstructor(
            model, branches=branches, device=device, dtype=spec.dtype, seed=spec.seed
        )
        measurer = Measurer(metrics, branches, task=task, cache=ReferenceCache.default())
        wanted = set(ids)
        samples = [sample for sample in manifest.samples if sample.id in wanted]
        loaded = load_all(
            samples, root=manifest.root, task=task, card=model.card, workers=_WORKERS, ahead=2 * _BATCH_SIZE
        )
        records: dict[str, Record] = {}
        for item in batches(loaded, batch_size=_BATCH_SIZE):
            for part in [item] if isinstance(item, Failure) else reconstructor(item):
                if isinstance(part, Failure):
                    findings.error("spot-check", f"failed in {part.stage}: {part.error}", where=part.sample.id)
                    continue
                records |= {record.id: record for record in measurer(part).records}
        for key, why in measurer.broken.items():
            findings.error("spot-check", f"{key} failed here: {why}")
        return records

    def _is_exact(self, result: RunResult) -> bool:
        """Whether the same bits can be asked for."""
        here, there = environment(resolve_device(self.device)), result.environment
        packages: Mapping[str, Any] = there.get("packages") or {}
        there_platform = str(there.get("platform", ""))
        return (
            result.spec.tokenizer.deterministic
            and all(here["packages"].get(name) == packages.get(name) for name in _DECIDING_PACKAGES)
            and all(here.get(name) == there.get(name) for name in _DECIDING if name != "platform")
            and str(here["platform"]).startswith(there_platform.split(" ")[0])
        )


def name_of(card: TokenizerCard) -> str:
    """The name by which a submission's tokenizer is loaded without being asked for.

    Only registered ones, and wrappers around them: a submission must not choose a file, a program or a repository that
    is then opened on the machine of whoever checks it.

    Raises:
        UsageError: it was opened from one of those.
    """
    found = openings().items
    name = card.asked_as
    while ":" in name:
        prefix = name.partition(":")[0]
        if prefix not in found or not found[prefix].OPENS.wraps:
            raise UsageError(
                f"the submission's tokenizer is {card.asked_as!r}, and {name!r} is not opened on its word alone; look "
                "at what that is here, and pass --tokenizer with the name"
            )
        name = OpenName.parse(name).target
    return card.asked_as


def draw(ids: Sequence[str], *, n: int, seed: int) -> list[str]:
    """``n`` of the ids, the same for the same seed whatever their order."""
    ordered = sorted(ids)
    return sorted(random.Random(seed).sample(ordered, min(n, len(ordered))))


class _Differences:
    """Compares records; words and faces are judged together at the end."""

    def __init__(self, findings: Findings, *, exact: bool, known: Known) -> None:
        self.findings, self.exact, self.known = findings, exact, known
        self.n_regions = 0
        self.flipped: list[str] = []

    def compare(self, claimed: Record, again: Record) -> None:
        self._differs("reference_sha256", claimed.reference_sha256, again.reference_sha256, again.id)
        for name, branch in again.branches.items():
            if name in claimed.branches:
                where = again.id if name == PLAIN else f"{again.id}, branch {name}"
                self._compare_branch(claimed.branches[name], branch, where)

    def finish(self) -> None:
        allowed = 0 if self.exact else int(REGION_SHARE * self.n_regions)
        if len(self.flipped) > allowed:
            self.findings.error(
                "spot-check",
                "words or faces differ from what the tokenizer gives here",
                file=RECORDS_GZ,
                where="; ".join(self.flipped[:4]) + ("; …" if len(self.flipped) > 4 else ""),
                got=f"{len(self.flipped)} of {self.n_regions} values",
                expected=f"at most {allowed}",
            )

    def _compare_branch(self, claimed: BranchRecord, again: BranchRecord, where: str) -> None:
        self._differs("encoding_bits", claimed.encoding_bits, again.encoding_bits, where)
        self._differs("n_tokens", claimed.n_tokens, again.n_tokens, where)
        if self.exact:
            self._differs("reconstruction_sha256", claimed.reconstruction_sha256, again.reconstruction_sha256, where)
        for key, value in again.values.items():
            if key in claimed.values and not self._is_near(key, claimed.values[key], value):
                self._differs(key, claimed.values[key], value, where)
        by_index = {region.index: region for region in claimed.regions}
        for region in again.regions:
            other = by_index.get(region.index)
            for key, value in region.values.items():
                self.n_regions += 1
                theirs = None if other is None else other.values.get(key)
                if theirs is None or not self._is_near(key, theirs, value):
                    self.flipped.append(f"{where}, region {region.index}: {key} {theirs}, here {value}")

    def _is_near(self, key: str, claimed: float, again: float) -> bool:
        if self.exact:
            return same(claimed, again) or abs(claimed - again) <= 1e-6
        card = self.known.metrics[key].card
        allowed = PIXEL_DB if card.unit == "dB" else RELATIVE * max(abs(again), card.high or 0.0)
        return abs(claimed - again) <= allowed

    def _differs(self, what: str, claimed: Any, again: Any, where: str) -> None:
        if not same(claimed, again):
            self.findings.error(
                "spot-check",
                f"{what} differs from what the tokenizer gives here",
                file=RECORDS_GZ,
                where=where,
                got=claimed,
                expected=again,
            )
