"""Gates keep the arm still until they have spoken, and while they object."""

from clar_core.control.gates import Gate, Gates


def test_a_required_gate_that_never_spoke_objects() -> None:
    gates = Gates(required=("calibration",))
    assert "no word from the gate 'calibration'" in gates.objections()[0]
    gates.update(Gate("calibration"))
    assert gates.objections() == []


def test_a_closed_gate_objects_whether_required_or_not_until_it_opens() -> None:
    gates = Gates()
    gates.update(Gate("scene", "the camera moved by 8 mm: calibrate again"))
    assert gates.objections() == ["scene: the camera moved by 8 mm: calibrate again"]
    gates.update(Gate("scene"))
    assert gates.objections() == []


def test_an_override_silences_a_gate_and_is_told_once() -> None:
    told: list[str] = []
    gates = Gates(required=("calibration", "scene"), overridden=("calibration", "scene"), on_remark=told.append)
    for _ in range(2):
        gates.update(Gate("calibration", "40 days old"))
    assert gates.objections() == []
    assert told == ["gate calibration: overridden: 40 days old"]


def test_an_open_gate_may_remark() -> None:
    told: list[str] = []
    gates = Gates(on_remark=told.append)
    gates.update(Gate("calibration", remark="another camera pose than in the training data"))
    assert gates.objections() == []
    assert told == ["gate calibration: another camera pose than in the training data"]
