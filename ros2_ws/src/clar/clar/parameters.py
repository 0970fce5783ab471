"""Node parameters as one typed, frozen dataclass per node: declared, checked and documented from the same table.

    @dataclass(frozen=True, kw_only=True)
    class CloudParameters(NodeParameters):
        max_age_s: float = parameter(0.15, "Images older than this are dropped.", unit="s", minimum=0.02, maximum=1.0)

    parameters = declare(node, CloudParameters)      # -> CloudParameters

A parameter that is unknown, missing, of another type or out of bounds raises ParameterError, which names it; all
wrong ones are reported together. Parameters are read-only once declared: what a node runs with is what it started with.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from dataclasses import MISSING, dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

_SCALARS = (bool, int, float, str)
_ROS_OWN = ("use_sim_time", "start_type_description_service")
_ROS_OWN_PREFIXES = ("qos_overrides.",)


class ParameterError(ValueError):
    """One or several parameters of a node are wrong; the message names each and says what was expected."""


@dataclass(frozen=True)
class Specification:
    """One row of a node's parameter table. Bounds are inclusive and in ``unit``; ``default`` is None when required."""

    name: str
    type: type
    element_type: type | None
    default: Any
    required: bool
    description: str
    unit: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]

    @property
    def type_name(self) -> str:
        """The type as documentation shows it: ``float``, or ``list of float``."""
        return self.type.__name__ if self.element_type is None else f"list of {self.element_type.__name__}"

    @property
    def bounds(self) -> str:
        """The admissible values in words, empty when any value of the type will do."""
        if self.choices:
            return " | ".join(self.choices)
        if self.minimum is None and self.maximum is None:
            return ""
        low = "-inf" if self.minimum is None else f"{self.minimum:g}"
        high = "inf" if self.maximum is None else f"{self.maximum:g}"
        return f"{low} to {high}"

    def check(self, value: Any) -> Any:
        """The value in this parameter's type; raises ParameterError naming the parameter otherwise."""
        if self.element_type is not None:
            if isinstance(value, str) or not hasattr(value, "__len__"):
                raise ParameterError(f"{self.name}: expected a {self.type_name}, got {value!r}")
            return tuple(self._check_scalar(v, self.element_type) for v in value)
        return self._check_scalar(value, self.type)

    def _check_scalar(self, value: Any, wanted: type) -> Any:
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            raise ParameterError(f"{self.name}: expected {self.type_name}{self._hint()}, got {value!r}")
        if wanted is float and not math.isfinite(value):
            raise ParameterError(f"{self.name}: expected a finite number{self._hint()}, got {value!r}")
        if wanted in (int, float):
            below = self.minimum is not None and value < self.minimum
            above = self.maximum is not None and value > self.maximum
            if below or above:
                unit = f" {self.unit}" if self.unit else ""
                raise ParameterError(f"{self.name}: {value!r} is out of bounds, expected {self.bounds}{unit}")
        if self.choices and value not in self.choices:
            raise ParameterError(f"{self.name}: expected one of {', '.join(self.choices)}, got {value!r}")
        return value

    def _hint(self) -> str:
        return f" ({self.bounds}{' ' + self.unit if self.unit else ''})" if self.bounds else ""

    def descriptor(self) -> ParameterDescriptor:
        """The ROS descriptor, with the unit in the description and the bounds as ranges."""
        text = f"{self.description} [{self.unit}]" if self.unit else self.description
        descriptor = ParameterDescriptor(name=self.name, description=text, read_only=True)
        if self.choices:
            descriptor.additional_constraints = f"one of: {', '.join(self.choices)}"
        if self.minimum is not None or self.maximum is not None:
            if self.type is float:
                low = -math.inf if self.minimum is None else float(self.minimum)
                high = math.inf if self.maximum is None else float(self.maximum)
                descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
            elif self.type is int:
                low_int = -(2**63) if self.minimum is None else int(self.minimum)
                high_int = 2**63 - 1 if self.maximum is None else int(self.maximum)
                descriptor.integer_range = [IntegerRange(from_value=low_int, to_value=high_int, step=1)]
        return descriptor


