"""Configuration dataclasses from and to JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any


def plain(config: Any) -> dict[str, Any]:
    """The fields of a flat configuration dataclass as JSON values."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(config).items()}


def build_config(
    config_type: type[Any], values: Mapping[str, Any], where: str, added_later: Collection[str] = ()
) -> Any:
    """A configuration dataclass from JSON values, or ValueError naming the field.

    ``added_later`` may be missing: files of earlier versions lack them, their defaults are what those versions did.
    """
    defaults = config_type()
    known = {f.name for f in dataclasses.fields(config_type)}
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{where}.{name}: unknown field, expected one of {', '.join(sorted(known))}")
        default = getattr(defaults, name)
        if isinstance(default, tuple):
            fractions = any(type(item) is float for item in default)
            allowed = (int, float) if fractions else (int,)
            if not isinstance(value, (list, tuple)) or not all(type(item) in allowed for item in value):
                what = "numbers" if fractions else "whole numbers"
                raise ValueError(f"{where}.{name}: expected a list of {what}, got {value!r}")
            value = tuple(float(item) if fractions else item for item in value)
        elif isinstance(default, float) and type(value) is int:
            value = float(value)
        elif type(value) is not type(default):
            raise ValueError(f"{where}.{name}: expected {type(default).__name__}, got {value!r}")
        arguments[name] = value
    if missing := sorted(known - set(arguments) - set(added_later)):
        raise ValueError(f"{where}.{missing[0]}: missing")
    try:
        return config_type(**arguments)
    except ValueError as error:
        raise ValueError(f"model.{error}") from error
