"""The pass before the run: showing the whole set to the branches that must have seen it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from tokbench.branches import Branch, Survey
from tokbench.encodings import Encoding
from tokbench.errors import TokbenchError
from tokbench.seeds import sample_seed

logger = logging.getLogger(__name__)


class Surveys:
    """The surveys of a run's branches, each once however many branches share it."""

    def __init__(self, branches: Sequence[Branch], *, seed: int) -> None:
        self._seed = seed
        self._shared: list[tuple[Survey, list[str]]] = []
        for branch in branches:
            if branch.survey is None:
                continue
            known = [names for survey, names in self._shared if survey is branch.survey]
            if known:
                known[0].append(branch.name)
            else:
                self._shared.append((branch.survey, [branch.name]))

    def see(self, encoding: Encoding, ids: Sequence[str]) -> dict[str, Exception]:
        """Show a batch; returns the branches whose survey refuses to go on, with its error."""

        def show(survey: Survey, names: Sequence[str]) -> None:
            survey.see(encoding, [sample_seed(self._seed, sample_id, names[0]) for sample_id in ids])

        return self._each(show)

    def finish(self) -> dict[str, Exception]:
        """The whole set was shown; returns as :meth:`see` does."""
        return self._each(lambda survey, _: survey.finish())

    def _each(self, call: Callable[[Survey, Sequence[str]], None]) -> dict[str, Exception]:
        broken: dict[str, Exception] = {}
        for survey, names in list(self._shared):
            try:
                call(survey, names)
            except TokbenchError as err:
                logger.error("branches %s are left out", ", ".join(names), exc_info=err)
                self._shared.remove((survey, names))
                broken |= dict.fromkeys(names, err)
        return broken
