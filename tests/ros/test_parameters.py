"""Node parameters: typed, bounded, refused by name, and documented from the same table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.node import Node
from rclpy.parameter import Parameter

from clar import documentation
from clar.nodes.arm import ArmParameters
from clar.nodes.calibrated_tf import CalibratedTfParameters
from clar.nodes.camera import CameraParameters
from clar.nodes.cloud import CloudParameters
from clar.nodes.manager import ManagerParameters
from clar.nodes.policy import PolicyParameters
from clar.nodes.sim import SimParameters
from clar.parameters import NodeParameters, ParameterError, declare, markdown_table, parameter, parse, specifications

CONFIG = Path(__file__).parents[2] / "ros2_ws" / "src" / "clar" / "config" / "stack.yaml"
TABLES = {
    "clar_arm": ArmParameters,
    "clar_calibrated_tf": CalibratedTfParameters,
    "clar_camera": CameraParameters,
    "clar_cloud": CloudParameters,
    "clar_manager": ManagerParameters,
    "clar_policy": PolicyParameters,
    "clar_sim": SimParameters,
}


@dataclass(frozen=True, kw_only=True)
class Example(NodeParameters):
    rate_hz: float = parameter(10.0, "How often.", unit="Hz", minimum=1.0, maximum=100.0)
    count: int = parameter(3, "How many.", minimum=1)
    mode: str = parameter("fast", "Which way.", choices=("fast", "slow"))
    flag: bool = parameter(False, "Whether.")
    corners_m: tuple[float, ...] = parameter((0.0, 1.0), "Where.", unit="m", minimum=-1.0, maximum=1.0)
    path: str = parameter(description="Required path.")


@pytest.fixture
def context(ros_domain: int) -> Iterator[rclpy.Context]:
    context = rclpy.Context()
    context.init()
    yield context
    context.try_shutdown()


def make_node(context: rclpy.Context, **given: object) -> Node:
    return Node(
        "example",
        context=context,
        parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
        automatically_declare_parameters_from_overrides=True,
    )


def test_given_values_and_defaults_come_back_typed_and_frozen(context: rclpy.Context) -> None:
    node = make_node(context, path="/a", rate_hz=20, corners_m=[0.5, -0.5])
    parameters = declare(node, Example)
    assert parameters == Example(path="/a", rate_hz=20.0, corners_m=(0.5, -0.5))
    assert isinstance(parameters.rate_hz, float)
    with pytest.raises(FrozenInstanceError):
        parameters.rate_hz = 1.0  # type: ignore[misc]


def test_declared_parameters_carry_unit_bounds_and_cannot_be_set(context: rclpy.Context) -> None:
    node = make_node(context, path="/a")
    declare(node, Example)
    descriptor = node.describe_parameter("rate_hz")
    assert descriptor.description == "How often. [Hz]"
    assert (descriptor.floating_point_range[0].from_value, descriptor.floating_point_range[0].to_value) == (1.0, 100.0)
    assert not node.set_parameters([Parameter("rate_hz", value=5.0)])[0].successful


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "path: required and not given. Required path."),
        ({"path": "/a", "rate_hz": 1000.0}, "rate_hz: 1000.0 is out of bounds, expected 1 to 100 Hz"),
        ({"path": "/a", "rate_hz": float("nan")}, "rate_hz: expected a finite number"),
        ({"path": "/a", "rate_hz": "fast"}, "rate_hz: expected float (1 to 100 Hz), got 'fast'"),
        ({"path": "/a", "count": 2.5}, "count: expected int"),
        ({"path": "/a", "count": True}, "count: expected int"),
        ({"path": "/a", "count": 0}, "count: 0 is out of bounds, expected 1 to inf"),
        ({"path": "/a", "mode": "medium"}, "mode: expected one of fast, slow, got 'medium'"),
        ({"path": "/a", "flag": 1}, "flag: expected bool"),
        ({"path": "/a", "corners_m": [0.0, 2.0]}, "corners_m: 2.0 is out of bounds"),
        ({"path": "/a", "corners_m": 0.5}, "corners_m: expected a list of float"),
        ({"path": "/a", "rat_hz": 5.0}, "rat_hz: unknown parameter, did you mean rate_hz?"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(given: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse(Example, given)
    assert message in str(caught.value)


def test_all_wrong_parameters_are_named_at_once() -> None:
    with pytest.raises(ParameterError, match=r"count.*mode"):
        parse(Example, {"path": "/a", "count": 0, "mode": "x"})


def test_an_unsupported_type_is_a_programming_error() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Wrong:
        values: complex = parameter(1j, "No ROS type.")

    with pytest.raises(TypeError, match="values"):
        specifications(Wrong)


def test_the_table_documents_every_parameter() -> None:
    table = markdown_table(Example)
    assert "| `rate_hz` | float | `10.0` | Hz | 1 to 100 | How often. |" in table
    assert "| `path` | str | *required* |  |  | Required path. |" in table


@pytest.mark.parametrize("node", TABLES)
def test_every_parameter_of_every_node_is_described_and_its_default_admissible(node: str) -> None:
    for row in specifications(TABLES[node]):
        assert row.description.endswith("."), f"{node}.{row.name} has no sentence"
        if not row.required:
            row.check(row.default)


def test_the_stacks_parameter_file_holds_only_what_the_nodes_accept() -> None:
    for node, content in yaml.safe_load(CONFIG.read_text()).items():
        table = {row.name: row for row in specifications(TABLES[node])}
        for name, value in content["ros__parameters"].items():
            assert table[name].check(value) == value, f"{node}.{name}"


def test_the_page_on_nodes_shows_the_tables_as_they_are() -> None:
    written = (Path(__file__).parents[2] / "docs" / "nodes.md").read_text(encoding="utf-8")
    assert written == documentation.page(), "run: python -m clar.documentation docs/nodes.md"
