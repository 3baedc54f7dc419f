"""Are two runs alike enough to be compared? Every ingredient in which they differ, not only the first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokbench.comparison.escape import terminal
from tokbench.comparison.measured import MeasuredRun, SampleFacts
from tokbench.errors import UnlikeRunsError
from tokbench.report.format import format_count, shorten
from tokbench.tasks.stored import with_defaults

_ABSENT = "(absent)"
# Words about a task, and what a leaderboard does with it; no number depends on them.
_WORDS_OF_A_TASK = {"title", "description", "rank_by"}
_MAX_TEXT = 120
COMMON_HINT = "--common pairs what both runs have"


@dataclass(frozen=True, kw_only=True)
class Unlike:
    """One ingredient that differs, with both values as text.

    ``is_selection`` says that only the choice of samples or regions differs, so that the common ones can be paired.
    """

    ingredient: str
    first: str
    second: str
    is_selection: bool = False

    def __str__(self) -> str:
        return f"{self.ingredient}: {self.first} ≠ {self.second}"


def unlike_ingredients(first: MeasuredRun, second: MeasuredRun, keys: Collection[str]) -> list[Unlike]:
    """Every reason not to compare these runs over these value keys; empty if they are alike."""
    found = [*_of_status(first, second), *_of_spec(first, second, keys)]
    if _were_read(first, second):
        found += _of_samples(first.samples, second.samples)
    found += _of_metrics(first, second, keys)
    return found


def require_alike(
    first: MeasuredRun, second: MeasuredRun, keys: Collection[str], *, common: bool, regrouped: Collection[str] = ()
) -> None:
    """Raise UnlikeRunsError with every ingredient that differs; with ``common`` another selection is no reason."""
    found = unlike_ingredients(first, second, keys)
    if regrouped:
        found.append(
            Unlike(
                ingredient=f"size groups of regions in {format_count(len(regrouped), 'samples')}",
                first=f"as in {_text(next(iter(regrouped)))}",
                second="other groups",
            )
        )
    reasons = [item for item in found if not (common and item.is_selection)]
    if reasons:
        lines = "".join(f"\n  {item}" for item in reasons)
        hint = f"\n{COMMON_HINT}" if all(item.is_selection for item in reasons) else ""
        names = f"{_text(first.label)} and {_text(second.label)}"
        raise UnlikeRunsError(f"{names} cannot be compared; they differ in{lines}{hint}")


def environment_notes(first: MeasuredRun, second: MeasuredRun) -> list[str]:
    """Differences that are no reason to refuse, but good to know: precision, device, package versions."""
    one, two = first.result, second.result
    pairs = [(name, getattr(one.spec, name), getattr(two.spec, name)) for name in ("dtype", "device", "batch_size")]
    for part in ("packages", "codecs"):
        ours, theirs = one.environment.get(part), two.environment.get(part)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            names = dict.fromkeys([*ours, *theirs])
            pairs += [(str(name), ours.get(name, _ABSENT), theirs.get(name, _ABSENT)) for name in names]
    facts = ("tokbench", "python", "device_name")
    pairs += [(name, one.environment.get(name), two.environment.get(name)) for name in facts]
    return [
        f"{_text(name).replace('_', ' ')}: {_text(ours)}, {_text(theirs)}"
        for name, ours, theirs in pairs
        if ours != theirs
    ]


def _of_status(first: MeasuredRun, second: MeasuredRun) -> Iterator[Unlike]:
    if first.result.status == second.result.status == "complete":
        return
    yield Unlike(
        ingredient="status (both must be complete)",
        first=_status(first),
        second=_status(second),
        is_selection=_were_read(first, second),
    )


def _status(run: MeasuredRun) -> str:
    reason = run.result.reason
    return f"{run.result.status} ({_text(reason)})" if reason else run.result.status


def _were_read(first: MeasuredRun, second: MeasuredRun) -> bool:
    return all(run.result.status in ("complete", "partial") for run in (first, second))


def _of_spec(first: MeasuredRun, second: MeasuredRun, keys: Collection[str]) -> Iterator[Unlike]:
    one, two = first.result.spec, second.result.spec
    for name, ours, theirs in _leaves(with_defaults(one.task), with_defaults(two.task)):
        yield Unlike(ingredient=f"task {_text(name)}", first=_text(ours), second=_text(theirs))
    if one.manifest_digest != two.manifest_digest:
        yield Unlike(ingredient="data digest", first=_text(one.manifest_digest), second=_text(two.manifest_digest))
    if one.limit != two.limit:
        yield Unlike(ingredient="limit", first=_text(one.limit), second=_text(two.limit), is_selection=True)
    is_random = not (one.tokenizer.deterministic and two.tokenizer.deterministic)
    is_random |= any(
        value.group == "robustness" or (value.branch and not value.branch.startswith("length="))
        for run in (first, second)
        for key in keys
        if (value := run.value(key)) is not None
    )
    if is_random and one.seed != two.seed:
        yield Unlike(ingredient="seed", first=_text(one.seed), second=_text(two.seed))


def _leaves(one: Any, two: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Name and both values wherever two definitions differ."""
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        for key in dict.fromkeys([*one, *two]):
            if name or key not in _WORDS_OF_A_TASK:
                below = f"{name}.{key}" if name else str(key)
                yield from _leaves(one.get(key, _ABSENT), two.get(key, _ABSENT), below)
    elif _plain(one) != _plain(two):
        yield name, one, two


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _of_samples(first: Mapping[str, SampleFacts], second: Mapping[str, SampleFacts]) -> Iterator[Unlike]:
    only_first = [name for name in first if name not in second]
    only_second = [name for name in second if name not in first]
    if only_first or only_second:
        yield Unlike(
            ingredient=f"samples ({len(first):,} and {len(second):,})",
            first=_some(only_first, "only here"),
            second=_some(only_second, "only here"),
            is_selection=True,
        )
    both = [name for name in first if name in second]
    failed = [
        [name for name in both if not ours[name].is_ok and theirs[name].is_ok]
        for ours, theirs in ((first, second), (second, first))
    ]
    if any(failed):
        yield Unlike(
            ingredient="failed samples",
            first=_some(failed[0], "only here"),
            second=_some(failed[1], "only here"),
            is_selection=True,
        )
    ok = [name for name in both if first[name].is_ok and second[name].is_ok]
    facts = (("reference_sha256", "compared reference"), ("size_px", "compared grid"), ("cluster", "cluster"))
    for fact, words in facts:
        differing = [name for name in ok if getattr(first[name], fact) != getattr(second[name], fact)]
        if differing:
            yield Unlike(
                ingredient=f"{words} of {format_count(len(differing), 'samples')}, {_text(differing[0])} among them",
                first=_text(getattr(first[differing[0]], fact)),
                second=_text(getattr(second[differing[0]], fact)),
            )


