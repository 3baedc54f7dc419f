"""The parts of the page about the tokens, the rate, the distribution, robustness and cost: pictures of the results."""

from __future__ import annotations

from collections.abc import Sequence

from tokbench.report.bars import Bar, BarGroup, bar_chart
from tokbench.report.detail_curves import curve_charts
from tokbench.report.format import ARROWS, DIRECTIONS
from tokbench.report.runs import PLAIN, Section
from tokbench.report.topic import Chart, Topic
from tokbench.report.view import value_row
from tokbench.results import Value

LANGUAGE = ("zipf_exponent", "ngram_entropy_2", "neighbour_mi", "token_innovation")
_USAGES = {
    "codebook_usage": "over this set",
    "codebook_usage_window": "in 65,536 tokens (LlamaGen)",
    "codebook_usage_var": "above 8 % of uniform (VAR)",
    "codebook_usage_unitok": "above 1 % of uniform (UniTok)",
}
_RATES = {
    "bpp": "nominal, or the file",
    "bpp_order0": "ideal coder that knows the histogram",
    "bpp_adaptive0": "image by image, no context",
    "bpp_adaptive1": "image by image, previous token as context",
}
_TIMES = {"encode_s": "encode an image", "decode_s": "decode an image"}
_LATENCIES = {"latency_p50_s": "median", "latency_p95_s": "95th percentile"}


def topics(section: Section) -> list[Topic]:
    """The parts that have anything to show, in the page's order."""
    known = [_codebook(section), _language(section), _rate(section), _robustness(section), _distribution(section)]
    return [topic for topic in [*known, _cost(section), _others(section)] if topic.charts or topic.rows]


def _codebook(section: Section) -> Topic:
    metrics = [metric for metric in _measured(section, "codebook") if metric.metric not in LANGUAGE]
    usage = _bars(section, _USAGES, title="Codebook usage by definition", unit="")
    return Topic(
        anchor="codebook",
        title="Codebook",
        lede="How much of the codebook these images use. The definitions in circulation give different numbers for the "
        "same tokens, and a set of T tokens cannot use more than T entries.",
        charts=(*usage, *curve_charts(section, metrics)),
    )


def _language(section: Section) -> Topic:
    metrics = [metric for metric in _measured(section, "codebook") if metric.metric in LANGUAGE]
    return Topic(
        anchor="language",
        title="Language of the tokens",
        lede="An image's tokens read row by row as a sentence (arXiv 2411.05001): how unequal codes are, how soon new "
        "ones stop coming, and how much a token says about the next.",
        charts=(*curve_charts(section, metrics), *_entropies(section), *_neighbours(section)),
    )


def _rate(section: Section) -> Topic:
    charts = _bars(section, _RATES, title="Bits per pixel", unit="bit/px") if len(_found(section, _RATES)) > 1 else []
    return Topic(
        anchor="rate",
        title="Rate",
        lede="What the encoding costs on the compared grid, as it is and after entropy coding. Only the image-by-image "
        "numbers are files one could send; coded files count at their true size under each.",
        charts=(*charts, *curve_charts(section, _measured(section, "rate"))),
    )


def _robustness(section: Section) -> Topic:
    metrics = _measured(section, "robustness")
    return Topic(
        anchor="robustness",
        title="Robustness",
        lede="What is left when the encoding is disturbed before decoding, as a generator's mistakes would.",
        charts=tuple(curve_charts(section, metrics)),
        rows=tuple(value_row(section, metric.key, all_details=True) for metric in metrics),
    )


def _distribution(section: Section) -> Topic:
    metrics = _measured(section, "distribution")
    return Topic(
        anchor="distribution",
        title="Distribution",
        lede="How far the reconstructions as a set are from the originals as a set. These are no means over images: "
        "most are biased for small sets, so compare them at equal numbers of images only, with the same features.",
        charts=tuple(curve_charts(section, metrics)),
        rows=tuple(value_row(section, metric.key, all_details=True) for metric in metrics),
    )


