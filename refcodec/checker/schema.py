"""JSON against a JSON Schema: the part of the language that conformance/manifest.schema.json uses."""

from __future__ import annotations

import functools
import json
import re
from typing import Any, TypeAlias

from ..shipped import shipped

Schema: TypeAlias = dict[str, Any]

KINDS: dict[str, tuple[type, ...]] = {"object": (dict,), "array": (list,), "string": (str,), "integer": (int,),
                                      "number": (int, float), "boolean": (bool,), "null": (type(None),)}
DEPTH_MAX = 100                   # of values in values


class Misfit(Exception):
    """A value is not as the schema wants it. The text says where, and why."""


def check_manifest(data: object) -> None:
    """Raises Misfit where a manifest is not of conformance/manifest.schema.json; OSError where that is missing."""
    schema: Schema = json.loads(shipped("conformance/manifest.schema.json").read_text(encoding="utf-8"))
    check(data, schema, schema)


def check(value: object, schema: Schema, root: Schema, place: str = "the manifest", depth: int = 0) -> None:
    """Raises Misfit. root: what '$ref' is looked for in."""
    if depth > DEPTH_MAX:
        raise Misfit(f"{place} lies too deep")
    if "$ref" in schema:
        target = functools.reduce(lambda part, name: part[name], schema["$ref"].split("/")[1:], root)
        check(value, target, root, place, depth + 1)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        raise Misfit(f"{place} is no {' or '.join(kinds)}")
    if "enum" in schema and not any(_same(value, x) for x in schema["enum"]):
        raise Misfit(f"{place} is none of {', '.join(map(str, schema['enum']))}")
    if "const" in schema and not _same(value, schema["const"]):
        raise Misfit(f"{place} is not {schema['const']}")
    if isinstance(value, str):
        _check_text(value, schema, place)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_number(value, schema, place)
    elif isinstance(value, list):
        _check_list(value, schema, root, place, depth)
    elif isinstance(value, dict):
        _check_object(value, schema, root, place, depth)
    if "oneOf" in schema:
        _check_one(value, schema["oneOf"], root, place, depth)
    if "if" in schema:
        branch = "then" if _fits(value, schema["if"], root, place, depth) else "else"
        check(value, schema.get(branch, {}), root, place, depth + 1)


def _is(value: object, kind: str) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _same(value: object, other: object) -> bool:
    return type(value) is type(other) and value == other


def _fits(value: object, schema: Schema, root: Schema, place: str, depth: int) -> bool:
    try:
        check(value, schema, root, place, depth + 1)
    except Misfit:
        return False
    return True


def _check_one(value: object, schemas: list[Schema], root: Schema, place: str, depth: int) -> None:
    if sum(_fits(value, s, root, place, depth) for s in schemas) != 1:
        raise Misfit(f"{place} has not one of the forms that it may have")


def _check_text(value: str, schema: Schema, place: str) -> None:
    if len(value) < schema.get("minLength", 0):
        raise Misfit(f"{place} is empty")
    if "pattern" in schema and not re.search(re.sub(r"\$$", r"\\Z", schema["pattern"]), value):
        raise Misfit(f"{place} is not of the form {schema['pattern']}")


def _check_number(value: float, schema: Schema, place: str) -> None:
    if value < schema.get("minimum", value) or value > schema.get("maximum", value) or "exclusiveMinimum" in schema \
            and value <= schema["exclusiveMinimum"]:
        raise Misfit(f"{place} is outside its range")


def _check_list(value: list[Any], schema: Schema, root: Schema, place: str, depth: int) -> None:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        raise Misfit(f"{place} has {len(value)} items")
    for i, item in enumerate(value):
        check(item, schema.get("items", {}), root, f"{place}, item {i}", depth + 1)
    if schema.get("uniqueItems") and len({json.dumps(item) for item in value}) < len(value):
        raise Misfit(f"{place} has an item twice")


def _check_object(value: dict[str, Any], schema: Schema, root: Schema, place: str, depth: int) -> None:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            raise Misfit(f"{place} has no {name!r}")
    for name, item in value.items():
        if name in properties:
            check(item, properties[name], root, f"{place}, {name}", depth + 1)
        elif schema.get("additionalProperties") is False:
            raise Misfit(f"{place} has a {name[:40]!r} that it may not have")
