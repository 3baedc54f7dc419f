"""Do 95 % intervals hold the truth in 95 % of cases, and does the gate keep its promises? A simulation that says.

    python benchmarks/coverage.py            # 4,000 worlds a row, several minutes on one core
    python benchmarks/coverage.py --quick    # 400 worlds a row

Every row draws two synthetic tokenizers with a known effect again and again, compares them with the code that
`tokbench compare` and `tokbench check` use, and counts. Columns of the first table: how often the interval holds the
true difference, for the interval that is used (CR2 error, Satterthwaite's degrees of freedom), for the studentised
cluster bootstrap (``--interval bootstrap``), and for what both replace: the error and the clusters - 1 degrees of
freedom of a single value's interval (CR1), and the plain percentile bootstrap. ``!`` marks what is outside 93 to 97 %.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tokbench.estimates import ClusterTable, bootstrap, cluster_table, estimate, t_quantile
from tokbench.gate.items import GateItem, judged, tested

NOMINAL = (93.0, 97.0)
BOOTSTRAP_REPLICATES = 399
FEATURES = 12  # dimensions of the synthetic network
RATIO = 25  # images a dimension: that of FID on 50,000 images


class World(NamedTuple):
    """Units of one synthetic comparison: second - first, the cluster and the group of each."""

    differences: np.ndarray
    clusters: np.ndarray
    groups: np.ndarray | None = None
    n_groups: int = 1

    def table(self) -> ClusterTable:
        return cluster_table(self.differences, self.clusters, self.groups, n_groups=self.n_groups)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A kind of comparison with its true difference."""

    name: str
    truth: float
    draw: Callable[[np.random.Generator], World]


# ---- worlds ------------------------------------------------------------------------------------------------------


def crops(n_photographs: int, *, effect: float = 0.3, sizes: tuple[int, ...] = (1, 1, 1, 2, 3, 5)) -> Scenario:
    """PSNR of crops of photographs: crops of one photograph share how well it suits the second tokenizer."""

    def draw(rng: np.random.Generator) -> World:
        clusters = np.repeat(np.arange(n_photographs), np.resize(sizes, n_photographs))
        hard = rng.normal(28, 4, n_photographs)[clusters] + rng.normal(0, 2, len(clusters))
        second = hard + effect + rng.normal(0, 0.4, n_photographs)[clusters] + rng.normal(0, 0.5, len(clusters))
        return World(second - hard, clusters)

    return Scenario(name=f"mean over crops, {n_photographs} photographs", truth=effect, draw=draw)


def independent(n: int, *, effect: float = 0.3) -> Scenario:
    """PSNR of independent images."""
    made = crops(n, effect=effect, sizes=(1,))
    return Scenario(name=f"mean over {n} independent images", truth=effect, draw=made.draw)


def skewed(n: int) -> Scenario:
    """Differences with a long tail on one side: exponential."""

    def draw(rng: np.random.Generator) -> World:
        return World(rng.exponential(1.0, n) - 0.7, np.arange(n))

    return Scenario(name=f"mean over {n} images, long-tailed differences", truth=0.3, draw=draw)


