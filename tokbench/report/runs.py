"""Runs as a report shows them: read from disk, named, and put together with the runs they may be compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokbench.curves import Kept, read_rate_distortion
from tokbench.results import Record, RunResult, Value
from tokbench.runfolder import RECORDS, Pictures, read_pictures, read_records, read_result

PLAIN = ""  # the branch of the plain reconstruction


@dataclass(frozen=True, kw_only=True)
class ReportRun:
    """One run: its result, its records, the pictures it kept, and what its curves came to."""

    result: RunResult
    records: tuple[Record, ...] = ()
    pictures: tuple[Pictures, ...] = ()
    curves: Kept = field(default_factory=Kept)


@dataclass(frozen=True, kw_only=True)
class Section:
    """Runs that measured the same thing: same task, same version, same images. ``labels`` tell them apart."""

    runs: tuple[ReportRun, ...]
    labels: tuple[str, ...]

    @property
    def results(self) -> tuple[RunResult, ...]:
        return tuple(run.result for run in self.runs)

    def values(self, key: str) -> list[Value | None]:
        """The value of that key in each run, None where a run was not asked for it."""
        return [result.values.get(key) for result in self.results]


def load_run(folder: Path) -> ReportRun:
    """Read a run's folder; a run that left no records or pictures has none."""
    records = tuple(read_records(folder)) if (folder / RECORDS).exists() else ()
    result = read_result(folder)
    home = Path(result.path or folder)
    curves = read_rate_distortion(home, run_id=result.run_id)
    return ReportRun(result=result, records=records, pictures=tuple(read_pictures(folder)), curves=curves)


def make_sections(runs: Iterable[ReportRun]) -> list[Section]:
    """Runs put together by task, version and manifest digest, in the order given."""
    together: dict[tuple[str, str, str], list[ReportRun]] = {}
    for run in runs:
        spec = run.result.spec
        key = (str(spec.task.get("name")), str(spec.task.get("version")), spec.manifest_digest)
        together.setdefault(key, []).append(run)
    return [Section(runs=tuple(same), labels=_labels([run.result for run in same])) for same in together.values()]


def order_values(results: Sequence[RunResult]) -> list[tuple[str, list[list[str]]]]:
    """Value keys of all runs: by metric group, in it by metric, the branches of a metric together, plain first."""
    groups: dict[str, dict[str, dict[str, Value]]] = {}
    for result in results:
        for key, value in result.values.items():
            groups.setdefault(value.group, {}).setdefault(value.metric, {}).setdefault(key, value)
    return [
        (group, [sorted(keys, key=lambda key: bool(keys[key].branch)) for keys in metrics.values()])
        for group, metrics in groups.items()
    ]


def sample_metrics(section: Section) -> list[Value]:
    """Metrics with a number per image or region in some run's records, as described by the first run that has them."""
    measured: set[str] = set()
    for run in section.runs:
        for record in run.records:
            plain = record.branches.get(PLAIN)
            if plain is not None:
                measured.update(plain.values, *(region.values for region in plain.regions))
    found: dict[str, Value] = {}
    for result in section.results:
        for value in result.values.values():
            if value.metric in measured and value.kind in ("pair", "region"):
                found.setdefault(value.metric, value)
    return list(found.values())


def index_records(run: ReportRun) -> Mapping[str, Record]:
    """The records of samples that did not fail, by sample id."""
    return {record.id: record for record in run.records if record.status == "ok"}


def _labels(results: Sequence[RunResult]) -> tuple[str, ...]:
    """Tokenizer names; where two are equal, with what else tells the runs apart."""
    names = Counter(result.spec.tokenizer.name for result in results)
    labels = []
    for number, result in enumerate(results, start=1):
        spec = result.spec
        twins = [other.spec for other in results if other.spec.tokenizer.name == spec.tokenizer.name]
        label = spec.tokenizer.name
        if names[label] > 1:
            facts = {"dtype": spec.dtype, "seed": f"seed {spec.seed}", "device": spec.device}
            differing = [text for name, text in facts.items() if len({getattr(twin, name) for twin in twins}) > 1]
            label = f"{label} ({', '.join(differing)})" if differing else label
        labels.append(f"{label} #{number}" if label in labels else label)
    return tuple(labels)
