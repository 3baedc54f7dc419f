from __future__ import annotations

from tokbench.report.selection import Pick, by_priority, pick_samples, sample_values
from tokbench.results import BranchRecord, Record, RegionRecord


def places(picks: list[Pick]) -> dict[str, list[str]]:
    return {place: [pick.id for pick in picks if pick.place == place] for place in ("worst", "median", "best")}


def test_worst_median_and_best() -> None:
    values = {f"{n:02d}": float(n) for n in range(21)}
    picks = pick_samples(values, better="higher", available=values)
    assert places(picks) == {"worst": ["00", "01", "02"], "median": ["11", "10"], "best": ["20", "19", "18"]}
    assert [(pick.rank, pick.n) for pick in picks[:1]] == [(21, 21)]
    low = pick_samples(values, better="lower", available=values)
    assert places(low)["best"] == ["00", "01", "02"]


def test_only_available_samples_and_true_ranks() -> None:
    values = {f"{n:02d}": float(n) for n in range(100)}
    picks = pick_samples(values, better="lower", available={"10", "50", "90"})
    assert places(picks) == {"worst": ["90"], "median": ["50"], "best": ["10"]}
    assert [pick.rank for pick in picks] == [91, 51, 11]


def test_few_samples_are_shown_once() -> None:
    for n in range(9):
        values = {str(i): 1.0 for i in range(n)}
        picks = pick_samples(values, better="higher", available=values)
        assert sorted(pick.id for pick in picks) == sorted(values)


def test_extremes_of_every_metric_come_first() -> None:
    values = {f"{n:02d}": float(n) for n in range(30)}
    lists = [pick_samples(values, better=better, available=values) for better in ("higher", "lower")]
    first = by_priority(lists)[:4]
    assert [pick.place for pick in first] == ["worst", "worst", "best", "best"]
    assert len(by_priority(lists)) == sum(map(len, lists))


def test_a_samples_region_value_is_the_mean_over_its_regions() -> None:
    from tests.report.synthetic import value_of

    regions = tuple(
        RegionRecord(kind="word", index=i, label="", box=(0, 0, 1, 1), group=None, values=values)
        for i, values in enumerate(({"t_acc.parseq": 1.0}, {"t_acc.parseq": 0.0}, {}))
    )
    made = BranchRecord(
        reconstruction_sha256="", encoding_bits=None, n_tokens=None, clamped=0, values={"psnr": 30.0}, regions=regions
    )
    records = {
        "a": Record(id="a", cluster="", status="ok", branches={"": made}),
        "b": Record(id="b", cluster="", status="ok"),
    }
    assert sample_values(records, value_of("t_acc.parseq", 0.5)) == {"a": 0.5}
    assert sample_values(records, value_of("psnr", 30.0)) == {"a": 30.0}
