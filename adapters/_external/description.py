"""The file that describes a tokenizer outside: its card, and how its program is run."""

from __future__ import annotations

import difflib
import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokbench.cards import TokenizerCard
from tokbench.errors import UsageError

FAMILY = "external"


@dataclass(frozen=True, kw_only=True)
class Program:
    """How a program is run.

    Attributes:
        serve: the words of the command that stays and answers requests; empty if there is none.
        encode, decode: the words of the commands that are run once a batch, with ``{input}`` and ``{output}``.
        folder: the working folder.
        environment: variables set for it.
        start_timeout_s, timeout_s: seconds to load weights, and to answer one batch.
        log: where all it prints is appended; None keeps it only until the end.
        scratch: where arrays cross; None for the system's temporary folder.
        checkout: the folder whose git commit says what code was measured.
    """

    serve: tuple[str, ...] = ()
    encode: tuple[str, ...] = ()
    decode: tuple[str, ...] = ()
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    start_timeout_s: float = 600.0
    timeout_s: float = 600.0
    log: Path | None = None
    scratch: Path | None = None
    checkout: Path


@dataclass(frozen=True, kw_only=True)
class Description:
    """What the file says.

    Attributes:
        path: the file.
        card: its facts, without what is found out when it is run.
        program: how it is run.
        weights: files whose digest is recorded → the digest they must have, or "".
        quantiser: how vectors become codes, as keyword arguments of :class:`~tokbench.quantisers.Quantiser`; empty if
            it does not say.
    """

    path: Path
    card: TokenizerCard
    program: Program
    weights: Mapping[Path, str]
    quantiser: Mapping[str, Any]


def read_description(path: Path) -> Description:
    """Read and check a description.

    Raises:
        UsageError: no such file, not TOML, an unknown key, or a value of the wrong kind; says which.
    """
    path = Path(os.path.expanduser(path))  # noqa: PTH111 - leaves a ~ that means nobody, where Path raises
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise UsageError(
            f"{FAMILY}: cannot read {path} ({err.strerror or err}); `tokbench external init DIR` writes one"
        ) from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise UsageError(f"{path} is not TOML: {err}") from err
    path = path.resolve()
    run = _table(content, "run", _RUN, path)
    quantiser = _table(content, "quantiser", _QUANTISER, path)
    weights = content.pop("weights", {})
    if not _is_strings(weights):
        raise UsageError(f'{path}: [weights] names files in quotes: "checkpoint.pt" = "", or their sha256')
    facts = _checked(content, _CARD, path, where="")
    return Description(
        path=path,
        card=_card(facts, path),
        program=_program(run, path),
        weights={_place(name, path): digest for name, digest in weights.items()},
        quantiser={key: tuple(value) if isinstance(value, list) else value for key, value in quantiser.items()},
    )


def _card(facts: Mapping[str, Any], path: Path) -> TokenizerCard:
    if missing := [key for key in ("name", "latent") if key not in facts]:
        raise UsageError(f"{path}: says no {' and no '.join(missing)}")
    try:
        return TokenizerCard(
            **{
                key: tuple(value) if isinstance(value, list) else value
                for key, value in facts.items()
                if key not in ("name", "pixel_range")
            },
            pixel_range=_range(facts.get("pixel_range", [0, 1]), path),
            name=f"{FAMILY}/{facts['name']}",
        )
    except UsageError as err:
        raise UsageError(f"{path}: {err}; `name` is one word in lower case, without a slash") from err


def _range(bounds: list[float], path: Path) -> tuple[float, float]:
    if len(bounds) != 2 or not bounds[0] < bounds[1]:
        raise UsageError(f"{path}: pixel_range is two numbers that rise, as [0, 1] or [-1, 1], got {bounds}")
    return float(bounds[0]), float(bounds[1])


def _program(run: Mapping[str, Any], path: Path) -> Program:
    stays, once = "command" in run, [key for key in ("encode", "decode") if key in run]
    if stays == bool(once) or len(once) == 1:
        raise UsageError(
            f"{path}: [run] has either a `command` that stays and answers requests, or both `encode` and `decode`, run "
            f"once a batch; got {', '.join(run) or 'nothing'}"
        )
    for key in once:
        joined = " ".join(run[key])
        if "{input}" not in joined or "{output}" not in joined:
            raise UsageError(f"{path}: {key} needs {{input}} and {{output}}, the folders of arrays; got {joined}")
    folder = _place(run.get("folder", "."), path)
    if not folder.is_dir():
        raise UsageError(f"{path}: the working folder {folder} does not exist")
    return Program(
        serve=_words(run.get("command", []), path),
        encode=_words(run.get("encode", []), path),
        decode=_words(run.get("decode", []), path),
        folder=folder,
        environment={key: _filled(value, path) for key, value in run.get("environment", {}).items()},
        log=_place(run["log"], path) if "log" in run else None,
        scratch=_place(run["scratch"], path) if "scratch" in run else None,
        checkout=_place(run["checkout"], path) if "checkout" in run else folder,
        **{key: float(run[key]) for key in ("start_timeout_s", "timeout_s") if key in run},
    )


