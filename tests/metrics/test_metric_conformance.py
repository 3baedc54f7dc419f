"""What every metric of this package promises, whatever it measures."""

from __future__ import annotations

import importlib
import math
import pkgutil
import subprocess
import sys
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from metric_inputs import compare, noisy, photographs
from network_inputs import features_of, labelled

import tokbench.metrics
from tokbench.cards import METRIC_GROUPS
from tokbench.contracts import Comparison, CostMetric, PairMetric, RegionMetric, StatefulMetric, Summary, Timing
from tokbench.encodings import Encoding, Tokens
from tokbench.metrics.base import per_comparison
from tokbench.metrics.features import NetworkFeature
from tokbench.requirements import why_unavailable
from tokbench.samples import Region

FAMILIES = (
    "agreement",
    "codebook",
    "cost",
    "dists",
    "efficiency",
    "feature_distances",
    "language",
    "lpips",
    "pixel",
    "rate",
    "regions",
    "squeeze_distance",
    "ssim",
    "usage",
    "vif",
)
METRICS = [
    metric
    for name in FAMILIES
    for metric in importlib.import_module(f"tokbench.metrics.{name}").METRICS
    if not why_unavailable(metric)
]
NETWORK_FEATURES = {f.name: f for metric in METRICS for f in metric.features if isinstance(f, NetworkFeature)}
KINDS = {"pair": PairMetric, "region": RegionMetric, "set": StatefulMetric, "code": StatefulMetric, "cost": CostMetric}


def by_kind(*kinds: str, has_perfect: bool = False) -> pytest.MarkDecorator:
    """Metrics of these kinds; ``has_perfect`` leaves out those that never look at the reconstruction."""
    chosen = [metric for metric in METRICS if metric.card.kind in kinds]
    if has_perfect:
        chosen = [metric for metric in chosen if metric.card.perfect is not None]
    return pytest.mark.parametrize("metric", chosen, ids=lambda metric: metric.card.key)


def comparison(rows: list[int], *, sigma: float = 12, encoding: Encoding | None = None) -> Comparison:
    """The given rows of a fixed set of four images, with everything any metric reads."""
    reference = photographs(4)
    reconstruction = noisy(reference, sigma) if sigma else reference.clone()
    tokens = Tokens.grid(torch.arange(4 * 9).reshape(4, 3, 3) ** 2 % 11, codebook_size=16)
    regions = [
        [Region(kind=kind, box=(8.0 * row, 5.5, 90.0, 60.0 + row)) for kind in ("word", "face", "word")]
        for row in range(4)
    ]
    ours, theirs = network_features(0), network_features(sigma)
    given = compare(
        reference[rows],
        reconstruction[rows],
        encoding=tokens.select(rows) if encoding is None else encoding,
        regions=[regions[row] for row in rows],
        features={
            "lossless_webp": [{"bytes": np.array(1000 + row)} for row in rows],
            **{name: [column[row] for row in rows] for name, column in ours.items()},
        },
    )
    return replace(
        labelled(given, ["n02124075"] * len(rows)),
        reconstruction_features={name: [column[row] for row in rows] for name, column in theirs.items()},
    )


@lru_cache
def network_features(sigma: float) -> dict[str, list[dict[str, np.ndarray]]]:
    """Of the four images, or of their copies with noise: they do not depend on the batch (tests/networks)."""
    images = noisy(photographs(4), sigma) if sigma else photographs(4)
    return {name: features_of(feature, images) for name, feature in NETWORK_FEATURES.items()}


def test_keys_are_unique() -> None:
    keys = [metric.card.key for metric in METRICS]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.card.key)
def test_card_and_object_fit_the_contract(metric: PairMetric) -> None:
    card = metric.card
    assert isinstance(metric, KINDS[card.kind])
    assert card.group in METRIC_GROUPS
    assert card.title
    assert card.undefined or card.kind in ("pair", "region")
    if card.perfect is not None:
        assert card.perfect == (card.high if card.better == "higher" else card.low)
    names = [feature.name for feature in metric.features]
    assert len(names) == len(set(names))
    with pytest.raises(AttributeError):
        metric.card = card  # type: ignore[misc]


@by_kind("pair")
def test_pair_values_do_not_depend_on_batch_or_order(metric: PairMetric) -> None:
    together = metric.measure(comparison([0, 1, 2, 3]))
    assert len(together) == 4
    assert [metric.measure(comparison([row]))[0] for row in range(4)] == together
    assert metric.measure(comparison([3, 1, 0, 2])) == [together[row] for row in (3, 1, 0, 2)]
    for value in together:
        assert type(value) is float
        assert math.isfinite(value)
        assert (metric.card.low or 0) <= value <= (math.inf if metric.card.high is None else metric.card.high)


