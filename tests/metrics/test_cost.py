from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tokbench.contracts import CostMetric, Timing
from tokbench.encodings import Latents
from tokbench.metrics import cost
from tokbench.metrics.cost import Footprint, find_weights, measure_footprint, percentile_ranks, process_peak_bytes

P50, P95, TOKENS, PARAMETERS, FLOPS, MEMORY, DEVICE = cost.METRICS


def timings(seconds: list[float], n: int = 4) -> list[Timing]:
    return [Timing(n=n, encode_s=s / 4, decode_s=3 * s / 4, is_warm_up=False) for s in seconds]


def test_percentiles_are_nearest_ranks() -> None:
    times = timings([float(second) for second in range(1, 101)])
    assert P50.summarise(times).value == 50
    assert P95.summarise(times).value == 95
    assert P95.summarise(times[:7]).value == 7
    assert P50.summarise(times[:1]).value == 1
    result = P50.summarise(times)
    assert (result.n, result.n_unit, result.details["batch_size"]) == (100, "batches", 4)
    assert result.ci95[0] < 50 < result.ci95[1]


def test_only_settled_batches_of_the_commonest_size_count() -> None:
    mixed = [Timing(n=4, encode_s=99, decode_s=99, is_warm_up=True), *timings([2, 2, 4]), *timings([0.5], n=1)]
    result = P95.summarise(mixed)
    assert (result.value, result.n) == (4, 3)
    assert result.details["warm_up_batches_left_out"] == 1
    assert P50.summarise(timings([1], n=1) + timings([2], n=8)).value == 2


@pytest.mark.parametrize("percent", [50, 95])
@pytest.mark.parametrize("n", [6, 20, 73, 100, 499, 501, 700])
def test_percentile_ranks_are_the_tightest_that_hold_the_percentile(n: int, percent: int) -> None:
    share = Fraction(percent, 100)
    chances = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    ranks = percentile_ranks(n, percent=percent)
    if ranks is None:
        assert chances[0] > Fraction(1, 40) or chances[n] > Fraction(1, 40)
        return
    low, high = ranks  # the percentile lies above the low-th smallest unless fewer than ``low`` draws are below it
    assert sum(chances[:low]) <= Fraction(1, 40) < sum(chances[: low + 1])
    assert sum(chances[high:]) <= Fraction(1, 40) < sum(chances[high - 1 :])


def test_small_sets_have_no_interval() -> None:
    assert percentile_ranks(5, percent=50) is None
    assert percentile_ranks(6, percent=50) == (1, 6)
    assert percentile_ranks(60, percent=95) is None


def test_tokens_per_second() -> None:
    footprint = Footprint(tokens_per_image=256.0)
    assert TOKENS.summarise(timings([2, 2]), footprint=footprint).value == pytest.approx(256 * 8 / 4)
    latents = Footprint(reasons={"tokens_per_image": "continuous latents have no tokens"})
    assert "no tokens" in TOKENS.summarise(timings([1]), footprint=latents).reason
    assert "clock" in TOKENS.summarise(timings([0]), footprint=footprint).reason


@pytest.mark.parametrize("metric", cost.METRICS, ids=lambda metric: metric.card.key)
def test_without_measurements_there_is_a_reason(metric: CostMetric) -> None:
    assert isinstance(metric, CostMetric)
    result = metric.summarise([])
    assert result.value is None
    assert result.reason


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = torch.nn.Conv2d(3, 8, 4, stride=4)
        self.up = torch.nn.ConvTranspose2d(8, 3, 4, stride=4)


class Tokenizer:
    """A tokenizer that holds its module two levels down, and twice."""

    def __init__(self) -> None:
        self.inner = SimpleNamespace(parts=[{"net": Model()}], numpy=np)
        self.again = self.inner.parts[0]["net"]
        self.loop = self

    def encode(self, images: torch.Tensor) -> Latents:
        return Latents(values=self.again.down(images))

    def decode(self, encoding: Latents, *, seeds: list[int]) -> torch.Tensor:
        assert len(seeds) == encoding.values.shape[0]
        return self.again.up(encoding.values)


def test_the_footprint_of_a_known_network() -> None:
    tokenizer = Tokenizer()
    footprint = measure_footprint(tokenizer, torch.zeros(1, 3, 32, 32))
    assert footprint.parameters == (3 * 8 * 16 + 8) + (8 * 3 * 16 + 3)
    assert footprint.flops == 2 * (64 * 8 * 3 * 16) * 2
    assert footprint.process_peak_bytes > 50e6
    assert footprint.device_peak_bytes is None
    assert "cpu" in footprint.reasons["device_peak_bytes"]
    for metric, number in ((PARAMETERS, footprint.parameters), (FLOPS, footprint.flops)):
        assert metric.summarise(timings([1]), footprint=footprint).value == number
    assert MEMORY.summarise(timings([1]), footprint=footprint).value == footprint.process_peak_bytes
    assert "cpu" in DEVICE.summarise(timings([1]), footprint=footprint).reason


def test_shared_weights_count_once() -> None:
    first, second = Model(), Model()
    second.down.weight = first.down.weight
    assert len({id(weight) for weight in find_weights([first, second, first])}) == 7
    tokenizer = Tokenizer()
    tokenizer.other = SimpleNamespace(model=tokenizer.again)
    assert measure_footprint(tokenizer, torch.zeros(1, 3, 8, 8)).parameters == 392 + 387


def test_tensors_outside_of_modules_count() -> None:
    loose = SimpleNamespace(codebook=torch.zeros(16, 4), counts=torch.zeros(9, dtype=torch.int64), same=None)
    loose.same = {"again": loose.codebook}
    assert sum(weight.numel() for weight in find_weights(loose)) == 64


def test_a_tokenizer_without_modules_or_counted_operations_says_so() -> None:
    plain = SimpleNamespace(encode=lambda images: images * 2, decode=lambda images, seeds: images / 2)
    footprint = measure_footprint(plain, torch.zeros(1, 3, 8, 8))
    assert (footprint.parameters, footprint.flops) == (None, None)
    assert "no torch module" in PARAMETERS.summarise(timings([1]), footprint=footprint).reason
    assert "convolutions" in FLOPS.summarise(timings([1]), footprint=footprint).reason


def test_a_tokenizer_that_fails_leaves_the_rest() -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no")

    footprint = measure_footprint(SimpleNamespace(encode=fail, decode=fail, net=Model()), torch.zeros(1, 3, 8, 8))
    assert footprint.parameters == 779
    assert "RuntimeError: no" in footprint.reasons["flops"]


def test_the_peak_of_the_process_only_rises() -> None:
    before = process_peak_bytes()
    assert before is not None
    block = np.ones(10**7)
    assert process_peak_bytes() >= max(before, block.nbytes)


def test_the_peak_of_a_device_is_counted_from_a_fresh_start(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("synchronize", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda device, name=name: calls.append(f"{name} {device}"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: calls.append("read") or 4096)
    peak = cost._device_peak_bytes(lambda: calls.append("run"), torch.device("cuda:1"), {})
    assert peak == 4096
    sync = "synchronize cuda:1"
    assert calls == [sync, "reset_peak_memory_stats cuda:1", "run", sync, "read"]
