"""Packages and executables, found when the launch runs."""

from __future__ import annotations

import os
import shutil

from ament_index_python.packages import get_package_prefix, get_package_share_directory
from launch.launch_context import LaunchContext
from launch.subset import refuse_others
from launch.substitution import SomeSubstitutionsType, Substitution, normalize_to_list_of_substitutions, perform_text
from launch.substitutions import SubstitutionFailure

__all__ = ["ExecutableInPackage", "FindPackagePrefix", "FindPackageShare"]
__getattr__ = refuse_others(__name__)


class FindPackagePrefix(Substitution):
    """The folder that a package is installed in."""

    def __init__(self, package: SomeSubstitutionsType) -> None:
        self.package = normalize_to_list_of_substitutions(package)

    def perform(self, context: LaunchContext) -> str:
        """The folder. Raises ament_index_python's PackageNotFoundError."""
        return str(get_package_prefix(perform_text(context, self.package)))

    def describe(self) -> str:
        """The class and the package."""
        return f"{type(self).__name__}(pkg={' + '.join(part.describe() for part in self.package)})"


class FindPackageShare(FindPackagePrefix):
    """The share folder of a package."""

    def perform(self, context: LaunchContext) -> str:
        """The folder. Raises ament_index_python's PackageNotFoundError."""
        return str(get_package_share_directory(perform_text(context, self.package)))


class ExecutableInPackage(Substitution):
    """The path of an executable in a package."""

    def __init__(self, executable: SomeSubstitutionsType, package: SomeSubstitutionsType) -> None:
        self.executable = normalize_to_list_of_substitutions(executable)
        self.package = normalize_to_list_of_substitutions(package)

    def perform(self, context: LaunchContext) -> str:
        """The path. Raises PackageNotFoundError, or SubstitutionFailure without such an executable."""
        package, executable = perform_text(context, self.package), perform_text(context, self.executable)
        folder = os.path.join(get_package_prefix(package), "lib", package)
        path = shutil.which(executable, path=folder)
        if path is None:
            found = ", ".join(sorted(os.listdir(folder))) if os.path.isdir(folder) else "no such folder"
            raise SubstitutionFailure(f"executable '{executable}' not found in '{folder}' (there: {found})")
        return path
