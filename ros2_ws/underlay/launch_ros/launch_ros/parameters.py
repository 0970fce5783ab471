"""From the ``parameters`` of a Node action to files that rcl reads."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from launch.launch_context import LaunchContext
from launch.substitution import is_substitution, perform_text
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue, coerce

_folder: list[Path] = []
_number = itertools.count(1)


def parameter_files(context: LaunchContext, parameters: Iterable[Any], node_name: str) -> list[Path]:
    """One file for each element: the file it names, or one written for the dictionary it is.

    Args:
        context: of the launch.
        parameters: paths, ParameterFiles and dictionaries; a dictionary's values may be substitutions.
        node_name: whom the dictionaries are for: a fully qualified name, or ``/**`` for whoever reads them.

    Raises:
        FileNotFoundError: a file does not exist.
        TypeError: a value is of no type that a parameter may have.
    """
    files = []
    for element in parameters:
        if isinstance(element, Mapping):
            files.append(_write(_evaluate(context, element), node_name))
            continue
        file = element if isinstance(element, ParameterFile) else ParameterFile(element)
        path = file.evaluate(context)
        if not path.is_file():
            raise FileNotFoundError(f"parameter file '{path}' does not exist")
        files.append(path)
    return files


def _evaluate(context: LaunchContext, parameters: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in parameters.items():
        name = prefix + perform_text(context, key)
        if isinstance(value, Mapping):
            values |= _evaluate(context, value, name + ".")
        else:
            values[name] = _evaluate_value(context, value, name)
    return values


def _evaluate_value(context: LaunchContext, value: Any, name: str) -> Any:
    if isinstance(value, ParameterValue):
        return value.evaluate(context)
    if is_substitution(value):
        # Text of a substitution is read as YAML, so that a launch argument can be any type.
        text = perform_text(context, value)
        return coerce(text, None) if text else ""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return _evaluate_list(context, value, name)
    raise TypeError(
        f"parameter '{name}': expected bool, int, float, str, a list of them or a substitution, got {value!r}"
    )


def _evaluate_list(context: LaunchContext, values: Sequence[Any], name: str) -> list[Any]:
    items = [coerce(perform_text(context, item), None) if is_substitution(item) else item for item in values]
    types = {type(item) for item in items}
    if types == {int, float}:
        return [float(item) for item in items]
    if len(types) != 1 or not types <= {bool, int, float, str}:
        raise TypeError(f"parameter '{name}': expected a list of one type, not empty, got {items!r}")
    return items


def _write(values: dict[str, Any], node_name: str) -> Path:
    if not _folder:
        _folder.append(Path(tempfile.mkdtemp(prefix="launch_params_")))
        # Nodes may be started again at any time of the launch, so the files live as long as it.
        atexit.register(_remove, os.getpid())
    path = _folder[0] / f"{next(_number)}.yaml"
    path.write_text(yaml.safe_dump({node_name: {"ros__parameters": values}}), encoding="utf-8")
    return path


def _remove(owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(_folder[0], ignore_errors=True)
