"""What a run costs beyond seconds per image: latency, tokens per second, parameters, memory and operations.

Latencies come from timings, warm-up left out; the rest from a :class:`Footprint`, measured once after the run on one
image. All of it belongs to the machine in the result file.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Literal

from tokbench.cards import MetricCard
from tokbench.contracts import Feature, Summary, Timing
from tokbench.metrics.efficiency import used_timings
from tokbench.wrapping import wrap

if TYPE_CHECKING:
    import torch

_DEPTH = 6  # how far below the tokenizer weights are looked for


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What a tokenizer takes besides time.

    Attributes:
        parameters: see :func:`find_weights`; shared ones count once.
        flops: floating-point operations to encode and decode one image, two a multiply-add.
        device_peak_bytes: most memory of the accelerator while one image is encoded and decoded, weights included.
        process_peak_bytes: most main memory the process has held so far, everything included.
        tokens_per_image: mean over the run.
        reasons: why a number is None, by its name.
    """

    parameters: int | None = None
    flops: int | None = None
    device_peak_bytes: int | None = None
    process_peak_bytes: int | None = None
    tokens_per_image: float | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FootprintMetric:
    """A :class:`~tokbench.contracts.CostMetric` of timings and the tokenizer's footprint."""

    card: MetricCard
    function: Callable[[Sequence[Timing], Footprint], Summary]
    features: tuple[Feature, ...] = ()

    def summarise(self, timings: Sequence[Timing], *, footprint: Footprint | None = None) -> Summary:
        return self.function(timings, Footprint() if footprint is None else footprint)


