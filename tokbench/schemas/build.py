"""JSON Schemas (draft 2020-12) from dataclasses: fields become properties, types become types.

A field with a default may be absent, since files written before it was added lack it; a field without one is required.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Schema = dict[str, Any]
# Further constraints by (class, field): what a type alone does not say.
Narrowing = Mapping[tuple[str, str], Schema]

_PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
}


class Builder:
    """Collects the definitions of the dataclasses it meets under ``$defs``."""

    def __init__(self, narrowing: Narrowing) -> None:
        self.definitions: dict[str, Schema] = {}
        self._narrowing = narrowing

    def reference(self, cls: type) -> Schema:
        """``$ref`` to a dataclass, which is added to the definitions."""
        if cls.__name__ not in self.definitions:
            self.definitions[cls.__name__] = {}  # first, so that a class may hold itself
            self.definitions[cls.__name__] = self.properties_of(cls)
        return {"$ref": f"#/$defs/{cls.__name__}"}

    def properties_of(self, cls: type) -> Schema:
        """An object with the dataclass's fields and no others."""
        hints = get_type_hints(cls)
        properties: dict[str, Schema] = {}
        required = []
        for spec in dataclasses.fields(cls):
            narrowed = self._narrowing.get((cls.__name__, spec.name), {})
            replaced = bool(narrowed.keys() & {"$ref", "type", "properties"})
            properties[spec.name] = narrowed if replaced else {**self.schema(hints[spec.name]), **narrowed}
            if spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
                required.append(spec.name)
        summary = (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
        return {
            "description": " ".join(summary.split()),
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }

    def schema(self, annotation: Any) -> Schema:
        """The schema of one type.

        Raises:
            TypeError: a type that no file of ours holds.
        """
        if annotation is Any:
            return {}
        if annotation in _PLAIN:
            return dict(_PLAIN[annotation])
        if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
            return self.reference(annotation)
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin in (Union, types.UnionType):
            return self._union([self.schema(argument) for argument in arguments])
        if origin is tuple and arguments[-1] is Ellipsis:
            return {"type": "array", "items": self.schema(arguments[0])}
        if origin is tuple:
            size = len(arguments)
            items = [self.schema(argument) for argument in arguments]
            return {"type": "array", "prefixItems": items, "minItems": size, "maxItems": size}
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.schema(arguments[1])}
        raise TypeError(f"no JSON Schema for {annotation!r}")

    @staticmethod
    def _union(options: list[Schema]) -> Schema:
        if all(option.keys() == {"type"} for option in options):
            return {"type": [option["type"] for option in options]}
        return {"anyOf": options}
