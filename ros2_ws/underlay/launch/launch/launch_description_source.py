"""Where a launch description comes from."""

from __future__ import annotations

import importlib.util
import os
from importlib.machinery import SourceFileLoader
from typing import TYPE_CHECKING

from launch.launch_context import LaunchContext
from launch.substitution import SomeSubstitutionsType, perform_text

if TYPE_CHECKING:
    from launch.launch_description import LaunchDescription


class InvalidLaunchFileError(Exception):
    """A file is not a launch file."""


class LaunchDescriptionSource:
    """A Python launch file at a path."""

    def __init__(self, launch_file_path: SomeSubstitutionsType | os.PathLike[str]) -> None:
        self._path: SomeSubstitutionsType = (
            os.fspath(launch_file_path) if isinstance(launch_file_path, os.PathLike) else launch_file_path
        )
        self._loaded: tuple[str, LaunchDescription] | None = None

    def get_launch_description(self, context: LaunchContext) -> LaunchDescription:
        """Load it, once. Raises InvalidLaunchFileError where it is missing or has no generate_launch_description."""
        path = perform_text(context, self._path)
        if self._loaded is None or self._loaded[0] != path:
            self._loaded = (path, load_python_launch_file(path))
        return self._loaded[1]

    def try_get_launch_description_without_context(self) -> LaunchDescription | None:
        """Load it, if its path does not depend on the launch; else None."""
        try:
            return self.get_launch_description(LaunchContext())
        except Exception:
            return None


def load_python_launch_file(path: str) -> LaunchDescription:
    """What ``generate_launch_description()`` of a Python file returns."""
    if not os.path.isfile(path):
        raise InvalidLaunchFileError(f"launch file '{path}' does not exist")
    loader = SourceFileLoader("python_launch_file", path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    generate = getattr(module, "generate_launch_description", None)
    if generate is None:
        raise InvalidLaunchFileError(f"launch file '{path}' does not define generate_launch_description()")
    description: LaunchDescription = generate()
    return description
