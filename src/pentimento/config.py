"""Configurations: frozen pydantic dataclasses ↔ JSON ↔ `--set key=value`.

A configuration is validated whenever it is built, so a value from a file, from the command line and
from Python meets the same checks and the same messages.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pentimento.errors import ConfigError

ConfigT = TypeVar("ConfigT")


def to_json(config: Any) -> dict[str, Any]:
    """Return a configuration as JSON types; `from_json` builds an equal one from it."""
    plain: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return plain


def from_json(kind: type[ConfigT], plain: Mapping[str, Any]) -> ConfigT:
    """Build a configuration of class `kind`; ConfigError names every wrong or unknown field."""
    try:
        return TypeAdapter(kind).validate_python(dict(plain))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'configuration'}: {fault['msg']}"
            + (', such as [16, 32] or ["person"]' if fault["type"] == "tuple_type" else "")
            for fault in error.errors()
        )
        raise ConfigError(
            f"{faults} (fields: {', '.join(getattr(kind, '__dataclass_fields__', {}))})"
        ) from None


def with_values(config: ConfigT, assignments: Iterable[str]) -> ConfigT:
    """Return `config` with `key=value` texts applied; `a.b=1` reaches into a nested one.

    A value is read as JSON (`0.5`, `true`, `[1, 2]`, `null`), and as plain text where that fails.
    """
    plain = to_json(config)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"expected key=value, got {assignment!r}")
        *path, last = key.strip().split(".")
        target = plain
        for part in path:
            target = target.get(part)  # type: ignore[assignment]  # checked on the next line
            if not isinstance(target, dict):
                raise ConfigError(f"{key}: {part!r} holds no fields of its own")
        try:
            target[last] = json.loads(text)
        except json.JSONDecodeError:
            target[last] = text
    return from_json(type(config), plain)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """List what differs between two JSON objects, one `key: old → new` line each, sorted."""
    lines: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {json.dumps(before)} → {json.dumps(after)}")
    return lines
