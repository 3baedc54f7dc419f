"""Damage at random: a validator may reject, but it may not fall over."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.exports.test_schemas import mutated
from tests.submissions.forge import Forgery, copy_of
from tokbench.submissions.findings import Findings
from tokbench.submissions.known import Known
from tokbench.submissions.opening import open_folder
from tokbench.submissions.validate import lines, validate, verdict_to_json

N_DAMAGED = 40
EXTREMES = (-1e308, -1e149, -1, 0, 1e-300, 1e149, 1e300, 10**39)


def damage(forged: Forgery, rng: random.Random) -> None:
    """One place of one file, with the digests made good; numbers become extreme ones as often as something else."""
    which = rng.choice(["result", "records", "submission"])
    if which == "records":

        def change(rows: list[Any]) -> None:
            index = rng.randrange(len(rows))
            rows[index] = extreme(rows[index], rng) if rng.random() < 0.5 else mutated(rows[index], rng)

        forged.edit_records(change)
        return

    def replace(row: dict[str, Any]) -> None:
        changed = extreme(row, rng) if rng.random() < 0.5 else mutated(row, rng)
        row.clear()
        row.update(changed)

    (forged.edit_result if which == "result" else forged.edit_submission)(replace)


def extreme(node: Any, rng: random.Random) -> Any:
    """The document with one of its numbers replaced by an extreme one."""
    numbers: list[tuple[Any, Any]] = []
    stack = [node]
    while stack:
        item = stack.pop()
        pairs = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
        for key, inner in pairs:
            if isinstance(inner, int | float) and not isinstance(inner, bool):
                numbers.append((item, key))
            stack.append(inner)
    if numbers:
        parent, key = rng.choice(numbers)
        parent[key] = rng.choice(EXTREMES)
    return node


def test_random_damage_is_judged_not_crashed_on(honest: Path, shelf: Known, tmp_path: Path) -> None:
    """Not all of it is wrong: a title may be another, and what has a default may be absent."""
    rejected = 0
    for seed in range(N_DAMAGED):
        forged = copy_of(honest, tmp_path / str(seed))
        damage(forged, random.Random(seed))
        with contextlib.suppress(KeyError, TypeError, AttributeError):  # submission.json may have no list of files left
            forged.seal()
        (verdict,) = validate([forged.folder], known=shelf)
        assert json.loads(json.dumps(verdict_to_json(verdict), allow_nan=False))["valid"] == verdict.is_valid
        assert all(line.isprintable() for line in lines(verdict.findings))
        rejected += not verdict.is_valid
    assert rejected > 0.8 * N_DAMAGED


@pytest.mark.parametrize(
    ("name", "arrays", "words"),
    [
        ("object", {"ids": np.array(["a"]), "x": np.array([{"a": 1}], dtype=object)}, "not what its"),
        ("no ids", {"x": np.zeros(3)}, "malformed"),
        ("other length", {"ids": np.array(["a", "b"]), "x": np.zeros(3)}, "expected 2 finite float64"),
        ("not finite", {"ids": np.array(["a"]), "x": np.array([np.nan])}, "expected 1 finite float64"),
        ("other type", {"ids": np.array(["a"]), "x": np.array([1])}, "expected 1 finite float64"),
    ],
)
def test_influences_that_are_none(name: str, arrays: dict[str, Any], words: str, honest: Path, tmp_path: Path) -> None:
    forged = copy_of(honest, tmp_path)
    np.savez(forged.folder / "influences.npz", **arrays)
    findings = Findings()
    open_folder(forged.folder, findings)
    assert [words in item.message for item in findings.errors if item.code == "influences-malformed"] == [True], name


def test_an_array_that_promises_more_than_it_holds_is_not_allocated(honest: Path, tmp_path: Path) -> None:
    import io
    import zipfile

    forged = copy_of(honest, tmp_path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(forged.folder / "influences.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(64))
    findings = Findings()
    open_folder(forged.folder, findings)
    assert any("which is not what its" in item.message for item in findings.errors)


def test_influences_of_other_samples_or_another_digest_are_found(honest: Path, shelf: Known, tmp_path: Path) -> None:
    forged = copy_of(honest, tmp_path)
    np.savez(forged.folder / "influences.npz", ids=np.array(["elsewhere"]), psnr_pooled=np.zeros(1))
    codes = {item.code for item in forged.errors(shelf)}
    assert {"influences-digest", "influences-ids"} <= codes
