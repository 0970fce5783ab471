"""The substitutions that launch files use."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Iterable
from typing import Any

from launch.launch_context import LaunchContext
from launch.subset import refuse_others
from launch.substitution import (
    SomeSubstitutionsType,
    Substitution,
    TextSubstitution,
    is_substitution,
    normalize_to_list_of_substitutions,
    perform_substitutions,
)

__all__ = [
    "EnvironmentVariable",
    "EqualsSubstitution",
    "LaunchConfiguration",
    "NotEqualsSubstitution",
    "PathJoinSubstitution",
    "PythonExpression",
    "SubstitutionFailure",
    "TextSubstitution",
]
__getattr__ = refuse_others(__name__)


class SubstitutionFailure(RuntimeError):
    """A substitution has no text in this context."""


class LaunchConfiguration(Substitution):
    """The value of a launch argument or configuration; the default where it is not set."""

    def __init__(self, variable_name: SomeSubstitutionsType, *, default: Any = None) -> None:
        self.variable_name = normalize_to_list_of_substitutions(variable_name)
        if default is not None and not isinstance(default, str | Substitution):
            items = default if isinstance(default, Iterable) else [default]
            default = [item if isinstance(item, str | Substitution) else str(item) for item in items]
        self._default = None if default is None else normalize_to_list_of_substitutions(default)

    def perform(self, context: LaunchContext) -> str:
        """The value. Raises SubstitutionFailure when it is not set and there is no default."""
        name = perform_substitutions(context, self.variable_name)
        if name in context.launch_configurations:
            return context.launch_configurations[name]
        if self._default is None:
            known = ", ".join(sorted(context.launch_configurations)) or "none"
            raise SubstitutionFailure(f"launch configuration '{name}' does not exist; set are: {known}")
        return perform_substitutions(context, self._default)

    def describe(self) -> str:
        """LaunchConfig and its name."""
        return f"LaunchConfig({' + '.join(part.describe() for part in self.variable_name)})"


class EnvironmentVariable(Substitution):
    """The value of an environment variable; the default where it is not set."""

    def __init__(self, name: SomeSubstitutionsType, *, default_value: SomeSubstitutionsType | None = None) -> None:
        self.name = normalize_to_list_of_substitutions(name)
        self._default = None if default_value is None else normalize_to_list_of_substitutions(default_value)

    def perform(self, context: LaunchContext) -> str:
        """The value. Raises SubstitutionFailure when it is not set and there is no default."""
        name = perform_substitutions(context, self.name)
        value = context.environment.get(name)
        if value is not None:
            return value
        if self._default is None:
            raise SubstitutionFailure(f"environment variable '{name}' does not exist")
        return perform_substitutions(context, self._default)

    def describe(self) -> str:
        """EnvVar and its name."""
        return f"EnvVar({' + '.join(part.describe() for part in self.name)})"


class PathJoinSubstitution(Substitution):
    """Several parts, joined as a path."""

    def __init__(self, substitutions: Iterable[str | Substitution]) -> None:
        self.substitutions = normalize_to_list_of_substitutions(substitutions)

    def perform(self, context: LaunchContext) -> str:
        """The path."""
        return os.path.join(*(part.perform(context) for part in self.substitutions))

    def describe(self) -> str:
        """PathJoin and the parts."""
        return f"PathJoin('{' + '.join(part.describe() for part in self.substitutions)}')"


class PythonExpression(Substitution):
    """The value of a Python expression, as text. Text within the expression needs quotes of its own."""

    def __init__(
        self, expression: SomeSubstitutionsType, python_modules: Iterable[str | Substitution] = ("math",)
    ) -> None:
        self.expression = normalize_to_list_of_substitutions(expression)
        self.python_modules = normalize_to_list_of_substitutions(python_modules)

    def perform(self, context: LaunchContext) -> str:
        """The value, with the modules' names and all of ``math`` in reach."""
        modules = [importlib.import_module(part.perform(context)) for part in self.python_modules]
        names: dict[str, Any] = {}
        for module in modules:
            if module is math:
                names.update(vars(math))
            names[module.__name__] = module
        return str(eval(perform_substitutions(context, self.expression), {}, names))

    def describe(self) -> str:
        """PythonExpr and the expression."""
        return f"PythonExpr({' + '.join(part.describe() for part in self.expression)})"


class EqualsSubstitution(Substitution):
    """``true`` where both sides are the same text, truth value or, nearly, number; else ``false``."""

    def __init__(self, left: Any, right: Any) -> None:
        self.left, self.right = _side(left), _side(right)

    def perform(self, context: LaunchContext) -> str:
        """``true`` or ``false``."""
        return str(self._equal(context)).lower()

    def _equal(self, context: LaunchContext) -> bool:
        left, right = perform_substitutions(context, self.left), perform_substitutions(context, self.right)
        truths = {"true": True, "1": True, "false": False, "0": False}
        if left.lower() in truths and right.lower() in truths:
            return truths[left.lower()] == truths[right.lower()]
        try:
            return math.isclose(float(left), float(right))
        except ValueError:
            return left == right


class NotEqualsSubstitution(EqualsSubstitution):
    """The opposite of EqualsSubstitution."""

    def perform(self, context: LaunchContext) -> str:
        """``true`` or ``false``."""
        return str(not self._equal(context)).lower()


def _side(value: Any) -> list[Substitution]:
    if isinstance(value, bool):
        value = str(value).lower()
    return normalize_to_list_of_substitutions(value if is_substitution(value) else str(value))
