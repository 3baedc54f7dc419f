"""Checking a document against one of our schemas: every violation, with its place.

Knows the keywords that our schemas use and refuses any other, so nothing is passed over. Tests hold it against the
``jsonschema`` package. It is our own so that validation needs no further package; records come by the ten thousand, and
on them it takes about a third of that package's time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

_KNOWN = {
    "$schema", "$id", "$defs", "$ref", "title", "description", "type", "enum", "const", "anyOf", "properties",
    "required", "additionalProperties", "propertyNames", "maxProperties", "items", "prefixItems", "minItems",
    "maxItems", "minimum", "maximum", "maxLength", "pattern",
}  # fmt: skip
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: (
        not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    ),
}


class Violation(NamedTuple):
    """Where in the document (``values/psnr/n``), what is there, and what must be."""

    where: str
    got: Any
    expected: str


def violations(document: Any, schema: dict[str, Any]) -> list[Violation]:
    """Everything in a parsed JSON document that its schema does not allow.

    Raises:
        ValueError: the schema uses a keyword this checker does not know.
    """
    return list(_check(document, schema, schema, ""))


def _check(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str) -> Iterator[Violation]:
    if "$ref" in schema:
        schema = _resolve(schema["$ref"], root)
    if unknown := schema.keys() - _KNOWN:
        raise ValueError(f"the schema uses {sorted(unknown)}, which the checker does not know")
    kinds = schema.get("type")
    if kinds is not None:
        names = [kinds] if isinstance(kinds, str) else kinds
        if not any(_TYPES[name](value) for name in names):
            yield Violation(where, value, " or ".join(names))
            return
    if "const" in schema and (value != schema["const"] or isinstance(value, bool) != isinstance(schema["const"], bool)):
        yield Violation(where, value, repr(schema["const"]))
    if "enum" in schema and value not in schema["enum"]:
        yield Violation(where, value, "one of " + ", ".join(map(repr, schema["enum"])))
    if "anyOf" in schema:
        yield from _any_of(value, schema["anyOf"], root, where)
    if isinstance(value, dict):
        yield from _object(value, schema, root, where)
    elif isinstance(value, list):
        yield from _array(value, schema, root, where)
    elif isinstance(value, str):
        yield from _text(value, schema, where)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(value, schema, where)


def _any_of(value: Any, options: list[dict[str, Any]], root: dict[str, Any], where: str) -> Iterator[Violation]:
    """Nothing if an option fits; else the violations of the option that comes nearest."""
    found = [list(_check(value, option, root, where)) for option in options]
    if all(found):
        deepest = [problems for problems in found if any(problem.where != where for problem in problems)]
        if deepest:
            yield from min(deepest, key=len)
        else:
            yield Violation(where, value, " or ".join(problems[0].expected for problems in found))


def _object(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], where: str) -> Iterator[Violation]:
    for name in schema.get("required", ()):
        if name not in value:
            yield Violation(_join(where, name), "nothing", "a value: the field is required")
    if len(value) > schema.get("maxProperties", math.inf):
        yield Violation(where, f"{len(value)} entries", f"at most {schema['maxProperties']}")
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, item in value.items():
        inner = _join(where, name)
        if "propertyNames" in schema:
            yield from _check(name, schema["propertyNames"], root, f"{inner} (its name)")
        if name in properties:
            yield from _check(item, properties[name], root, inner)
        elif others is False:
            yield Violation(inner, "an unknown field", f"only {', '.join(properties)}")
        elif isinstance(others, dict):
            yield from _check(item, others, root, inner)


def _array(value: list[Any], schema: dict[str, Any], root: dict[str, Any], where: str) -> Iterator[Violation]:
    low, high = schema.get("minItems", 0), schema.get("maxItems", math.inf)
    if not low <= len(value) <= high:
        yield Violation(where, f"{len(value)} items", f"{low} to {high}" if low != high else f"{low}")
    first = schema.get("prefixItems", [])
    for index, item in enumerate(value):
        inner = first[index] if index < len(first) else schema.get("items")
        if inner:
            yield from _check(item, inner, root, _join(where, str(index)))


def _text(value: str, schema: dict[str, Any], where: str) -> Iterator[Violation]:
    if len(value) > schema.get("maxLength", math.inf):
        yield Violation(where, f"{len(value)} characters", f"at most {schema['maxLength']}")
    if "pattern" in schema and not _compiled(schema["pattern"]).search(value):
        yield Violation(where, value, f"text of the form {schema['pattern']}")


def _number(value: float, schema: dict[str, Any], where: str) -> Iterator[Violation]:
    if not schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf):
        yield Violation(where, value, f"{schema.get('minimum', 'any')} to {schema.get('maximum', 'any')}")


def _resolve(reference: str, root: dict[str, Any]) -> dict[str, Any]:
    target: dict[str, Any] = root["$defs"][reference.removeprefix("#/$defs/")]
    return target


def _join(where: str, name: str) -> str:
    name = name if len(name) <= 80 else name[:80] + "…"
    return f"{where}/{name}" if where else name


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