def latency(timings: Sequence[Timing], *, percent: int) -> Summary:
    """A percentile over batches of the seconds from a batch of images to its reconstructions; lower is better.

    The smallest time that at least so many percent of the batches keep (nearest rank). Only batches of the commonest
    size count, the larger of equally common ones; the interval lies between two order statistics and needs no
    distribution, but takes batches as independent.
    """
    used, details = used_timings(timings)
    if not used:
        return Summary(value=None, n=0, n_unit="batches", reason="nothing was timed")
    sizes = Counter(timing.n for timing in used)
    size = max(sizes, key=lambda n: (sizes[n], n))
    each = sorted(timing.encode_s + timing.decode_s for timing in used if timing.n == size)
    rank = max(1, -(-len(each) * percent // 100))
    ranks = percentile_ranks(len(each), percent=percent)
    details |= {"batch_size": size, "batches": len(each)}
    return Summary(
        value=each[rank - 1],
        n=len(each),
        n_unit="batches",
        ci95=None if ranks is None else (each[ranks[0] - 1], each[ranks[1] - 1]),
        details=details,
    )


def percentile_ranks(n: int, *, percent: int) -> tuple[int, int] | None:
    """Ranks l < u such that the l-th and u-th smallest of n draws hold the percentile with 95 % probability.

    At most 2.5 % is left on either side, by the binomial; None where n is too small for that.
    """
    share, below, low, high = percent / 100, 0.0, 0, 0
    for k in range(n + 1):  # k draws lie below the percentile
        chance = _binomial(n, k, share)
        if below + chance <= 0.025:
            low = k + 1
        below += chance
        if not high and below >= 0.975:
            high = k + 1
    return (low, high) if 1 <= low < high <= n else None


def _binomial(n: int, k: int, share: float) -> float:
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(share) + (n - k) * math.log1p(-share))


def tokens_per_second(timings: Sequence[Timing], footprint: Footprint) -> Summary:
    """Mean tokens an image over mean seconds to encode and decode one, from totals; higher is better."""
    used, details = used_timings(timings)
    n, seconds = sum(timing.n for timing in used), math.fsum(timing.encode_s + timing.decode_s for timing in used)
    if seconds <= 0:
        return Summary(value=None, n=n, reason="too fast for the clock" if used else "nothing was timed")
    if footprint.tokens_per_image is None:
        return Summary(value=None, n=n, reason=_reason(footprint, "tokens_per_image"))
    details["tokens_per_image"] = footprint.tokens_per_image
    return Summary(value=footprint.tokens_per_image * n / seconds, n=n, details=details)


def _of_footprint(name: str) -> Callable[[Sequence[Timing], Footprint], Summary]:
    """A summary of one of the footprint's numbers."""

    def summary(timings: Sequence[Timing], footprint: Footprint) -> Summary:
        number, n = getattr(footprint, name), sum(timing.n for timing in timings)
        if number is None:
            return Summary(value=None, n=n, reason=_reason(footprint, name))
        return Summary(value=float(number), n=n)

    return summary


def _reason(footprint: Footprint, name: str) -> str:
    return footprint.reasons.get(name) or "the tokenizer's footprint was not measured"


def measure_footprint(tokenizer: Any, image: torch.Tensor, *, seed: int = 0) -> Footprint:
    """Look at a tokenizer and run it on one image.

    Called after the run, the process's peak includes the run.

    Args:
        tokenizer: anything :func:`tokbench.wrapping.wrap` takes.
        image: float ``(1, 3, h, w)`` in [0, 1], on the tokenizer's device.
        seed: for encoders and decoders that draw random numbers.
    """
    import torch

    reasons: dict[str, str] = {}
    process = process_peak_bytes()
    if process is None:
        reasons["process_peak_bytes"] = "this system does not say"
    model = wrap(tokenizer)

    def both() -> None:
        model.decode(model.encode(image, seeds=[seed]), seeds=[seed])

    device: int | None = None
    flops: int | None = None
    try:
        with torch.no_grad():  # inference mode hides operations from the counter
            device = _device_peak_bytes(both, image.device, reasons)
            flops = _count_flops(both, reasons)
    except Exception as err:  # third-party code may raise anything; the reason stands in the result
        for name in ("device_peak_bytes", "flops"):
            reasons.setdefault(name, f"running it on one image failed: {type(err).__name__}: {err}")
    return Footprint(
        parameters=_count_parameters(tokenizer, reasons),
        flops=flops,
        device_peak_bytes=device,
        process_peak_bytes=process,
        reasons=reasons,
    )


def find_weights(root: Any) -> Iterator[torch.Tensor]:
    """Parameters of the torch modules an object holds, and floating-point tensors it holds outside of modules.

    In its attributes, theirs, and items of their containers, six levels down; a tensor may come more than once.
    """
    import torch

    leaves = (str, bytes, int, float, type, ModuleType, FunctionType)
    known, level = set[int](), [root]
    for _ in range(_DEPTH):
        below: list[Any] = []
        for item in level:
            if id(item) in known or isinstance(item, leaves):
                continue
            known.add(id(item))
            if isinstance(item, torch.nn.Module):
                yield from item.parameters()
            elif isinstance(item, torch.Tensor):
                yield from [item] if item.is_floating_point() else []
            elif isinstance(item, Mapping):
                below += item.values()
            elif isinstance(item, list | tuple | set | frozenset):
                below += item
            else:
                below += _attributes(item)
        level = below


def _attributes(item: Any) -> list[Any]:
    slots = [name for kind in type(item).__mro__ for name in vars(kind).get("__slots__", ())]
    return [*getattr(item, "__dict__", {}).values(), *(getattr(item, name, None) for name in slots)]


def process_peak_bytes() -> int | None:
    """The most main memory this process has held, in bytes; None where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _device_peak_bytes(call: Callable[[], None], device: torch.device, reasons: dict[str, str]) -> int | None:
    import torch

    if device.type != "cuda":
        reasons["device_peak_bytes"] = f"ran on {device.type}, which keeps no count of its own"
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device))


def _count_flops(call: Callable[[], None], reasons: dict[str, str]) -> int | None:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    if total := int(counter.get_total_flops()):
        return total
    reasons["flops"] = "it ran no operation torch counts (matrix products, convolutions, attention)"
    return None


def _count_parameters(tokenizer: Any, reasons: dict[str, str]) -> int | None:
    sizes = {id(weight): weight.numel() for weight in find_weights(tokenizer)}
    if not sizes:
        reasons["parameters"] = "the tokenizer holds no torch module and no tensor"
        return None
    return sum(sizes.values())


def _card(key: str, title: str, unit: str, notes: str, *, better: Literal["higher", "lower"] = "lower") -> MetricCard:
    return MetricCard(
        key=key, version=1, kind="cost", group="efficiency", title=title, unit=unit, better=better, low=0.0,
        aggregate="total", undefined="it could not be measured", notes=notes,
    )  # fmt: skip


METRICS = (
    FootprintMetric(
        card=_card("latency_p50_s", "Latency of a batch, median", "s", "Encoding and decoding; batches of one size."),
        function=lambda timings, _: latency(timings, percent=50),
    ),
    FootprintMetric(
        card=_card("latency_p95_s", "Latency of a batch, 95th percentile", "s", "As latency_p50_s."),
        function=lambda timings, _: latency(timings, percent=95),
    ),
    FootprintMetric(
        card=_card(
            "tokens_per_s", "Tokens per second", "tokens/s", "Encoding and decoding together, from totals.",
            better="higher",
        ),
        function=tokens_per_second,
    ),
    FootprintMetric(
        card=_card("parameters", "Parameters", "", "Of all torch modules the tokenizer holds, used or "
            "not, and floating-point tensors it holds outside of modules; buffers of modules do not count."),
        function=_of_footprint("parameters"),
    ),
    FootprintMetric(
        card=_card(
            "flops", "Operations per image", "FLOP",
            "torch.utils.flop_counter on one image, encoding and decoding, 2 a multiply-add: matrix products, "
            "convolutions and attention only.",
        ),
        function=_of_footprint("flops"),
    ),
    FootprintMetric(
        card=_card(
            "peak_memory_bytes", "Peak memory of the process", "B",
            "Resident main memory at its highest during the run: tokenizer, metrics, images and libraries.",
        ),
        function=_of_footprint("process_peak_bytes"),
    ),
    FootprintMetric(
        card=_card(
            "peak_device_memory_bytes", "Peak memory of the device", "B",
            "Allocated by torch while one image is encoded and decoded, weights included.",
        ),
        function=_of_footprint("device_peak_bytes"),
    ),
)  # fmt: skip
