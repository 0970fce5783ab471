"""Parameters of nodes: values with a type, and files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from launch.launch_context import LaunchContext
from launch.subset import outside, refuse_others
from launch.substitution import SomeSubstitutionsType, is_substitution, perform_text

__all__ = ["ParameterFile", "ParameterValue"]
__getattr__ = refuse_others(__name__)


class ParameterValue:
    """A value or a substitution, read as a type: bool, int, float, str, a list of one of them, or as YAML has it."""

    def __init__(self, value: Any, *, value_type: Any = None) -> None:
        self.value, self.value_type = value, value_type

    def evaluate(self, context: LaunchContext) -> Any:
        """The value in a context. Raises ValueError where it is not of the type."""
        value = self.value
        if is_substitution(value) or (isinstance(value, str) and self.value_type is not str):
            return coerce(perform_text(context, value), self.value_type)
        if isinstance(value, list | tuple):
            return [perform_text(context, item) if is_substitution(item) else item for item in value]
        return value


class ParameterFile:
    """A YAML file of parameters."""

    def __init__(self, param_file: SomeSubstitutionsType | os.PathLike[str], *, allow_substs: bool = False) -> None:
        if allow_substs:
            outside("ParameterFile(allow_substs=True)")
        self.param_file = os.fspath(param_file) if isinstance(param_file, os.PathLike) else param_file

    def evaluate(self, context: LaunchContext) -> Path:
        """The path in a context."""
        return Path(perform_text(context, self.param_file))


def coerce(text: str, value_type: Any) -> Any:
    """A text as a type; None reads it as YAML. Raises ValueError where it does not fit."""
    if value_type is str:
        return text
    if value_type in (int, float):
        return value_type(text)
    value = yaml.safe_load({"1": "true", "0": "false"}.get(text, text) if value_type is bool else text)
    if get_origin(value_type) is list:
        (item_type,) = get_args(value_type)
        if isinstance(value, list) and all(isinstance(item, item_type) for item in value):
            return value
    elif (value_type is None and isinstance(value, bool | int | float | str | list)) or (
        value_type is bool and isinstance(value, bool)
    ):
        return value
    raise ValueError(
        f"expected a parameter value of type {value_type or 'bool, int, float, str or list'}, got '{text}'"
    )
