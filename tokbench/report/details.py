"""What a run was asked and what it ran on: facts, the full spec, the command that repeats it, whom to cite."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tokbench.report.format import clean, format_count, format_duration, format_time
from tokbench.report.runs import PLAIN, ReportRun, Section
from tokbench.results import RunResult, RunSpec

TOKBENCH_PAPER = "2505.18142"
_ARXIV = re.compile(r"^(?:arxiv:)?(\d{4}\.\d{4,5})(?:v\d+)?$", re.IGNORECASE)
_DOI = re.compile(r"^(?:doi:)?(10\.\d{4,9}/[\w.()/:-]+)$", re.IGNORECASE)
LATENTS = {
    "discrete": "discrete tokens",
    "continuous": "continuous latents",
    "codec": "coded file",
    "none": "none, images pass through",
}
POSTERIORS = {"mode": "decoded at its mode", "sample": "a sample is decoded, seeded for each image"}


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A labelled text, with a link where it names a paper. Links are only ever to arxiv.org and doi.org."""

    label: str
    text: str
    href: str = ""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A sample that gave no numbers."""

    run: int
    label: str
    id: str
    stage: str
    error: str


def tokenizer_facts(result: RunResult) -> list[Fact]:
    """What the card says, without what it does not say."""
    card = result.spec.tokenizer
    codebooks = " × ".join(f"{size:,}" for size in card.codebook_sizes[:8])
    if len(card.codebook_sizes) > 8:
        codebooks += f" × … ({len(card.codebook_sizes)} codebooks)"
    rows = [
        ("Family", card.family),
        ("Variant", card.variant),
        ("Opened as", card.opened_as),
        ("Latent", LATENTS.get(card.latent, card.latent)),
        ("Codebook", codebooks),
        ("Posterior", POSTERIORS.get(card.posterior, card.posterior)),
        ("Downsampling", f"{card.downsampling} px a cell" if card.downsampling else ""),
        ("Length", f"up to {card.max_length:,} {card.prefix_axis}" if card.max_length else ""),
        ("Needs besides the encoding", card.side_information),
        ("Weights", card.hub or card.page),
        ("Licence", card.licence),
        ("Weights' licence", card.weights_licence),
        ("Paper", card.paper),
        ("Repository", card.repository),
    ]
    return [
        Fact(label=label, text=text, href=paper_link(text) if label == "Paper" else "") for label, text in rows if text
    ]


def run_facts(result: RunResult) -> list[Fact]:
    """When, how long, on what, with which version."""
    took = format_duration(result.started, result.finished)
    device = result.environment.get("device_name") or result.spec.device
    version = result.environment.get("tokbench")
    rows = [
        ("Run", format_time(result.started) + (f", took {took}" if took else "")),
        ("Device", f"{device}, {result.spec.dtype}"),
        ("tokbench", str(version or "unknown version")),
        ("Run id", result.run_id),
    ]
    return [Fact(label=label, text=text) for label, text in rows]


def paper_link(paper: str) -> str:
    """The address of an arXiv id or DOI; "" for anything else."""
    if match := _ARXIV.match(paper.strip()):
        return f"https://arxiv.org/abs/{match[1]}"
    if match := _DOI.match(paper.strip()):
        return f"https://doi.org/{match[1]}"
    return ""


def flatten(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested mapping as rows: dotted key and text."""
    rows: list[tuple[str, str]] = []
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping) and item:
            rows += flatten(item, f"{name}.")
        else:
            rows.append((name, _plain(item)))
    return rows


