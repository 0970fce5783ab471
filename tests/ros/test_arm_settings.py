from pathlib import Path

import pytest

from clar.arm_settings import ArmParameters, check_combination, controller_settings, franka_config
from clar.node import NodeError
from clar.parameters import markdown_table, parse
from clar_core.cell_config import load_cell
from clar_core.control import supervisor
from clar_core.control.tracking import DEFAULT_GAINS
from tests.ros.arm_rig import write_cell

SAFETY = Path(__file__).parents[2] / "docs" / "safety.md"


def parameters(**given: object) -> ArmParameters:
    return parse(ArmParameters, {"cell": "cell.yaml", **given})


@pytest.mark.parametrize(
    ("given", "use_sim_time", "text"),
    [
        ({"auto_arm": True}, False, "auto_arm: refused with hardware:=real"),
        ({}, True, "use_sim_time: refused with hardware:=real"),
        ({"observation_drop_age_s": 0.4}, False, "observation_drop_age_s"),
    ],
)
def test_parameters_that_must_not_meet_are_refused(given: dict[str, object], use_sim_time: bool, text: str) -> None:
    with pytest.raises(NodeError, match=text):
        check_combination(parameters(**given), use_sim_time)


def test_the_simulated_cell_may_arm_itself() -> None:
    check_combination(parameters(hardware="sim", auto_arm=True), use_sim_time=False)


def test_a_robot_needs_a_real_time_kernel_and_the_simulation_does_not(tmp_path: Path) -> None:
    cell = load_cell(write_cell(tmp_path))
    assert franka_config(parameters(), cell).realtime
    assert not franka_config(parameters(realtime="off"), cell).realtime
    assert not franka_config(parameters(hardware="sim"), cell).realtime


def test_the_address_of_the_command_line_comes_before_the_cell_file(tmp_path: Path) -> None:
    cell = load_cell(write_cell(tmp_path, "172.16.0.2"))
    assert franka_config(parameters(), cell).host == "172.16.0.2"
    assert franka_config(parameters(robot_ip="127.0.0.5"), cell).host == "127.0.0.5"


def test_the_arm_follows_with_the_gains_of_the_simulated_environment(tmp_path: Path) -> None:
    settings = controller_settings(parameters(), load_cell(write_cell(tmp_path)))
    assert settings.gains == DEFAULT_GAINS
    assert settings.envelope.braking_m_s2 == pytest.approx(type(settings.envelope).braking_m_s2, rel=0.01)


def test_the_documentation_shows_the_states_and_parameters_of_the_code() -> None:
    text = SAFETY.read_text()
    assert supervisor.mermaid() in text
    assert supervisor.markdown() in text
    assert markdown_table(ArmParameters) in text
