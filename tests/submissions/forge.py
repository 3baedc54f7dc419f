"""One honest submission, and the tools to damage copies of it as a competent forger would: digests made good again."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokbench.data.manifests import load_manifest, save_manifest
from tokbench.evaluation import evaluate
from tokbench.runfolder import json_line
from tokbench.samples import Manifest
from tokbench.schema import dump_json
from tokbench.submissions.findings import Finding
from tokbench.submissions.form import compress_records
from tokbench.submissions.known import Known
from tokbench.submissions.pack import Said, pack
from tokbench.submissions.validate import validate
from tokbench.tasks.catalogue import find_task
from tokbench.tasks.task import Task
from tokbench.tokenizers import load_tokenizer

PICKED = (0, 1, 5, 12, 20, 30, 40, 60, 70, 80, 90)
METRICS = "psnr,psnr_pooled,mae,ssim,bpp,tokens,bpp_order0,psnr_word,psnr_face"


def small_task() -> tuple[Task, Manifest]:
    """Eleven samples of `quick`, photographs and scenes, as a task of their own."""
    whole = load_manifest("quick")
    manifest = Manifest(
        name="small",
        version=1,
        title="A few of quick",
        licence=whole.licence,
        citation=whole.citation,
        samples=tuple(whole.samples[index] for index in PICKED),
    )
    return replace(find_task("quick"), name="small", manifest="small", title="A few of quick"), manifest


def known(task: Task, manifest: Manifest) -> Known:
    return Known(tasks={task.name: task}, find_manifest=lambda _: manifest)


def honest_run(folder: Path, *, tokenizer: Any = "lbg/d1", metrics: str = METRICS, **more: Any) -> Path:
    """Run the small task; TOKBENCH_DATA must be a folder of the test's own."""
    import os

    task, manifest = small_task()
    save_manifest(manifest, Path(os.environ["TOKBENCH_DATA"]) / "manifests" / "small")
    model = load_tokenizer(tokenizer) if isinstance(tokenizer, str) else tokenizer
    result = evaluate(model, task, metrics, out=folder, workers=1, **more)
    assert result.status == "complete", result.reason
    assert result.path is not None
    return Path(result.path)


def packed(run: Path, out: Path, *, shelf: Known, **more: Any) -> Path:
    return pack(run, Said(submitter="The tester"), out=out, submitted="2099-01-02T03:04:05Z", known=shelf, **more)[0]


@dataclass
class Forgery:
    """A copy of an honest submission that may be changed."""

    folder: Path
    keeps_digests: bool = False  # True leaves the digests as they were
    keeps_run_id: bool = True

    @property
    def result(self) -> dict[str, Any]:
        row: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return row

    @property
    def submission(self) -> dict[str, Any]:
        row: dict[str, Any] = json.loads((self.folder / "submission.json").read_text())
        return row

    @property
    def records(self) -> list[dict[str, Any]]:
        with gzip.open(self.folder / "records.jsonl.gz", "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def edit_result(self, change: Callable[[dict[str, Any]], Any]) -> None:
        row = self.result
        change(row)
        (self.folder / "result.json").write_text(dump_json(row))

    def edit_submission(self, change: Callable[[dict[str, Any]], Any]) -> None:
        row = self.submission
        change(row)
        (self.folder / "submission.json").write_text(dump_json(row))

    def edit_records(self, change: Callable[[list[dict[str, Any]]], Any]) -> None:
        rows = self.records
        change(rows)
        self.write_records(b"".join(json_line(row) for row in rows))

    def edit_record_text(self, change: Callable[[str], str]) -> None:
        self.write_records(change(b"".join(json_line(row) for row in self.records).decode()).encode())

    def write_records(self, content: bytes) -> None:
        (self.folder / "records.jsonl.gz").write_bytes(compress_records(content))
        if not self.keeps_digests:
            n, digest = content.count(b"\n"), hashlib.sha256(content).hexdigest()
            self.edit_result(lambda row: row["records"].update(n=n, sha256=digest))

    def recompute(self, *keys: str) -> None:
        """Make the result's means fit the records again, as a forger would with our own code."""
        from tokbench.aggregation import Columns, image_summary, to_value
        from tokbench.registry import metrics
        from tokbench.schema import record_from_json

        columns = Columns()
        for row in self.records:
            columns.add(record_from_json(row))

        def change(row: dict[str, Any]) -> None:
            for key in keys:
                card = metrics().items[key].card
                value = to_value(card, "", image_summary(card, columns[key]))
                row["values"][key] |= {"value": value.value, "n": value.n, "ci95": value.ci95 and list(value.ci95),
                                       "details": dict(value.details)}  # fmt: skip
            row["counts"]["ok"] = len(self.records)

        self.edit_result(change)

    def seal(self) -> None:
        """Sizes, digests and ids as they must be for the files there are."""
        if self.keeps_digests:
            return
        if not self.keeps_run_id:

            def rehash(row: dict[str, Any]) -> None:
                text = json.dumps(row["spec"], sort_keys=True)
                row["run_id"] = hashlib.sha256(text.encode()).hexdigest()[:16]

            self.edit_result(rehash)

        def change(row: dict[str, Any]) -> None:
            for name in row["files"]:
                path = self.folder / name
                if path.is_file():
                    content = path.read_bytes()
                    row["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

        try:
            self.edit_submission(change)
        except (ValueError, OSError):
            return  # the forgery is in submission.json itself

    def errors(self, shelf: Known) -> list[Finding]:
        self.seal()
        (verdict,) = validate([self.folder], known=shelf)
        return list(verdict.errors)


def copy_of(honest: Path, tmp_path: Path) -> Forgery:
    folder = tmp_path / honest.parent.name / honest.name
    shutil.copytree(honest, folder)
    return Forgery(folder)