def _cost(section: Section) -> Topic:
    devices = dict.fromkeys(str(r.environment.get("device_name") or r.spec.device) for r in section.results)
    times = _bars(section, _TIMES, title="Time per image", unit="s")
    latencies = _bars(section, _LATENCIES, title="Latency of a batch", unit="s")
    memory = _bars(section, {"peak_memory_bytes": "peak of the process"}, title="Memory", unit="B")
    several = len(section.runs) > 1  # one bar of a single run says nothing that the table does not
    return Topic(
        anchor="cost",
        title="Cost",
        lede=f"The same batch again and again with nothing beside it, the first pass left out. Measured on "
        f"{', '.join(devices)}; times of other machines do not compare.",
        charts=(*times, *latencies, *(memory if several else ())),
    )


def _others(section: Section) -> Topic:
    """Curves of metrics that no other part is about."""
    groups = ("pixel", "perception", "text", "face", "efficiency")
    metrics = [metric for group in groups for metric in _measured(section, group)]
    lede = "What these metrics have to show besides their number."
    return Topic(anchor="curves", title="Further curves", lede=lede, charts=tuple(curve_charts(section, metrics)))


def _measured(section: Section, group: str) -> list[Value]:
    """The group's metrics that have a number in some run, plain reconstructions only."""
    found: dict[str, Value] = {}
    for result in section.results:
        for key, value in result.values.items():
            if key == value.key and value.group == group and value.branch == PLAIN and value.status == "ok":
                found.setdefault(value.metric, value)
    return list(found.values())


def _found(section: Section, keys: Sequence[str] | dict[str, str]) -> list[str]:
    return [key for key in keys if any(value is not None and value.value is not None for value in section.values(key))]


def _bars(section: Section, labels: dict[str, str], *, title: str, unit: str) -> list[Chart]:
    """Plain values of several metrics of one unit beside each other; none where no run has any."""
    found = _found(section, labels)
    if not found:
        return []
    first = next(value for value in section.values(found[0]) if value is not None)
    groups = [
        BarGroup(
            label=labels[key],
            bars=tuple(
                Bar(run=run, value=value.value, ci95=value.ci95)
                for run, value in enumerate(section.values(key))
                if value is not None and value.value is not None
            ),
        )
        for key in found
    ]
    return [_bar_chart(section, groups, title=title, unit=unit, first=first)]


def _bar_chart(
    section: Section, groups: Sequence[BarGroup], *, title: str, unit: str, first: Value, note: str = ""
) -> Chart:
    return Chart(
        title=title, arrow=ARROWS[first.better], direction=DIRECTIONS[first.better], note=note,
        svg=bar_chart(groups, unit=unit, title=title, run_labels=section.labels),
    )  # fmt: skip


def _entropies(section: Section) -> list[Chart]:
    """What a token costs an ideal coder that knows nothing, the histogram, or the token before."""
    with_context = section.values("ngram_entropy_2")
    alone = section.values("codebook_entropy")
    first = next((value for value in with_context if value is not None and value.value is not None), None)
    if first is None:
        return []
    rows = [
        ("no context (codebook_entropy)", [None if value is None else value.value for value in alone]),
        ("after the token before it (ngram_entropy_2)", [None if v is None else v.value for v in with_context]),
    ]
    groups = [group for label, numbers in rows if (group := _group(label, numbers)).bars]
    note = "The second is too low where the set is small: see coverage in result.json."
    return [_bar_chart(section, groups, title="Entropy of a token", unit="bits/token", first=first, note=note)]


def _neighbours(section: Section) -> list[Chart]:
    """Information shared across and down, and in all."""
    values = section.values("neighbour_mi")
    first = next((value for value in values if value is not None and value.value is not None), None)
    if first is None:
        return []
    rows = [("side by side", "across_bits"), ("one above the other", "down_bits")]
    groups = [
        group
        for label, name in rows
        if (group := _group(label, [None if value is None else value.details.get(name) for value in values])).bars
    ]
    if not groups:
        return []
    note = "Above what randomly paired tokens of the same histograms show."
    return [_bar_chart(section, groups, title="Information shared by neighbours", unit="bits", first=first, note=note)]


def _group(label: str, numbers: Sequence[object]) -> BarGroup:
    bars = [
        Bar(run=run, value=float(number))
        for run, number in enumerate(numbers)
        if isinstance(number, int | float) and not isinstance(number, bool)
    ]
    return BarGroup(label=label, bars=tuple(bars))
