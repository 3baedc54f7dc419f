"""Finding plug-ins."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from tokbench import registry
from tokbench.cards import METRIC_GROUPS, MetricCard, TokenizerCard
from tokbench.errors import DuplicateNameError, UnknownNameError, UsageError
from tokbench.registry import did_you_mean, metrics, select_metrics, tokenizers


@pytest.fixture
def fresh() -> Iterator[None]:
    """Registries that are read anew, before and after."""
    tokenizers.cache_clear()
    metrics.cache_clear()
    yield
    tokenizers.cache_clear()
    metrics.cache_clear()


def module_of(name: str, **attributes: object) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(attributes)
    return module


def test_metrics_by_all_group_and_key() -> None:
    everything = [metric.card.key for metric in select_metrics("all")]
    assert "psnr" in everything
    assert len(everything) == len(set(everything))
    pixel = [metric.card.key for metric in select_metrics("pixel")]
    assert set(pixel) < set(everything)
    assert [metric.card.key for metric in select_metrics("psnr, bpp,psnr")] == ["psnr", "bpp"]
    assert [metric.card.key for metric in select_metrics(["ssim"])] == ["ssim"]


def test_metrics_come_in_group_order() -> None:
    groups = [METRIC_GROUPS.index(metric.card.group) for metric in select_metrics("all")]
    assert groups == sorted(groups)


def test_unknown_metrics_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no metric or group named 'pnsr' \(did you mean psnr"):
        select_metrics("pnsr")
    with pytest.raises(UsageError, match="empty"):
        select_metrics(" , ")


def test_a_name_seen_twice_is_an_error(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    card = TokenizerCard(name="twin/a")
    one, two = module_of("one", CARDS=(card,)), module_of("two", CARDS=(card,))
    monkeypatch.setattr(registry, "_modules", lambda *_: ([one, two], {}))
    with pytest.raises(DuplicateNameError, match="'twin/a' is declared by one and by two"):
        tokenizers()
    tokenizers.cache_clear()
    two.CARDS = (TokenizerCard(name="twin/b"),)  # type: ignore[attr-defined]
    with pytest.raises(DuplicateNameError, match="twin/b"):
        tokenizers()


def test_a_metric_key_seen_twice_is_an_error(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = select_metrics("psnr")[0]
    metrics.cache_clear()
    monkeypatch.setattr(registry, "_modules", lambda *_: ([module_of("m", METRICS=(metric, metric))], {}))
    with pytest.raises(DuplicateNameError, match="'psnr' is declared twice"):
        metrics()


def test_a_broken_plug_in_of_others_is_shown_not_fatal(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint(name="theirs", value="package_that_is_not_there.adapter", group="tokbench.tokenizers")
    wrong = EntryPoint(name="wrong", value="math:pi", group="tokbench.tokenizers")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry, wrong])
    found = tokenizers()
    assert "ModuleNotFoundError" in found.broken["theirs (package_that_is_not_there.adapter)"]
    assert "must name a module" in found.broken["wrong (math:pi)"]
    assert found.items


def test_near_names() -> None:
    assert did_you_mean("lgb", ["lbg", "pca"]) == " (did you mean lbg?)"
    assert did_you_mean("xyz", ["lbg", "pca"]) == ""


@pytest.mark.parametrize("name", ["Upper/case", "a b", "", "x/y/z", "../up", "a/"])
def test_tokenizer_names_are_checked(name: str) -> None:
    with pytest.raises(UsageError):
        TokenizerCard(name=name)


def test_cards_that_contradict_themselves() -> None:
    with pytest.raises(UsageError, match="go together"):
        TokenizerCard(name="a", prefix_axis="streams")
    with pytest.raises(UsageError, match="counts from 1"):
        MetricCard(key="a", version=0, kind="pair", group="pixel", title="", better="higher")
    with pytest.raises(UsageError, match="snake case"):
        MetricCard(key="A-b", version=1, kind="pair", group="pixel", title="", better="higher")
