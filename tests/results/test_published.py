"""The published table: as printed, and never taken for ours."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tokbench.errors import ResultsError
from tokbench.published import PublishedTable, read_published, read_table
from tokbench.registry import metrics
from tokbench.tasks.catalogue import tasks

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "published"


@pytest.fixture(scope="module")
def table() -> PublishedTable:
    (found,) = read_published(PUBLISHED)
    return found


def test_rows_are_all_there(table: PublishedTable) -> None:
    counts = {setting: sum(row.setting == setting for row in table.rows) for setting in table.settings}
    assert counts == {"256": 20, "512": 17, "1024": 17, "video-256": 8, "video-480": 8}
    assert table.commit == "73596da"
    assert all(table.comparable + table.not_comparable)


def test_a_few_rows_are_as_printed(table: PublishedTable) -> None:
    rows = {(row.setting, row.method): row for row in table.rows}
    resize = rows["256", "Resize (no tokenizer)"]
    assert resize.latent == "none"
    assert resize.values["tacc"].mean == 93.02
    assert resize.values["tacc"].groups == {"s": 86.05, "m": 94.65, "l": 98.37}
    flux = rows["1024", "FLUX.1-dev f8"]
    assert (flux.latent, flux.values["tned"].mean, flux.values["fsim"].groups["s"]) == ("continuous", 96.96, 0.92)
    assert rows["512", "UniTok f16"].latent == "discrete"


def test_image_settings_are_tasks_here_and_video_is_not_supported(table: PublishedTable) -> None:
    for row in table.rows:
        if row.setting.startswith("video"):
            assert row.task == ""
            assert "not supported" in table.settings[row.setting]
        else:
            assert row.task == f"tokbench-{row.setting}"
            assert table.settings[row.setting] == ""
    assert len(table.of_task("tokbench-512")) == 17


def test_columns_name_metrics_and_groups_that_exist(table: PublishedTable) -> None:
    for column in table.columns.values():
        card = metrics().items[column.metric].card
        assert card.better == column.better
        assert column.factor == (0.01 if column.unit == "%" else 1.0)
    task = tasks()["tokbench-256"]
    assert task.region_mean == "macro"
    assert {column.metric for column in table.columns.values()} == set(task.rank_by)


def test_means_are_the_means_of_their_groups_within_rounding(table: PublishedTable) -> None:
    worst = {
        name: max(
            abs(sum(row.values[name].groups.values()) / 3 - row.values[name].mean) / column.step for row in table.rows
        )
        for name, column in table.columns.items()
    }
    assert all(0 < error <= 1 for error in worst.values()), worst


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("93.02", "94.02", "the mean is 94.02, of the groups 93.0233"),
        ("256,TiTok (1D),D", "256,Resize (no tokenizer),-", "is there twice"),
        ("256,TiTok (1D),D", "257,TiTok (1D),D", "malformed"),
        ("256,TiTok (1D),D", "256,TiTok (1D),Q", "malformed"),
        ("tacc_s", "tacc_x", "malformed"),
        ("86.05", "eighty", "malformed"),
    ],
)
def test_typing_errors_are_found(tmp_path: Path, table: PublishedTable, old: str, new: str, words: str) -> None:
    for path in PUBLISHED.glob(f"{table.name}.*"):
        shutil.copy(path, tmp_path)
    copy = tmp_path / f"{table.name}.csv"
    copy.write_text(copy.read_text().replace(old, new, 1))
    with pytest.raises(ResultsError, match=words):
        read_table(tmp_path / f"{table.name}.toml")


def test_no_folder_is_no_tables(tmp_path: Path) -> None:
    assert read_published(tmp_path / "nothing") == ()
