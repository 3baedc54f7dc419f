"""Templates, styles and scripts of the site. Everything that comes from submissions is escaped by the environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

from jinja2 import BaseLoader, ChoiceLoader, Environment, TemplateNotFound

from tokbench.leaderboard.names import safe_link
from tokbench.report.html import environment as report_environment
from tokbench.report.html import json_for_script

# Pages come from files as often as from a server; some browsers count a file's neighbours as 'self', some do not.
POLICY = (
    "default-src 'none'; img-src 'self' file: data:; style-src 'self' file:; script-src 'self' file:; "
    "base-uri 'none'; form-action 'none'"
)
STATIC = ("board.css", "board.js", "compare.js", "theme.js", "datatables.min.js", "datatables.LICENSE.txt")
_REPORT_STYLES = ("report.css", "topics.css")


class Renderer:
    """The site's templates, with the report's beside them."""

    def __init__(self) -> None:
        self.environment: Environment = report_environment()
        shared = self.environment.loader
        assert shared is not None  # the report's environment always has one
        self.environment.loader = ChoiceLoader([_Templates(), shared])
        self._common = {"policy": POLICY, "tokbench": _version(), "safe_link": safe_link}

    def page(self, template: str, *, title: str, root: str, **content: Any) -> str:
        """A page; ``root`` is the relative path from it to the site's folder: ``""`` or ``"../"``."""
        return self.environment.get_template(template).render(title=title, root=root, **self._common, **content)


def static_files() -> Mapping[str, bytes]:
    """Styles and scripts by path inside the site."""
    own = files("tokbench.leaderboard").joinpath("static")
    made = {f"static/{name}": own.joinpath(name).read_bytes() for name in STATIC}
    report = files("tokbench.report")
    style = "\n".join(report.joinpath(name).read_text(encoding="utf-8") for name in _REPORT_STYLES)
    return {**made, "static/report.css": style.encode()}


def data_script(slug: str, data: Mapping[str, Any]) -> str:
    """A script that does nothing but hand over data: what a page opened as a file may load, unlike JSON."""
    return f"(globalThis.tokbench ??= {{}})[{json.dumps(slug)}] = {json_for_script(data)};\n"


class _Templates(BaseLoader):
    """Templates of this package, also from inside a zip."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, None]:  # noqa: ARG002
        source = _template(template)
        if source is None:
            raise TemplateNotFound(template)
        return source, None, None


@cache
def _template(name: str) -> str | None:
    path = files("tokbench.leaderboard").joinpath("templates", name)
    return path.read_text(encoding="utf-8").replace("\r\n", "\n") if path.is_file() else None


def _version() -> str:
    try:
        return version("tokbench")
    except PackageNotFoundError:
        return ""