def parameter(
    default: Any = MISSING,
    description: str = "",
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field of a parameter dataclass. Without a default (``parameter(description=...)``) it must be given."""
    metadata = {"description": description, "unit": unit, "minimum": minimum, "maximum": maximum, "choices": choices}
    if default is MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class NodeParameters:
    """Parameters that every node has."""

    diagnostics_period_s: float = parameter(
        1.0, "Period of the node's entry in /diagnostics.", unit="s", minimum=0.1, maximum=60.0
    )


@dataclass(frozen=True, kw_only=True)
class LifecycleParameters(NodeParameters):
    """Parameters that every lifecycle node has."""

    autostart: bool = parameter(
        False, "Configure and activate at start-up, and exit with an error if either is refused."
    )


P = TypeVar("P")


def specifications(parameters_type: type) -> tuple[Specification, ...]:
    """The table of a parameter dataclass, in order of its fields. Raises TypeError for a type ROS 2 cannot carry."""
    hints = get_type_hints(parameters_type)
    return tuple(_specification(field, hints[field.name]) for field in dataclasses.fields(parameters_type))


def _specification(field: dataclasses.Field[Any], hint: Any) -> Specification:
    element_type = None
    if get_origin(hint) is tuple:
        arguments = get_args(hint)
        if len(arguments) != 2 or arguments[1] is not Ellipsis or arguments[0] not in _SCALARS:
            raise TypeError(f"parameter {field.name}: expected tuple[<scalar>, ...], got {hint}")
        element_type, hint = arguments[0], tuple
    elif hint not in _SCALARS or isinstance(hint, types.UnionType):
        raise TypeError(f"parameter {field.name}: expected bool, int, float, str or a tuple of these, got {hint}")
    required = field.default is MISSING
    return Specification(
        name=field.name,
        type=hint,
        element_type=element_type,
        default=None if required else field.default,
        required=required,
        **field.metadata,
    )


def parse(parameters_type: type[P], given: dict[str, Any]) -> P:
    """The frozen parameters from given values and defaults. Raises ParameterError that names every wrong one."""
    table = {row.name: row for row in specifications(parameters_type)}
    problems = []
    for name in given:
        if name not in table:
            near = difflib.get_close_matches(name, table, n=1)
            problems.append(f"{name}: unknown parameter" + (f", did you mean {near[0]}?" if near else ""))
    values = {}
    for name, row in table.items():
        if name not in given and row.required:
            problems.append(f"{name}: required and not given. {row.description}")
            continue
        try:
            values[name] = row.check(given.get(name, row.default))
        except ParameterError as error:
            problems.append(str(error))
    if problems:
        raise ParameterError("; ".join(problems))
    return parameters_type(**values)


def declare(node: Node, parameters_type: type[P]) -> P:
    """Declare a node's whole table read-only and return its values.

    The node must have been made with ``automatically_declare_parameters_from_overrides=True``, which is how rclpy tells
    what was given on the command line and in YAML files.

    Raises:
        ParameterError: a parameter is unknown, missing, of the wrong type or out of bounds.
    """
    given = {
        name: value.value
        for name, value in node.get_parameters_by_prefix("").items()
        if name not in _ROS_OWN and not name.startswith(_ROS_OWN_PREFIXES)
    }
    parameters = parse(parameters_type, given)
    for name in given:
        node.undeclare_parameter(name)
    for row in specifications(parameters_type):
        value = getattr(parameters, row.name)
        descriptor = row.descriptor()
        if isinstance(value, tuple):
            value = list(value)
            descriptor.dynamic_typing = not value  # an empty list has no ROS type
        node.declare_parameter(row.name, value, descriptor, ignore_override=True)
    return parameters


def markdown_table(parameters_type: type) -> str:
    """The table as Markdown, for the documentation."""
    lines = ["| parameter | type | default | unit | bounds | description |", "|---|---|---|---|---|---|"]
    for row in specifications(parameters_type):
        default = "*required*" if row.required else f"`{row.default!r}`"
        bounds = row.bounds.replace("|", "\\|")
        lines.append(f"| `{row.name}` | {row.type_name} | {default} | {row.unit} | {bounds} | {row.description} |")
    return "\n".join(lines)
