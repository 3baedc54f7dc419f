"""Packing: a run's folder → a submission that says everything a reader needs and nothing about whose machine it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokbench.environment import package_version
from tokbench.errors import ResultsError, UsageError
from tokbench.results import PLAIN, RunResult
from tokbench.runfolder import (
    INFLUENCES,
    PICTURES,
    RECORDS,
    RESULT,
    disk_error,
    folder_name,
    read_pictures,
    read_records,
    read_result,
    write_text,
)
from tokbench.runner.collect import NO_ENCODING
from tokbench.schema import dump_json
from tokbench.submissions.archive import SUFFIXES, is_archive, write_archive
from tokbench.submissions.checks.names import PUBLIC_ENVIRONMENT, without_paths
from tokbench.submissions.checks.pictures import picture_ids
from tokbench.submissions.form import (
    MAX_PICTURES,
    RECORDS_GZ,
    SUBMISSION,
    FileFacts,
    Submission,
    compress_records,
    picture_stem,
    submission_to_json,
)
from tokbench.submissions.known import Known
from tokbench.submissions.validate import Verdict, lines, validate

_KERNEL = re.compile(r"^(?P<system>[A-Za-z]+)-.*?(?P<machine>x86_64|aarch64|arm64|AMD64|i686|ppc64le|riscv64).*$")


@dataclass(frozen=True, kw_only=True)
class Said:
    """What only the submitter can say; see :class:`~tokbench.submissions.form.Submission`."""

    submitter: str
    contact: str = ""
    licence: str = "CC0-1.0"
    revision: str = ""
    code: str = ""
    command: str = ""
    notes: str = ""
    weights: Mapping[str, str] = dataclasses.field(default_factory=dict)


def pack(
    run: Path, said: Said, *, out: Path, n_pictures: int = 0, submitted: str | None = None, known: Known | None = None
) -> tuple[Path, Verdict]:
    """Make a submission of a run, validate it, and put it in its place.

    Args:
        run: a folder that `tokbench run` made.
        said: what the submitter says.
        out: a .zip or .tar file to write; or a folder laid out as ``results/``, where the submission becomes
            ``<task>/<family>__<variant>/`` and replaces an earlier one.
        n_pictures: how many reconstructions to show, at most 8; which ones depends on the samples' ids alone.
        submitted: UTC, ISO 8601; None is now.
        known: as for :func:`~tokbench.submissions.validate.validate`.

    Returns:
        Where it is, and the verdict with its notes.

    Raises:
        UsageError: it cannot be packed as asked.
        ResultsError: the run is not one that can be submitted (all reasons are named), or files cannot be written.
    """
    if not 0 <= n_pictures <= MAX_PICTURES:
        raise UsageError(f"a submission has 0 to {MAX_PICTURES} pictures, got {n_pictures}")
    if out.is_file() and not is_archive(out):
        raise UsageError(f"{out} is a file; pass a folder or a name that ends in {' or '.join(SUFFIXES)}")
    result = read_result(run)
    with TemporaryDirectory(prefix="tokbench-pack-") as name:
        folder = Path(name) / folder_name(result.spec.tokenizer.name)
        folder.mkdir()
        _write(run, result, said, folder, n_pictures=n_pictures, submitted=submitted or _now())
        (verdict,) = validate([folder], known=known)
        if not verdict.is_valid:
            raise ResultsError(
                f"{run} cannot be submitted:\n" + "\n".join(f"  {line}" for line in lines(verdict.errors))
            )
        target = out if is_archive(out) else out / verdict.task / folder.name
        _place(folder, target)
    return target, replace(verdict, path=str(target))


def public_result(row: Mapping[str, Any]) -> dict[str, Any]:
    """``result.json`` with the facts that matter of its environment, and no path in the reasons of its values.

    The rest stays as the run wrote it, so its id still is the hash of its spec.
    """
    environment = {name: value for name, value in row["environment"].items() if name in PUBLIC_ENVIRONMENT}
    if isinstance(platform := environment.get("platform"), str):
        found = _KERNEL.match(platform)  # the rest is the build of a kernel, which may be named after its machine
        environment["platform"] = f"{found['system']} {found['machine']}" if found else platform.split("-")[0]
    values = {key: {**value, "reason": without_paths(value["reason"])} for key, value in row["values"].items()}
    return {**row, "environment": environment, "values": values}


def command_of(result: RunResult) -> str:
    """The command that repeats a run, from what was asked for: no path, no output folder."""
    spec = result.spec
    task = ["--task", str(spec.task["name"]), "--metrics", ",".join(spec.metrics)]
    if any(value.reason == NO_ENCODING for value in result.values.values()):
        return " ".join(["tokbench score --reconstructions DIR --name", spec.tokenizer.name, *task])
    verb = "sweep" if spec.curves else "run"
    name = shlex.quote(spec.tokenizer.asked_as)
    parts = [f"tokbench {verb} --tokenizer", name, *task, "--batch-size", str(spec.batch_size)]
    lengths = [name.removeprefix("length=") for name in spec.branches if name.startswith("length=")]
    parts += ["--lengths", ",".join(lengths)] if lengths else []
    parts += ["--dtype", spec.dtype] if spec.dtype != "float32" else []
    parts += ["--seed", str(spec.seed)] if spec.seed else []
    return " ".join(parts)


def _write(run: Path, result: RunResult, said: Said, folder: Path, *, n_pictures: int, submitted: str) -> None:
    try:
        row = json.loads((run / RESULT).read_text(encoding="utf-8"))
        write_text(folder / RESULT, dump_json(public_result(row)))
        (folder / RECORDS_GZ).write_bytes(compress_records((run / RECORDS).read_bytes()))
        if (run / INFLUENCES).exists():
            shutil.copyfile(run / INFLUENCES, folder / INFLUENCES)
    except FileNotFoundError as err:
        raise ResultsError(f"{run} has no {RECORDS}; pass the whole folder that `tokbench run` made") from err
    except OSError as err:
        raise disk_error(folder, err) from err
    pictures = _write_pictures(run, folder, n_pictures)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    card = result.spec.tokenizer
    submission = Submission(
        task=str(result.spec.task.get("name")),
        tokenizer=card.name,
        submitted=submitted,
        packed_with=package_version("tokbench") or "unknown",
        submitter=said.submitter,
        contact=said.contact,
        licence=said.licence,
        revision=said.revision,
        weights=dict(said.weights) or dict(card.weights),
        code=said.code,
        command=said.command or command_of(result),
        notes=said.notes,
        files={name: _facts(folder / name) for name in names},
        pictures=pictures,
    )
    write_text(folder / SUBMISSION, dump_json(submission_to_json(submission)))


def _write_pictures(run: Path, folder: Path, n: int) -> dict[str, str]:
    """The plain reconstructions of the ``n`` drawn samples, written anew: pixels and nothing else."""
    if n == 0:
        return {}
    from PIL import Image

    wanted = picture_ids((record.id for record in read_records(run) if record.status == "ok"), n)
    kept = {row.id: row.branches[PLAIN] for row in read_pictures(run) if PLAIN in row.branches}
    if missing := [sample for sample in wanted if sample not in kept]:
        raise ResultsError(
            f"{run} kept no picture of {', '.join(missing)}, which this task's submissions show; run again with "
            "--out, or pack without --pictures"
        )
    (folder / PICTURES).mkdir()
    names = {}
    for sample in wanted:
        names[sample] = f"{PICTURES}/{picture_stem(sample)}.png"
        with Image.open(kept[sample]) as image:
            image.convert("RGB").save(folder / names[sample], "PNG", optimize=True)
    return names


def _facts(path: Path) -> FileFacts:
    content = path.read_bytes()
    return FileFacts(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _place(folder: Path, target: Path) -> None:
    """Write the archive, or put the folder where an earlier submission may be."""
    try:
        if is_archive(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.partial{target.suffix}")
            write_archive(folder, partial)
            partial.replace(target)
            return
        if target.exists():
            if not (target / SUBMISSION).exists():
                raise UsageError(f"{target} exists and is no submission; move it away or pass another --out")
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, target)
    except OSError as err:
        raise disk_error(target, err) from err


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