def detail_tables(result: RunResult) -> list[tuple[str, list[tuple[str, str]]]]:
    """Everything the result file says apart from the values: titled tables of key and text."""
    spec = asdict(result.spec)
    tokenizer, task = spec.pop("tokenizer"), dict(spec.pop("task"))
    spec["metrics"] = [f"{key} v{version}" for key, version in result.spec.metrics.items()]
    spec = {"run_id": result.run_id, "started": result.started, "finished": result.finished, **spec}
    return [
        ("Run", flatten(spec)),
        ("Task", flatten(task)),
        ("Tokenizer", flatten({key: item for key, item in tokenizer.items() if item not in ("", (), None)})),
        ("Data", flatten(dict(result.manifest))),
        ("Environment", flatten(dict(result.environment))),
        ("Records", flatten({**result.records, "samples": dict(result.counts)})),
    ]


def command(result: RunResult) -> str:
    """The command line of this run: as it was typed, or put together from the spec where it ran inside Python."""
    typed = result.environment.get("argv")
    if isinstance(typed, list) and len(typed) > 1 and typed[0] in ("tokbench", "__main__.py"):
        return clean(shlex.join(["tokbench", *map(str, typed[1:])]))
    spec = result.spec
    options = {
        "tokenizer": spec.tokenizer.asked_as,
        "task": spec.task.get("name"),
        "metrics": ",".join(spec.metrics),
        **_branch_options(spec),
        "limit": spec.limit,
        "seed": spec.seed,
        "dtype": spec.dtype,
        "device": spec.device,
        "batch-size": spec.batch_size,
    }
    words = [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]
    return clean(shlex.join(["tokbench", "sweep" if spec.curves else "run", *words]))


def _branch_options(spec: RunSpec) -> dict[str, str | None]:
    """The options that ask for a run's branches, as far as they can be told from its spec."""
    lengths = [branch.removeprefix("length=") for branch in spec.branches if branch.startswith("length=")]
    if not spec.curves:
        return {"lengths": ",".join(lengths) or None}
    own, *others = spec.curves
    if lengths and PLAIN in spec.curves[own]:
        lengths.append(str(spec.tokenizer.max_length))
    variants = [branch.removeprefix(f"{own}-") for branch in spec.curves[own] if branch]
    return {
        "lengths": ",".join(lengths) or None,
        "variants": None if lengths else ",".join(variants),
        "against": ",".join(others) or "none",
    }


def failures(section: Section) -> list[Failure]:
    """The failed samples of all runs, in the order they were met."""
    return [
        Failure(run=number, label=section.labels[number], id=record.id, stage=record.stage, error=record.error)
        for number, run in enumerate(section.runs)
        for record in run.records
        if record.status == "failed"
    ]


def citations(runs: Iterable[ReportRun]) -> list[Fact]:
    """Whom to cite for these numbers: the data, the tokenizers, and TokBench for its text and face metrics."""
    found: dict[str, Fact] = {}
    for run in runs:
        result = run.result
        citation = str(result.manifest.get("citation") or "")
        if citation:
            name = str(result.manifest.get("name", ""))
            found.setdefault(f"data {name} {citation}", Fact(label=f"Data {name}".strip(), text=citation))
        if result.spec.tokenizer.paper:
            paper, family = result.spec.tokenizer.paper, result.spec.tokenizer.family
            found.setdefault(f"{family} {paper}", Fact(label=f"Tokenizer {family}", text=paper, href=paper_link(paper)))
        if any(value.group in ("text", "face") for value in result.values.values()):
            title = "TokBench: Evaluating Your Visual Tokenizer before Visual Generation, arXiv 2505.18142"
            found["tokbench"] = Fact(label="Text and face metrics", text=title, href=paper_link(TOKBENCH_PAPER))
    return list(found.values())


def sample_counts(result: RunResult) -> str:
    """``54 samples, 2 failed``."""
    n_failed = result.counts.get("failed", 0)
    total = result.counts.get("ok", 0) + n_failed
    return format_count(total, "samples") + (f", {n_failed:,} failed" if n_failed else ", none failed")


def _plain(value: Any) -> str:
    if value is None or value == "" or value == () or value == [] or value == {}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(item) if not isinstance(item, (list, tuple)) else f"({_plain(item)})" for item in value)
    return str(value)
