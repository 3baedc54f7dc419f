"""What a recogniser made of a word or face: on the original and in each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokbench.report.format import Style, shorten
from tokbench.report.readings import Part, mark_reading
from tokbench.report.recognisers import Kind, Recogniser, is_right, number_of, reason_of
from tokbench.report.runs import Section
from tokbench.results import RegionRecord

_VERDICTS: dict[tuple[Kind, bool], str] = {
    ("word", True): "read",
    ("word", False): "misread",
    ("face", True): "recognised",
    ("face", False): "not recognised",
}
_SCORE = Style(1.0, 2, "")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a recogniser made of one side: the original (``run`` is None) or a run's reconstruction.

    ``mark`` is ``right``, ``wrong`` or "", and ``verdict`` says it in words; ``reading`` is None where nothing is known
    of what was read.
    """

    run: int | None
    label: str
    crop: int | None
    reading: tuple[Part, ...] | None
    mark: str = ""
    verdict: str = ""


def answer_all(
    section: Section, recogniser: Recogniser, regions: Sequence[RegionRecord | None], crops: Sequence[int | None]
) -> tuple[Answer, ...]:
    """The original and each run, as their crops are numbered."""
    read = [_seen(recogniser, region, "reference") for region in regions]
    first = next((number for number, text in enumerate(read) if text is not None), None)
    region = regions[first] if first is not None else None
    original = Answer(
        run=None, label="Original", crop=crops[0],
        reading=mark_reading(region.label, read[first] or "") if region is not None and first is not None else None,
    )  # fmt: skip
    return (
        original,
        *(
            _answer(recogniser, run, shorten(label, 60), regions[run], crops[run + 1], n_runs=len(regions))
            for run, label in enumerate(section.labels)
        ),
    )


def _answer(
    recogniser: Recogniser, run: int, label: str, region: RegionRecord | None, crop: int | None, *, n_runs: int
) -> Answer:
    name = label if n_runs > 1 else "Reconstruction"
    if region is None:
        return Answer(run=run, label=name, crop=crop, reading=None, verdict="not measured")
    text = _seen(recogniser, region, "reconstruction")
    score, right = number_of(recogniser.score, region), is_right(recogniser, region)
    parts = [] if right is None else [_VERDICTS[recogniser.kind, right]]
    if score is not None and not (recogniser.kind == "word" and right):
        parts.append(f"similarity {_SCORE.number(score)}")
    return Answer(
        run=run, label=name, crop=crop, reading=None if text is None else mark_reading(region.label, text),
        mark="" if right is None else "right" if right else "wrong",
        verdict=", ".join(parts) or shorten(reason_of(recogniser, region), 120) or "not measured",
    )  # fmt: skip


def _seen(recogniser: Recogniser, region: RegionRecord | None, side: str) -> str | None:
    """What was read, for words; a face's ``seen`` only repeats its numbers."""
    if region is None or recogniser.kind == "face":
        return None
    return next((seen[side] for m in recogniser.metrics if side in (seen := region.seen.get(m.metric, {}))), None)


def in_words(answer: Answer) -> str:
    """The reading and what to think of it: ``“Ioud”, misread, similarity 0.00``."""
    text = "".join(text for kind, text in answer.reading or () if kind != "missing")
    read = [] if answer.reading is None else [f"“{text}”" if text else "nothing read"]
    return ", ".join([*read, answer.verdict])