@by_kind("region")
def test_region_values_do_not_depend_on_batch_or_order(metric: RegionMetric) -> None:
    together = metric.measure_regions(comparison([0, 1, 2, 3]))
    assert [metric.measure_regions(comparison([row]))[0] for row in range(4)] == together
    expected = [0, 2] if metric.region_kind == "word" else [1]
    assert all(list(values) == expected for values in together)


@by_kind("set", "code")
def test_set_values_do_not_depend_on_batch_order_or_merging(metric: StatefulMetric) -> None:
    """To the last bit, where the state is no list of rows; those are equal in order, and the value to rounding."""
    whole = metric.new_state()
    metric.update(whole, comparison([0, 1, 2, 3]))
    keeps_rows = any(field.reduction == "cat" for field in whole.fields.values())
    for split in ([[0], [1, 2], [3]], [[2], [3, 0], [1]]):
        parts = metric.new_state()
        for rows in split:
            half = metric.new_state()
            metric.update(half, comparison(rows))
            parts.merge(half)
        if keeps_rows and split[0] != [0]:
            assert metric.compute(parts).value == pytest.approx(metric.compute(whole).value, rel=1e-9)
        else:
            assert parts == whole
            assert plain(metric.compute(parts)) == plain(metric.compute(whole))
    empty = metric.compute(metric.new_state())
    assert empty.value is None
    assert empty.reason


def plain(summary: Summary) -> Summary:
    """The summary with its influences as something that has an ``==``."""
    return replace(summary, influences=None if summary.influences is None else summary.influences.tolist())


@by_kind("pair", "region", "set", has_perfect=True)
def test_identity_is_perfect(metric: object) -> None:
    same = comparison([0, 1], sigma=0)
    if isinstance(metric, PairMetric):
        assert metric.measure(same) == [metric.card.perfect] * 2
    elif isinstance(metric, RegionMetric):
        assert {answer.value for row in metric.measure_regions(same) for answer in row.values()} == {
            metric.card.perfect
        }
    elif isinstance(metric, StatefulMetric):
        state = metric.new_state()
        metric.update(state, same)
        assert metric.compute(state).value == metric.card.perfect


@by_kind("pair", "region", "set", has_perfect=True)
def test_more_noise_is_worse(metric: object) -> None:
    values = []
    for sigma in (4, 12, 40):
        noisier = comparison([0, 1] if metric.card.kind == "set" else [0], sigma=sigma)
        if isinstance(metric, PairMetric):
            values.append(metric.measure(noisier)[0])
        elif isinstance(metric, RegionMetric):
            values.append(min(answer.value or 0 for answer in metric.measure_regions(noisier)[0].values()))
        elif isinstance(metric, StatefulMetric):
            state = metric.new_state()
            metric.update(state, noisier)
            values.append(metric.compute(state).value)
    assert values == sorted(values, reverse=metric.card.better == "higher")
    assert len(set(values)) == 3 or set(values) <= {0.0, 1.0}  # a question answered by yes or no


@by_kind("pair", "region", "set", "code")
def test_inputs_are_not_modified(metric: object) -> None:
    given = comparison([0, 1])
    before = (given.reference.clone(), given.reconstruction.clone(), given.encoding.streams[0].indices.clone())
    if isinstance(metric, PairMetric):
        metric.measure(given)
    elif isinstance(metric, RegionMetric):
        metric.measure_regions(given)
    elif isinstance(metric, StatefulMetric):
        metric.update(metric.new_state(), given)
    after = (given.reference, given.reconstruction, given.encoding.streams[0].indices)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@by_kind("cost")
def test_cost_values_do_not_depend_on_order(metric: CostMetric) -> None:
    timings = [Timing(n=1 + step % 3, encode_s=0.1 * step, decode_s=0.3, is_warm_up=step == 0) for step in range(9)]
    assert metric.summarise(timings) == metric.summarise(timings[::-1])


def test_work_is_shared_within_a_comparison_and_forgotten_with_it() -> None:
    calls = []
    count = per_comparison(lambda given: calls.append(given.reference.shape[0]) or len(calls))
    one, other = comparison([0]), comparison([0, 1])
    assert [count(one), count(one), count(other), count(one)] == [1, 1, 2, 1]
    assert calls == [1, 2]


def test_importing_the_metrics_imports_no_torch() -> None:
    modules = [f"tokbench.metrics.{found.name}" for found in pkgutil.iter_modules(tokbench.metrics.__path__)]
    mine = [name for name in modules if name.rpartition(".")[2] in (*FAMILIES, "base", "state", "codes")]
    code = f"import sys, importlib; [importlib.import_module(n) for n in {mine!r}]; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
