"""``tokbench submit``: make a submission of a run, and check submissions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tokbench.cli.options import json_option, look_here_for, trust_option
from tokbench.errors import UsageError

if TYPE_CHECKING:
    from tokbench.submissions.validate import Verdict


@click.group()
def submit() -> None:
    """Pack a run as a submission, or validate submissions."""


@submit.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False), metavar="RUN")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    help="A folder laid out as results/, or a .zip or .tar file.",
)
@click.option("--submitter", required=True, help="A person or group, as it is to be shown.")
@click.option("--contact", default="", help="An address or handle for questions.")
@click.option("--licence", default="CC0-1.0", show_default=True, help="Of the numbers and pictures; an SPDX id.")
@click.option("--revision", default="", help="Of the checkpoint.")
@click.option(
    "--weights", multiple=True, type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A weight file, of which name and SHA-256 are noted; repeatable. [default: those the tokenizer's card pins]",
)  # fmt: skip
@click.option("--code", default="", help="https address of the tokenizer's code.")
@click.option("--command", default="", help="How to repeat the run. [default: from what the run was asked for]")
@click.option("--notes", default="", help="Anything a reader must know.")
@click.option("--pictures", type=click.IntRange(0, 8), default=0, show_default=True, help="How many to show.")
@json_option
def pack(
    run: Path,
    out: Path,
    submitter: str,
    contact: str,
    licence: str,
    revision: str,
    weights: tuple[Path, ...],
    code: str,
    command: str,
    notes: str,
    pictures: int,
    as_json: bool,
) -> int:
    """Make a submission of RUN, a folder that `tokbench run` made.

    Partial and limited runs, failed samples, and tasks on private images are refused, with all reasons.
    """
    import hashlib

    from tokbench.submissions.pack import Said, pack

    said = Said(
        submitter=submitter,
        contact=contact,
        licence=licence,
        revision=revision,
        weights={path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in weights},
        code=code,
        command=command,
        notes=notes,
    )
    target, verdict = pack(run, said, out=out, n_pictures=pictures)
    _print([verdict], as_json=as_json)
    click.echo(f"submission: {target}", err=True)
    return 0


@submit.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--spot-check", type=click.IntRange(min=1), metavar="N", help="Also run the tokenizer on N samples.")
@click.option("--tokenizer", metavar="NAME", help="The one to spot-check with. [default: the submission's]")
@click.option("--seed", type=int, default=0, show_default=True, help="Which samples are spot-checked.")
@click.option("--device", default="auto", show_default=True, help="Of the spot check: auto, cpu, cuda, mps.")
@trust_option
@json_option
def validate(
    paths: tuple[Path, ...],
    spot_check: int | None,
    tokenizer: str | None,
    seed: int,
    device: str,
    as_json: bool,
) -> int:
    """Check submissions: folders, .zip or .tar files, or a whole results folder.

    Every number that follows from the records is computed again; all that is wrong is listed. Exit codes: 0 valid, 1
    not, 2 usage.
    """
    from tokbench.submissions.known import Known
    from tokbench.submissions.validate import validate

    if spot_check is None and tokenizer is not None:
        raise UsageError("--tokenizer is for the spot check; pass --spot-check N with it")
    known, further = Known(), None
    if spot_check is not None:
        from tokbench.submissions.spot_check import SpotCheck

        look_here_for(tokenizer)
        further = SpotCheck(n=spot_check, seed=seed, tokenizer=tokenizer, device=device, known=known)
    verdicts = validate(paths, known=known, further=further)
    _print(verdicts, as_json=as_json)
    return 0 if all(verdict.is_valid for verdict in verdicts) else 1


@submit.command()
@click.argument(
    "folders", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER..."
)
@json_option
def refresh(folders: tuple[Path, ...], as_json: bool) -> int:
    """Make the means and intervals of submissions again from their records, by today's statistics.

    For maintainers, after tokbench changed how intervals are computed. What is wrong otherwise is not touched.
    """
    from tokbench.submissions.known import Known
    from tokbench.submissions.refresh import refresh

    known = Known()
    verdicts = [refresh(folder, known=known) for folder in folders]
    _print(verdicts, as_json=as_json)
    return 0 if all(verdict.is_valid for verdict in verdicts) else 1


def _print(verdicts: list[Verdict], *, as_json: bool) -> None:
    import json

    from tokbench.cli.console import printable
    from tokbench.submissions.validate import lines, verdict_to_json

    if as_json:
        rows = [verdict_to_json(verdict) for verdict in verdicts]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False))
        return
    for verdict in verdicts:
        what = f"{verdict.tokenizer} on {verdict.task}, {verdict.n_records:,} records" if verdict.tokenizer else ""
        state = "valid" if verdict.is_valid else f"NOT VALID, {len(verdict.errors)} errors"
        click.echo(printable(f"{verdict.path}: {what + ': ' if what else ''}{state}"))
        for line in lines(verdict.errors):
            click.echo(printable(f"  {line}"))
        for line in lines(item for item in verdict.findings if item.level == "note"):
            click.echo(printable(f"  note: {line}"))
    valid = sum(verdict.is_valid for verdict in verdicts)
    if len(verdicts) != 1:
        click.echo(f"{valid} of {len(verdicts)} valid")
