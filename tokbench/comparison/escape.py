"""Names from result files are other people's text: here it becomes harmless wherever comparisons are written.

In Markdown, CSV, XML and workflow commands, and on a terminal or in the log of a job.
"""

from __future__ import annotations

import re

from tokbench.report.format import shorten

_MAX_TEXT = 300
_TAME = re.compile(r"[A-Za-z0-9]+(?:[-_.@=/][A-Za-z0-9]+)*")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def flat(text: str) -> str:
    """The text as one line of at most 300 characters, whatever is not printable shown as its code.

    An XML writer can take it as it is: characters that XML 1.0 cannot hold are not printable.
    """
    line = " ".join(shorten(text, _MAX_TEXT).split())
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in line)


def terminal(text: str) -> str:
    """The text for a terminal or a job's log, where GitHub obeys lines with ``::command::`` or ``##[command]``."""
    return flat(text).replace("::", ": :").replace("##[", "## [")


def markdown(text: str) -> str:
    """The text for a paragraph or table cell of Markdown: every character that could mean something is an entity.

    CommonMark takes entities as text, never as markup, so neither HTML, links, mentions nor table cells can begin.
    """
    return "".join(
        char if char.isalnum() or char in " ,.;+/()%–−≠" else f"&#{ord(char)};" for char in flat(text)
    ).replace("www", "ww&#119;")  # a bare www. would become a link


def markdown_name(text: str) -> str:
    """A name as code where it is an ordinary one, as escaped text otherwise."""
    return f"`{text}`" if _TAME.fullmatch(text) else markdown(text)


def csv_cell(text: str) -> str:
    """The text for a spreadsheet: never a formula (OWASP, "CSV Injection")."""
    text = flat(text)
    return f"'{text}" if text.startswith(_FORMULA) else text


def workflow(text: str, *, is_property: bool = False) -> str:
    """The text for a workflow command of GitHub: ``::error title={property}::{message}``.

    Source: actions/toolkit, ``packages/core/src/command.ts`` (escapeData, escapeProperty).
    """
    text = flat(text).replace("%", "%25")
    return text.replace(":", "%3A").replace(",", "%2C") if is_property else text.replace("::", "%3A%3A")
