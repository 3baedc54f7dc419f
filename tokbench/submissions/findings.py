"""What a validation finds: every problem, each with the place, what was got and what was expected."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["error", "note"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One problem, or one thing that could not be checked (a note, which rejects nothing).

    Attributes:
        code: which check it is; kebab case, the same for all findings of a kind.
        file: name inside the submission; "" where it is about the whole.
        where: the record's id, the value's key, the region, the field.
        message: one sentence.
        got, expected: as text; "" where that says nothing.
    """

    code: str
    level: Level
    file: str
    where: str
    message: str
    got: str = ""
    expected: str = ""

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.file, self.where) if part)
        parts = [f"got {self.got}"] if self.got else []
        parts += [f"expected {self.expected}"] if self.expected else []
        return f"{place + ': ' if place else ''}{self.message}{' (' + ', '.join(parts) + ')' if parts else ''}"


@dataclass(eq=False)
class Findings:
    """Gathers findings in the order they are made."""

    items: list[Finding] = field(default_factory=list)

    def error(
        self, code: str, message: str, *, file: str = "", where: str = "", got: Any = "", expected: Any = ""
    ) -> None:
        self._add("error", code, message, file, where, got, expected)

    def note(
        self, code: str, message: str, *, file: str = "", where: str = "", got: Any = "", expected: Any = ""
    ) -> None:
        self._add("note", code, message, file, where, got, expected)

    def differs(self, code: str, what: str, got: Any, expected: Any, *, file: str, where: str = "") -> bool:
        """An error if they are not the same; numbers may differ in the last digits."""
        if same(got, expected):
            return False
        self.error(code, f"{what} is not what it must be", file=file, where=where, got=got, expected=expected)
        return True

    @property
    def errors(self) -> list[Finding]:
        return [item for item in self.items if item.level == "error"]

    @property
    def notes(self) -> list[Finding]:
        return [item for item in self.items if item.level == "note"]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.items)

    def _add(self, level: Level, code: str, message: str, file: str, where: str, got: Any, expected: Any) -> None:
        self.items.append(
            Finding(
                code=code,
                level=level,
                file=file,
                where=where,
                message=message,
                got=shown(got),
                expected=shown(expected),
            )
        )


def same(got: Any, expected: Any) -> bool:
    """Equal; floats to 1e-9 relative, which is what another machine's mathematics library may change."""
    if isinstance(got, bool) or isinstance(expected, bool):
        return got is expected
    if isinstance(got, int | float) and isinstance(expected, int | float):
        return math.isclose(got, expected, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(got, list | tuple) and isinstance(expected, list | tuple):
        return len(got) == len(expected) and all(same(a, b) for a, b in zip(got, expected, strict=True))
    if isinstance(got, dict) and isinstance(expected, dict):
        return got.keys() == expected.keys() and all(same(got[key], expected[key]) for key in got)
    return bool(got == expected)


def shown(value: Any) -> str:
    """A value for a message: short, and safe to print."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return text if len(text) <= 160 else f"{text[:120]}… ({len(text)} characters)"
