"""The report page: one HTML file that needs nothing else, for one run or several side by side."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound
from markupsafe import Markup

from tokbench.errors import UsageError
from tokbench.report import details, view
from tokbench.report.crops import CropStore
from tokbench.report.distributions import Distribution, make_distribution
from tokbench.report.format import clean, shorten
from tokbench.report.lengths import LengthChart, length_charts
from tokbench.report.pictures import PictureStore, gallery
from tokbench.report.regions import CROP_BUDGET, Regions, make_regions
from tokbench.report.runs import ReportRun, Section, load_run, make_sections, sample_metrics
from tokbench.report.sizes import SizeTables, size_tables
from tokbench.report.svg import colour
from tokbench.report.topic import Topic
from tokbench.report.topics import topics
from tokbench.report.tradeoff import Tradeoff, make_tradeoff
from tokbench.runfolder import write_text

PICTURE_BUDGET = 6_500_000  # characters of data URIs for each run
STYLES = ("report.css", "topics.css", "regions.css")
SCRIPTS = ("report.js", "pictures.js", "lightbox.js", "gallery.js", "regions.js")  # each uses those before it
_MAX_FAILURES = 200
_MAX_TEXT = 2000  # longer foreign texts are cut in the middle


@dataclass(frozen=True, kw_only=True)
class SectionView:
    """Everything the template shows of one section."""

    number: int
    section: Section
    rows: list[tuple[str, list[view.ResultRow]]]
    n_branch_rows: int
    sizes: SizeTables
    regions: Regions
    tradeoff: Tradeoff | None
    topics: list[Topic]
    lengths: list[LengthChart]
    distributions: list[Distribution]
    failures: list[details.Failure]
    gallery: dict[str, Any]

    @property
    def parts(self) -> list[tuple[str, str]]:
        """The parts that are there: end of the anchor, and title."""
        known = [
            ("results", "Results", True),
            ("sizes", "Size groups", bool(self.sizes.first)),
            ("regions", "Words and faces", bool(self.regions.kinds)),
            ("tradeoff", "Rate–distortion", self.tradeoff is not None),
            ("lengths", "Encoding length", bool(self.lengths)),
            *((topic.anchor, topic.title, True) for topic in self.topics),
            ("distributions", "Spread over samples", bool(self.distributions)),
            ("pictures", "Pictures", True),
            ("failures", "Failed samples", True),
            ("details", "Spec and environment", True),
        ]
        return [(f"s{self.number}-{name}", title) for name, title, is_there in known if is_there]


def write_report(folders: Sequence[Path], out: Path, *, picture_budget: int = PICTURE_BUDGET) -> Path:
    """Write the report of these runs' folders to ``out`` and return it.

    Args:
        picture_budget: about how many bytes of pictures to embed for each run; what does not fit is said on the page.

    Raises:
        ResultsError: a folder is not a run, or ``out`` cannot be written.
    """
    write_text(out, render_report([load_run(folder) for folder in folders], picture_budget=picture_budget))
    return out


def render_report(runs: Sequence[ReportRun], *, picture_budget: int = PICTURE_BUDGET) -> str:
    """The page as a string. Runs that did not measure the same thing get sections of their own."""
    if not runs:
        raise UsageError("a report needs at least one run")
    store, crops = PictureStore(budget=picture_budget * len(runs)), CropStore(budget=CROP_BUDGET)
    views = [
        _section_view(number, section, store, crops) for number, section in enumerate(make_sections(runs), start=1)
    ]
    data = {
        "images": store.uris,
        "crops": crops.uris,
        "sections": [one.gallery for one in views],
        "charts": [chart.marks for one in views for chart in one.distributions],
    }
    style, script = page_style(), page_script()
    return environment().get_template("report.html").render(
        title=_title(views), views=views, runs=runs, view=view, details=details, max_failures=_MAX_FAILURES,
        citations=details.citations(runs), tokbench=_version(), policy=content_policy(style=style, script=script),
        style=Markup(style), script=Markup(script), data=Markup(json_for_script(data)),
    )  # fmt: skip


def environment() -> Environment:
    """Jinja, escaping everything, failing on undefined names, and never printing control or override characters."""
    made = Environment(
        loader=_PackageLoader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, finalize=_finalize,
    )  # fmt: skip
    made.filters.update(shorten=shorten, colour=colour)
    return made


def page_style() -> str:
    """The page's style sheet."""
    return "\n".join(map(_resource, STYLES))


def page_script() -> str:
    """The page's script: all its files in one block, so that they see each other and nothing else sees them."""
    return "\n".join(['"use strict";', "{", *map(_resource, SCRIPTS), "}"])


def content_policy(*, style: str, script: str) -> str:
    """The page's Content-Security-Policy: its own style, script and data pictures, and nothing else from anywhere."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def json_for_script(data: Mapping[str, Any]) -> str:
    """JSON that can stand in a script element: nothing in it can end the element or a line of it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _section_view(number: int, section: Section, store: PictureStore, crops: CropStore) -> SectionView:
    rows = view.result_rows(section)
    charts = [
        make_distribution(section, metric, chart_id=f"s{number}-chart-{place}")
        for place, metric in enumerate(sample_metrics(section))
    ]
    regions = make_regions(section, crops)
    tradeoff = make_tradeoff(section)
    pictures, numbers = gallery(section, store, also=regions.samples)
    return SectionView(
        number=number,
        section=section,
        rows=rows,
        n_branch_rows=sum(bool(row.metric.branch and not row.keys) for _, part in rows for row in part),
        sizes=size_tables(section),
        regions=regions,
        tradeoff=tradeoff,
        topics=topics(section),
        lengths=[] if tradeoff is not None and tradeoff.covers_lengths else length_charts(section),
        distributions=[chart for chart in charts if chart is not None],
        failures=details.failures(section),
        gallery={**pictures, "items": regions.linked(numbers)},
    )


def _title(views: Sequence[SectionView]) -> str:
    labels = [label for one in views for label in one.section.labels]
    tasks = list(dict.fromkeys(str(one.section.results[0].spec.task.get("name", "")) for one in views))
    return shorten(f"{', '.join(labels)} on {', '.join(tasks)} · tokbench", 120)


def _finalize(value: Any) -> Any:
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return shorten(value, _MAX_TEXT) if len(value) > _MAX_TEXT else clean(value)


class _PackageLoader(BaseLoader):
    """Templates beside this module, also from inside a zip."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, None]:  # noqa: ARG002
        if not template.endswith(".html"):
            raise TemplateNotFound(template)
        return _resource(template), None, None


@cache
def _resource(name: str) -> str:
    return files("tokbench.report").joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _version() -> str:
    try:
        return version("tokbench")
    except PackageNotFoundError:
        return ""
