"""The gate's verdict for machines and people: JUnit XML, Markdown, annotations, and lines on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from xml.etree import ElementTree

from rich.console import Console
from rich.text import Text

from tokbench.comparison.escape import flat, markdown, markdown_name, terminal, workflow
from tokbench.comparison.words import interval_words, signed
from tokbench.gate.check import GateResult
from tokbench.gate.items import GateItem, Status
from tokbench.report.format import format_value

_STYLES: dict[Status, str] = {
    "fail": "bold red", "inconclusive": "yellow", "better": "green", "pass": "", "not compared": "dim",
}  # fmt: skip
_SHOWN_ERRORS = 9  # GitHub shows ten annotations of a kind a step; the tenth says how many there are
SUITE = "tokbench check"


def junit(result: GateResult) -> str:
    """JUnit XML: a test case an item; inconclusive ones fail only where they count, what was not compared is skipped.

    The elements are those that Jenkins, GitLab and pytest agree on.
    """
    failed = set(map(id, result.failures))
    skipped = sum(item.status == "not compared" for item in result.items)
    counts = {"tests": str(len(result.items)), "failures": str(len(failed)), "errors": "0", "skipped": str(skipped)}
    root = ElementTree.Element("testsuites", {"name": SUITE, **counts})
    name = flat(f"{result.candidate} against {result.baseline}")
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **counts})
    for item in result.items:
        facts = {"classname": flat(f"tokbench.{result.task}"), "name": flat(item.name), "time": "0"}
        case = ElementTree.SubElement(suite, "testcase", facts)
        words = flat(item.sentence)
        if id(item) in failed:
            ElementTree.SubElement(case, "failure", {"message": flat(item.reason), "type": item.status}).text = words
        elif item.status == "not compared":
            ElementTree.SubElement(case, "skipped", {"message": flat(item.reason)})
        else:
            ElementTree.SubElement(case, "system-out").text = f"{item.status}: {words}"
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def gate_markdown(result: GateResult) -> str:
    """The verdict for a job's summary or a comment, what was not compared folded away."""
    lines = [
        f"### {SUITE}: {'passed' if result.passed else 'failed'}",
        "",
        f"{markdown_name(result.candidate)} against {markdown_name(result.baseline)} on {markdown(result.task)}: "
        f"{markdown(result.summary)}",
        "",
        "| status | metric | baseline | candidate | difference | 95 % interval | tolerated | |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
        *(_row(item) for item in result.items if item.status != "not compared"),
        "",
    ]
    if result.notes:
        lines += [*(f"- note: {markdown(note)}" for note in result.notes), ""]
    left_out = [item for item in result.items if item.status == "not compared"]
    if left_out:
        lines += ["<details><summary>not compared</summary>", ""]
        lines += [f"- {markdown_name(item.name)}: {markdown(item.reason)}" for item in left_out]
        lines += ["", "</details>", ""]
    return "\n".join(lines)


def _row(item: GateItem) -> str:
    strong = "**" if item.status == "fail" else ""
    cells = [
        f"{strong}{item.status}{strong}",
        markdown_name(item.name),
        markdown(format_value(item.first, item.unit)),
        markdown(format_value(item.second, item.unit)),
        markdown(signed(item.difference, item.unit, item.ci95)),
        markdown(interval_words(item.difference, item.unit, item.ci95)),
        markdown(item.tolerated),
        markdown(item.reason),
    ]
    return f"| {' | '.join(cells)} |"


def workflow_commands(result: GateResult) -> Iterator[str]:
    """Workflow commands of GitHub: an error a failure, one warning for all that is inconclusive, one notice."""
    failures = list(result.failures)
    for item in failures[:_SHOWN_ERRORS]:
        title = workflow(f"{SUITE}: {item.name}", is_property=True)
        yield f"::error title={title}::{workflow(item.sentence or item.status)}"
    if len(failures) > _SHOWN_ERRORS:
        rest = ", ".join(item.name for item in failures[_SHOWN_ERRORS:])
        yield f"::error title={SUITE}::{len(failures) - _SHOWN_ERRORS} more failed: {workflow(rest)}"
    unsure = [item.name for item in result.items if item.status == "inconclusive" and item not in failures]
    if unsure:
        yield f"::warning title={SUITE}::{len(unsure)} inconclusive: {workflow(', '.join(unsure))}"
    yield f"::notice title={SUITE}::{workflow(result.summary)}"


def gate_text(result: GateResult, *, width: int | None = None, is_terminal: bool = False) -> str:
    """The verdict as lines, coloured on a terminal; what was not compared on one line for each reason."""
    out = StringIO()
    console = Console(
        file=out, force_terminal=is_terminal, color_system="standard" if is_terminal else None,
        width=width or 10_000, legacy_windows=False, highlight=False, markup=False, emoji=False,
    )  # fmt: skip
    title = f"{result.candidate} against {result.baseline} on {result.task}"
    console.print(Text(terminal(title), style="bold"))
    for note in result.notes:
        console.print(Text(f"note: {terminal(note)}", style="yellow"))
    for item in result.items:
        if item.status != "not compared":
            line = f"{item.status:<12}  {terminal(item.name)}: {terminal(item.sentence)}"
            console.print(Text(line, style=_STYLES[item.status]))
    reasons: dict[str, list[str]] = {}
    for item in result.items:
        if item.status == "not compared":
            reasons.setdefault(terminal(item.reason), []).append(terminal(item.name))
    for reason, names in reasons.items():
        console.print(Text(f"{'not compared':<12}  {', '.join(names)}: {reason}", style="dim"))
    console.print(Text(terminal(result.summary), style="bold green" if result.passed else "bold red"))
    return out.getvalue()