def _words(command: list[str], path: Path) -> tuple[str, ...]:
    """The command, with a first word that has a slash taken from the file's folder, like every path in it."""
    words = [_filled(word, path) for word in command]
    if words and words[0] != Path(words[0]).name:
        words[0] = str(_place(words[0], path))
    return tuple(words)


def _filled(text: str, path: Path) -> str:
    return text.replace("{here}", str(path.parent)).replace("{python}", sys.executable)


def _place(text: str, path: Path) -> Path:
    """A path of the file: relative ones are relative to its folder. Links stay: a venv's Python is one."""
    return path.parent / os.path.expanduser(_filled(text, path))  # noqa: PTH111


def _table(content: dict[str, Any], name: str, kinds: Mapping[str, _Kind], path: Path) -> dict[str, Any]:
    table = content.pop(name, {})
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {name} is a table, [{name}]")
    return _checked(table, kinds, path, where=f"[{name}] ")


def _checked(table: Mapping[str, Any], kinds: Mapping[str, _Kind], path: Path, *, where: str) -> dict[str, Any]:
    for key, value in table.items():
        if key not in kinds:
            near = difflib.get_close_matches(key, kinds, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise UsageError(f"{path}: {where}has no key {key!r}{hint}; it has {', '.join(kinds)}")
        fits, what = kinds[key]
        if not fits(value):
            raise UsageError(f"{path}: {where}{key} must be {what}, got {value!r}")
    return dict(table)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_strings(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(fits(item) for item in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _one_of(*words: str) -> _Kind:
    return (lambda value: isinstance(value, str) and value in words), f"one of {', '.join(words)}"


_Kind = tuple[Callable[[Any], bool], str]
_TEXT: _Kind = (_is_text, "text")
_TEXTS: _Kind = (_list_of(_is_text), "a list of texts")
_WHOLE: _Kind = (_is_whole, "a whole number from 1 on")
_WHOLES: _Kind = (_list_of(_is_whole), "a list of whole numbers from 1 on")
_FLAG: _Kind = (lambda value: isinstance(value, bool), "true or false")
_SECONDS: _Kind = (lambda value: _is_number(value) and value > 0, "seconds, above 0")

_CARD: dict[str, _Kind] = {
    "name": _TEXT,
    "title": _TEXT,
    "latent": _one_of("discrete", "continuous", "codec"),
    "codebook_sizes": _WHOLES,
    "size_multiple": _WHOLE,
    "fixed_size_px": _WHOLE,
    "pixel_range": (_list_of(_is_number), "two numbers, as [0, 1] or [-1, 1]"),
    "downsampling": _WHOLE,
    "tokens": _WHOLE,
    "prefix_axis": _one_of("streams", "positions"),
    "max_length": _WHOLE,
    "deterministic": _FLAG,
    "posterior": _one_of("mode", "sample"),
    "side_information": _TEXT,
    "hub": _TEXT,
    "page": _TEXT,
    "gated": _TEXT,
    "licence": _TEXT,
    "weights_licence": _TEXT,
    "paper": _TEXT,
    "repository": _TEXT,
    "notes": _TEXTS,
}
_RUN: dict[str, _Kind] = {
    "command": _TEXTS,
    "encode": _TEXTS,
    "decode": _TEXTS,
    "folder": _TEXT,
    "environment": (_is_strings, "a table of texts"),
    "start_timeout_s": _SECONDS,
    "timeout_s": _SECONDS,
    "log": _TEXT,
    "scratch": _TEXT,
    "checkout": _TEXT,
}
_QUANTISER: dict[str, _Kind] = {
    "kind": _one_of("lookup", "sign", "levels"),
    "composition": _one_of("single", "product", "residual", "multi_scale"),
    "is_normalised": _FLAG,
    "basis": _WHOLES,
    "levels": _WHOLES,
}