def _of_metrics(first: MeasuredRun, second: MeasuredRun, keys: Collection[str]) -> Iterator[Unlike]:
    for key in keys:
        one, two = first.value(key), second.value(key)
        if one is None or two is None:
            continue
        for name in ("version", "unit", "better", "kind", "aggregate"):
            ours, theirs = getattr(one, name), getattr(two, name)
            if ours != theirs:
                yield Unlike(ingredient=f"{name} of {_text(key)}", first=_text(ours), second=_text(theirs))
        ours, theirs = first.columns.get(key), second.columns.get(key)
        if ours is not None and theirs is not None and not _same(ours.units, theirs.units):
            yield Unlike(
                ingredient=f"n of {_text(key)}",
                first=format_count(len(ours.units), _text(one.n_unit)),
                second=f"{format_count(len(theirs.units), _text(two.n_unit))}, not all the same",
                is_selection=True,
            )
    yield from _of_recognisers(first, second, keys)


def _of_recognisers(first: MeasuredRun, second: MeasuredRun, keys: Collection[str]) -> Iterator[Unlike]:
    """Metrics that each run has, but with no recogniser in common."""
    engines: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for key in keys:
        stem, dot, engine = key.partition("@")[0].partition(".")
        if dot:
            for place, run in enumerate((first, second)):
                if run.value(key) is not None:
                    engines.setdefault(stem, ({}, {}))[place][engine] = None
    for stem, (ours, theirs) in engines.items():
        if ours and theirs and not ours.keys() & theirs.keys():
            yield Unlike(
                ingredient=f"recogniser of {_text(stem)}",
                first=_text(", ".join(ours)),
                second=_text(", ".join(theirs)),
            )


def _same(one: Any, two: Any) -> bool:
    return len(one) == len(two) and bool((one == two).all())


def _some(names: Sequence[str], what: str) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"{_text(names[0])}{more} {what}"


def _text(value: Any) -> str:
    if isinstance(value, tuple | list) and all(isinstance(item, int) for item in value):
        return "×".join(map(str, value)) or "none"
    return terminal(shorten(str(value), _MAX_TEXT))