def _lost_words(rng: np.random.Generator, read: np.ndarray, lose: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Words read by the first tokenizer and what becomes of them: second - first."""
    flips = rng.random(len(read)) < np.where(read, lose, gain)
    return np.where(read, -1.0, 1.0) * flips


def words(n_images: int, *, lose: float = 0.08, gain: float = 0.3) -> Scenario:
    """Words read, 1 to about 60 an image; an image loses all of its words more, or less, easily."""

    def draw(rng: np.random.Generator) -> World:
        clusters = np.repeat(np.arange(n_images), np.minimum(60, rng.geometric(1 / 12, n_images)))
        read = rng.random(len(clusters)) < 0.9
        prone = rng.beta(lose * 8, (1 - lose) * 8, n_images)[clusters]
        return World(_lost_words(rng, read, prone, np.full(len(read), gain)), clusters)

    rare = f", {100 * (0.9 * lose + 0.1 * gain):.2g} % of them change" if lose < 0.05 else ""
    return Scenario(name=f"words of {n_images} images{rare}", truth=0.1 * gain - 0.9 * lose, draw=draw)


def grouped_words(n_images: int) -> Scenario:
    """The unweighted mean over three size groups: large words are rare, small ones are lost more often."""
    shares, losses, gain = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.1, 0.05]), 0.3

    def draw(rng: np.random.Generator) -> World:
        clusters = np.repeat(np.arange(n_images), np.minimum(60, rng.geometric(1 / 12, n_images)))
        groups = rng.choice(3, len(clusters), p=shares)
        prone = rng.beta(2.0, 2.0, n_images)[clusters] * 2  # mean 1: common to the image's words of all sizes
        read = rng.random(len(clusters)) < 0.9
        flips = _lost_words(rng, read, losses[groups] * prone, np.full(len(read), gain))
        return World(flips, clusters, groups, 3)

    return Scenario(
        name=f"macro mean over 3 size groups, {n_images} images", truth=0.1 * gain - 0.9 * losses.mean(), draw=draw
    )


class Features:
    """A network's features of images and of two tokenizers' reconstructions, all Gaussian, so distances are known."""

    def __init__(
        self, *, noise: tuple[float, float] = (0.30, 0.34), shrink: tuple[float, float] = (0.93, 0.90)
    ) -> None:
        rng = np.random.default_rng(5)
        mix = rng.normal(0, 1, (FEATURES, FEATURES)) * (0.85 ** np.arange(FEATURES))
        self.root = mix
        self.covariance = mix.T @ mix
        self.noise, self.shrink = noise, shrink
        self.shift = 0.1 * rng.normal(0, 1, FEATURES)

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reference rows and both tokenizers' rows; errors of the two have a part in common."""
        reference = rng.normal(0, 1, (n, FEATURES)) @ self.root
        common, made = rng.normal(0, 1, (n, FEATURES)), []
        for noise, shrink in zip(self.noise, self.shrink, strict=True):
            own = rng.normal(0, 1, (n, FEATURES))
            made.append(reference * shrink + self.shift + noise * (0.8 * common + 0.6 * own))
        return reference, made[0], made[1]

    def distances(self) -> tuple[float, float]:
        """The true distance of each tokenizer."""
        from tokbench.metrics.frechet import frechet_distance

        zero = np.zeros(FEATURES)
        found = []
        for noise, shrink in zip(self.noise, self.shrink, strict=True):
            covariance = shrink**2 * self.covariance + noise**2 * np.eye(FEATURES)
            found.append(frechet_distance(zero, self.covariance, self.shift, covariance))
        return found[0], found[1]


def frechet_difference(ratio: int) -> Scenario:
    """The difference of two tokenizers' rFID, as the comparison has it: values and differences of influences."""
    features = Features()
    first, second = features.distances()

    def draw(rng: np.random.Generator) -> World:
        from tokbench.metrics.frechet import frechet_summary

        reference, one, two = features.draw(rng, ratio * FEATURES)
        ours, theirs = frechet_summary(reference, one), frechet_summary(reference, two)
        assert ours.influences is not None
        assert theirs.influences is not None
        moves = theirs.influences - ours.influences
        return World(moves + (theirs.value - ours.value), np.arange(len(moves)))  # a mean with those influences

    return Scenario(name=f"rFID, paired difference, {ratio} images a dimension", truth=second - first, draw=draw)


def frechet_value(ratio: int, *, corrected: bool) -> Scenario:
    """One tokenizer's rFID against its true value, or against what it is on average at this many images."""
    from tokbench.metrics.frechet import frechet_of_rows, frechet_summary

    features = Features()
    n = ratio * FEATURES
    truth = features.distances()[0]
    if corrected:
        rng = np.random.default_rng(99)
        truth = float(np.mean([frechet_of_rows(*features.draw(rng, n)[:2]) for _ in range(4000)]))

    def draw(rng: np.random.Generator) -> World:
        reference, one, _ = features.draw(rng, n)
        summary = frechet_summary(reference, one)
        assert summary.influences is not None
        return World(summary.influences + summary.value, np.arange(n))

    what = "its mean at this n" if corrected else "the true distance"
    return Scenario(name=f"rFID, {ratio} images a dimension, of {what}", truth=truth, draw=draw)


# ---- counting ----------------------------------------------------------------------------------------------------


def intervals(world: World, *, seed: str, resample: bool) -> Iterator[tuple[str, tuple[float, float] | None]]:
    """The interval of every method, by name."""
    table = world.table()
    made = estimate(table)
    yield "used", None if made.error == 0 else made.interval()
    if resample:
        drawn = bootstrap(table, seed=seed, replicates=BOOTSTRAP_REPLICATES)
        yield "bootstrap", None if drawn is None else drawn.ci95
    if world.n_groups == 1 and made.error is not None:
        clusters, n = table.n_clusters, table.counts.sum()
        residuals = table.sums - made.value * table.counts
        error = math.sqrt(clusters / (clusters - 1) * float((residuals**2).sum())) / n
        half = t_quantile(0.975, clusters - 1) * error
        yield "CR1", (made.value - half, made.value + half)
        if resample:
            rng = np.random.default_rng(int(abs(made.value) * 1e9) % 2**32)
            drawn_rows = rng.integers(0, clusters, (BOOTSTRAP_REPLICATES, clusters))
            means = table.sums[drawn_rows, 0].sum(axis=1) / table.counts[drawn_rows, 0].sum(axis=1)
            low, high = np.quantile(means, [0.025, 0.975])
            yield "percentile", (float(low), float(high))


def coverage(scenario: Scenario, worlds: int, *, seed: int = 0, resample: bool = False) -> dict[str, float]:
    """Percent of worlds whose interval holds the truth, by method.

    Worlds without an interval, or where nothing differs, do not count.
    """
    rng = np.random.default_rng(seed)
    hits: dict[str, list[bool]] = {}
    for number in range(worlds):
        for method, interval in intervals(scenario.draw(rng), seed=f"{number}", resample=resample):
            if interval is not None:
                hits.setdefault(method, []).append(interval[0] <= scenario.truth <= interval[1])
    return {method: 100 * float(np.mean(seen)) for method, seen in hits.items()}


def gate_rate(
    *,
    n_images: int,
    n_metrics: int,
    effect: float,
    worlds: int,
    n_affected: int = 1,
    crops_each: int = 1,
    seed: int = 0,
) -> float:
    """Percent of checks that fail, with no tolerance, when some metrics got worse by ``effect``.

    ``effect`` is in standard deviations of one image's paired difference. Metrics correlate by 0.5, as PSNR, SSIM and
    their like do.
    """
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(n_images // crops_each), crops_each)
    failed = 0
    for _ in range(worlds):
        shared = rng.normal(0, math.sqrt(0.5), (len(clusters), 1))
        changes = shared + rng.normal(0, math.sqrt(0.5), (len(clusters), n_metrics))
        if crops_each > 1:
            changes = (
                math.sqrt(0.7) * changes + math.sqrt(0.3) * rng.normal(0, 1, (clusters[-1] + 1, n_metrics))[clusters]
            )
        changes[:, :n_affected] -= effect
        items = []
        for column in range(n_metrics):
            made = estimate(cluster_table(changes[:, column], clusters))
            item = GateItem(name=str(column), direction="higher", first=0.0, second=made.value, difference=made.value)
            items.append(tested(item, made, 0.0))
        failed += any(item.status == "fail" for item in judged(items))
    return 100 * failed / worlds


def mixed_gate_rate(*, worlds: int, seed: int = 0) -> float:
    """Percent of checks that fail where nothing has changed, over metrics as unlike as a run of `quick` has them.

    Two of crops of photographs, two of words of few images of which few change, one macro mean, one with a long tail,
    one of three photographs.
    """
    rng = np.random.default_rng(seed)
    still = {"lose": 0.02, "gain": 0.18}  # nine words in ten are read, so as many are lost as gained
    kinds = [crops(58, effect=0.0), crops(58, effect=0.0), words(40, **still), words(40, **still), crops(3, effect=0.0)]
    failed = 0
    for _ in range(worlds):
        items = []
        for number, kind in enumerate([*kinds, grouped_words(150), skewed(200)]):
            made = estimate(kind.draw(rng).table())
            if made.error is None:
                continue
            moved = replace(made, value=made.value - kind.truth)
            item = GateItem(name=str(number), direction="higher", first=0.0, second=moved.value, difference=moved.value)
            items.append(tested(item, moved, 0.0))
        failed += any(item.status == "fail" for item in judged(items))
    return 100 * failed / worlds


# ---- tables ------------------------------------------------------------------------------------------------------


def scenarios() -> list[Scenario]:
    """What is claimed, then what is hard."""
    return [
        independent(100),
        independent(1000),
        crops(58),
        crops(400),
        skewed(200),
        words(40),
        words(400),
        grouped_words(150),
        grouped_words(600),
        frechet_difference(RATIO),
        frechet_value(RATIO, corrected=True),
    ]


def hard_scenarios() -> list[Scenario]:
    """Few clusters, rare flips, and sets too small for rFID."""
    return [
        crops(3),
        crops(6),
        crops(12),
        words(8),
        words(15),
        words(40, lose=0.02, gain=0.1),
        words(400, lose=0.002, gain=0.01),
        skewed(20),
        grouped_words(40),
        frechet_difference(5),
        frechet_value(RATIO, corrected=False),
        frechet_value(5, corrected=False),
    ]


def print_coverage(title: str, rows: list[Scenario], worlds: int) -> None:
    """One line a scenario, one column a method."""
    methods = ("used", "bootstrap", "CR1", "percentile")
    print(f"\n{title}\n{'':58}{''.join(f'{method:>12}' for method in methods)}")
    for scenario in rows:
        found = coverage(scenario, worlds, resample=True)
        cells = "".join(f"{_marked(found[method]):>12}" if method in found else f"{'':>12}" for method in methods)
        print(f"{scenario.name:58}{cells}", flush=True)


def _marked(percent: float) -> str:
    return f"{percent:.1f}{' ' if NOMINAL[0] <= percent <= NOMINAL[1] else '!'}"


def print_gate(worlds: int) -> None:
    """False alarms at no change, then power at stated effects."""
    print("\nThe gate, without tolerance: percent of checks that fail")
    print(f"{'':60}{'1 metric':>10}{'5':>8}{'20':>8}")
    shapes = (("100 images", 100, 1), ("1,000 images", 1000, 1), ("12 photographs, 4 crops each", 48, 4))
    for effect in (0.0, 0.1, 0.2, 0.5):
        for name, n_images, crops_each in shapes:
            cells = [
                gate_rate(n_images=n_images, n_metrics=m, effect=effect, worlds=worlds, crops_each=crops_each)
                for m in (1, 5, 20)
            ]
            what = "no change" if effect == 0 else f"one metric worse by {effect} sd"
            print(f"{what + ', ' + name:60}{cells[0]:>10.1f}{cells[1]:>8.1f}{cells[2]:>8.1f}", flush=True)
    print(f"{'no change, 7 metrics of words, faces and crops':60}{mixed_gate_rate(worlds=worlds):>10.1f}")
    print("sd: of one image's paired difference, second - first")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the worlds")
    worlds = 400 if parser.parse_args().quick else 4000
    error = 100 * math.sqrt(0.95 * 0.05 / worlds)
    print(f"{worlds:,} worlds a row; the simulation's own error (one sd) is {error:.1f} percentage points")
    print_coverage("Coverage of nominal 95 % intervals", scenarios(), worlds)
    print_coverage("The same where it is hard: little to go by", hard_scenarios(), worlds)
    print_gate(worlds // 2)


if __name__ == "__main__":
    main()
