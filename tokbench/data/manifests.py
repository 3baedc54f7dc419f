"""Manifests as files, and samples as pixels.

A manifest is a folder of two files: ``manifest.toml`` (what it is, under which licence, how many samples, their
digest) and ``samples.jsonl`` (one sample a line). The ones that come with tokbench live in ``data_manifests/``.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib.resources
import json
import tomllib
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from tokbench.data.pixels import load_pixels
from tokbench.errors import ManifestError, UnknownNameError
from tokbench.samples import Manifest, Sample, sample_from_json, sample_to_json

__all__ = ["SAMPLES_NAME", "TOML_NAME", "list_manifests", "load_manifest", "load_pixels", "save_manifest"]

TOML_NAME, SAMPLES_NAME = "manifest.toml", "samples.jsonl"

_PACKAGE = "tokbench_data_manifests"
_TEXT_FIELDS = ("name", "title", "licence", "citation", "digest")
_FIELDS = {*_TEXT_FIELDS, "version", "n_samples", "notes"}


def list_manifests() -> tuple[str, ...]:
    """Names of the manifests that come with tokbench, sorted."""
    folders = importlib.resources.files(_PACKAGE).iterdir()
    return tuple(sorted(folder.name for folder in folders if folder.is_dir() and (folder / TOML_NAME).is_file()))


def load_manifest(name_or_path: str | Path, *, root: str | Path | None = None) -> Manifest:
    """Read a manifest and check it against its own digest.

    Args:
        name_or_path: the name of one that comes with tokbench, a folder holding ``manifest.toml``, or that file.
        root: where relative sources are; None is the manifest's folder (built-in ones need none).

    Raises:
        UnknownNameError: neither a built-in name nor a folder with a manifest.
        ManifestError: malformed, or count or digest are not what ``manifest.toml`` says.
    """
    if isinstance(name_or_path, str) and name_or_path in list_manifests():
        return _load(importlib.resources.files(_PACKAGE) / name_or_path, root=str(root or ""))
    path = Path(name_or_path)
    folder = path.parent if path.name == TOML_NAME else path
    if not (folder / TOML_NAME).is_file():
        near = difflib.get_close_matches(str(name_or_path), list_manifests(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"built in are {', '.join(list_manifests()) or 'none'}"
        raise UnknownNameError(
            f"no manifest {str(name_or_path)!r}: neither built in nor a folder with {TOML_NAME}; {hint}"
        )
    return _load(folder, root=str(folder if root is None else root))


def save_manifest(manifest: Manifest, directory: str | Path) -> None:
    """Write ``manifest.toml`` and ``samples.jsonl`` into ``directory``, which is made where missing."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    # As they will be read back, where a coordinate given as 3 is 3.0; the digest tells these apart.
    samples = tuple(sample_from_json(sample_to_json(sample)) for sample in manifest.samples)
    rows = (json.dumps(sample_to_json(sample), ensure_ascii=False, allow_nan=False) for sample in samples)
    _replace(folder / SAMPLES_NAME, "".join(row + "\n" for row in rows))
    _replace(folder / TOML_NAME, _format_toml(dataclasses.replace(manifest, samples=samples)))


def _load(folder: Traversable, *, root: str) -> Manifest:
    where = folder.name
    facts = _read_facts(folder)
    samples = _read_samples(folder)
    manifest = Manifest(
        name=facts["name"],
        version=facts["version"],
        title=facts["title"],
        licence=facts["licence"],
        citation=facts["citation"],
        samples=samples,
        root=root,
        notes=tuple(facts.get("notes", ())),
    )
    for what, got, expected in (
        ("number of samples", len(samples), facts["n_samples"]),
        ("digest", manifest.digest, facts["digest"]),
    ):
        if got != expected:
            raise ManifestError(
                f"manifest {where}: {SAMPLES_NAME} has {what} {got}, {TOML_NAME} says {expected}; restore both files "
                f"from one place, or save the manifest again as a new version"
            )
    return manifest


def _read_facts(folder: Traversable) -> dict[str, Any]:
    where = f"{folder.name}/{TOML_NAME}"
    try:
        facts = tomllib.loads((folder / TOML_NAME).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise ManifestError(f"{where} cannot be read: {err}") from err
    missing, unknown = sorted(_FIELDS - {"notes"} - set(facts)), sorted(set(facts) - _FIELDS)
    if missing or unknown:
        raise ManifestError(f"{where}: missing fields {missing}, unknown fields {unknown}; expected {sorted(_FIELDS)}")
    wrong = [name for name in _TEXT_FIELDS if not isinstance(facts[name], str)]
    wrong += [name for name in ("version", "n_samples") if type(facts[name]) is not int]
    notes = facts.get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        wrong.append("notes")
    if wrong:
        raise ManifestError(f"{where}: fields {wrong} are of the wrong type; expected text, whole numbers, and a list")
    return facts


def _read_samples(folder: Traversable) -> tuple[Sample, ...]:
    where = f"{folder.name}/{SAMPLES_NAME}"
    samples = []
    try:
        with (folder / SAMPLES_NAME).open("r", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    samples.append(_read_sample(line, f"{where} line {number}"))
    except (OSError, UnicodeDecodeError) as err:
        raise ManifestError(f"{where} cannot be read: {err}") from err
    return tuple(samples)


def _read_sample(line: str, where: str) -> Sample:
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ManifestError(f"expected an object, got {type(row).__name__}")
        return sample_from_json(row)
    except (ValueError, ManifestError) as err:
        raise ManifestError(f"{where}: {err}") from err


def _format_toml(manifest: Manifest) -> str:
    lines = [
        f"name = {_quote(manifest.name)}",
        f"version = {manifest.version}",
        f"title = {_quote(manifest.title)}",
        f"licence = {_quote(manifest.licence)}",
        f"citation = {_quote(manifest.citation)}",
        f"n_samples = {len(manifest.samples)}",
        f"digest = {_quote(manifest.digest)}",
        "notes = [",
        *(f"    {_quote(note)}," for note in manifest.notes),
        "]",
    ]
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    # JSON strings are TOML basic strings, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _replace(path: Path, text: str) -> None:
    """Write to a temporary name, then rename, so that no reader sees half a file."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)
