"""RLBench around the simulator: stored files in the true layout, and a small stand-in that is not the simulator."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clar_core.cli.main import main
from clar_core.control.spaces import KEYFRAME
from clar_core.data.rlbench import keyframe_episode
from clar_core.data.rlbench_demo import load_demonstration
from clar_core.data.rlbench_scene import SPEC, T_BASE_WORLD
from clar_core.data.store import StoreWriter
from clar_core.evaluation.keyframes import KeyframeEvaluationConfig, evaluate_keyframes
from clar_core.evaluation.rlbench import RLBenchEvaluationConfig, Rollouts, run_trial
from clar_core.evaluation.rlbench_actors import KeyframePolicy
from clar_core.evaluation.rlbench_simulator import Simulator, SimulatorMissingError, UnreachableError
from clar_core.evaluation.rvt2 import CAMERAS, Rvt2, Rvt2MissingError, agent_input
from clar_core.geometry.poses import inverse, make_pose, pose_from_quaternion, rotation_vector_to_matrix
from clar_core.models import registry
from clar_core.runtime import PolicyOutputError
from clar_core.training.checkpoints import save_checkpoint
from clar_core.training.config import ImitationConfig
from clar_core.training.imitation import train_imitation
from tests.core.training.policies import TINY, tiny_checkpoint
from tests.rlbench_files import STAND_IN, stand_in, write_demonstrations

DOWN = np.diag([1.0, -1.0, -1.0])


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a task with six of them."""
    return write_demonstrations(tmp_path_factory.mktemp("demos"), 6)


@pytest.fixture(scope="module")
def run(demonstrations: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained on the first three, for a moment."""
    home = tmp_path_factory.mktemp("training")
    writer = StoreWriter(home / "store", SPEC, points_per_cloud=1024, space=KEYFRAME)
    for number in range(3):
        folder = demonstrations / f"variation0/episodes/episode{number}"
        writer.append(keyframe_episode(load_demonstration(folder, T_BASE_WORLD), SPEC))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.PRESETS, "tiny", TINY)
        train_imitation(
            ImitationConfig(
                stores=(home / "store",), output=home / "run", encoder="tiny", samples=32, batch_size=8, device="cpu"
            )
        )
    return home / "run"


class Oracle:
    """Goes above the cube, then closes at it, from what the stand-in knows."""

    cameras = ("front",)
    colour = False

    def __init__(self, simulator: Simulator) -> None:
        self._task = simulator._task
        self.told: list[str] = []
        self._above = True

    def begin(self, instruction: str) -> None:
        self.told.append(instruction)
        self._above = True

    def decide(self, observation):
        height, self._above = (0.15, False) if self._above else (0.0, self._above)
        pose = inverse(T_BASE_WORLD) @ make_pose(DOWN, self._task.cube + np.array((0, 0, height)))
        return pose, height > 0


def test_the_simulator_is_called_as_rlbench_defines_it_and_a_success_is_its_own() -> None:
    with stand_in():
        simulator = Simulator("close_box", cameras=("front",), image_size=96)
        oracle = Oracle(simulator)
        trials = [run_trial(simulator, oracle, seed, Rollouts(task="close_box", source="")) for seed in (7, 8, 7)]
        told = Rollouts(task="close_box", source="", in_turn=True)
        run_trial(simulator, oracle, 9, told)
    assert [(t.success, t.reason, t.steps, t.duration_s) for t in trials] == [(True, "success", 2, 4.0)] * 3
    assert oracle.told == ["close box", "close box", "close box", "please close box"]


def test_a_pose_comes_to_the_planner_in_the_world_with_a_unit_quaternion() -> None:
    with stand_in():
        simulator = Simulator("close_box", cameras=("front",), image_size=96)
        simulator.reset(0)
        asked = []
        simulator._task.step = lambda action: asked.append(action) or (None, 0.0, False)
        pose = make_pose(rotation_vector_to_matrix((0.2, 3.0, 0.1)) * 1.001, (0.2, 0.1, 0.9))
        simulator.go(pose, is_open=True)
    np.testing.assert_allclose(asked[0][:3], (0.2, 0.1, 0.9))
    assert np.linalg.norm(asked[0][3:7]) == pytest.approx(1.0, abs=1e-12)
    rotation = pose_from_quaternion(asked[0][:3], asked[0][3:7])[:3, :3]
    np.testing.assert_allclose(rotation, rotation_vector_to_matrix((0.2, 3.0, 0.1)), atol=1e-9)
    assert asked[0][7] == 1.0


def test_a_trial_ends_as_a_failure_where_the_planner_finds_no_path_or_the_answer_is_no_pose() -> None:
    class Diver(Oracle):
        def decide(self, observation):
            return make_pose(DOWN, (0.2, 0.0, 0.0)), True

    class Silent(Oracle):
        def decide(self, observation):
            raise PolicyOutputError("nothing")

    class Waiting(Oracle):
        def decide(self, observation):
            return make_pose(DOWN, (0.2, 0.0, 1.2)), True

    with stand_in():
        simulator = Simulator("close_box", cameras=("front",), image_size=96)
        rollouts = Rollouts(task="close_box", source="", steps=3)
        trials = [run_trial(simulator, kind(simulator), 1, rollouts) for kind in (Diver, Silent, Waiting)]
        with pytest.raises(UnreachableError, match="outside of workspace"):
            simulator.go(make_pose(DOWN, (0.2, 0.0, 0.0)), is_open=True)
    assert [(t.success, t.reason, t.steps) for t in trials] == [
        (False, "no path", 1),
        (False, "no pose", 0),
        (False, "step limit", 3),
    ]


def test_the_policy_sees_in_the_simulator_what_it_would_see_of_the_stored_demonstration(
    run: Path, tmp_path: Path
) -> None:
    policy = KeyframePolicy(run / "best")
    seen = []
    policy.runtime.next_keyframe = lambda cloud, state, _: (
        seen.append((cloud, state)) or (_ for _ in ()).throw(KeyError)
    )
    with stand_in():
        simulator = Simulator("close_box", cameras=("front",), image_size=96)
        _, observation = simulator.reset(0)
        with pytest.raises(KeyError):
            policy.decide(observation)
    task = write_demonstrations(tmp_path, 1, seed=0)
    cloud, state = load_demonstration(task / "variation0/episodes/episode0", T_BASE_WORLD).observe(0, SPEC, "front")
    # The gripper of the demonstration is turned already; its place and all that is seen are the same.
    np.testing.assert_allclose(seen[0][1][:3], state[:3], atol=1e-6)
    assert len(seen[0][0]) == len(cloud)
    np.testing.assert_allclose(seen[0][0], cloud, atol=1.1e-3)


def test_what_training_saw_is_left_out_and_the_rest_is_measured_beside_staying(
    run: Path, demonstrations: Path, tmp_path: Path
) -> None:
    config = KeyframeEvaluationConfig(checkpoint=str(run), demos=demonstrations.parent)
    evaluation = evaluate_keyframes(config, tmp_path / "out")
    assert evaluation.seen == 3
    assert {d.demonstration for d in evaluation.decisions} == {f"variation0/episode{n}" for n in (3, 4, 5)}
    stays = evaluation.of("stays")
    demonstration = load_demonstration(demonstrations / "variation0/episodes/episode3", T_BASE_WORLD)
    ends = demonstration.keyframes()
    expected = np.linalg.norm(demonstration.poses[ends[0]][:3, 3] - demonstration.poses[0][:3, 3]) * 1000
    assert stays[0].distance_mm == pytest.approx(expected, abs=0.01)
    assert [d.gripper_right for d in stays] == [not d.gripper_changes for d in stays]
    assert (
        len(evaluation.of("policy"))
        == len(stays)
        == sum(
            len(load_demonstration(demonstrations / f"variation0/episodes/episode{n}").keyframes()) for n in (3, 4, 5)
        )
    )


def test_an_interrupted_measurement_goes_on_and_another_is_refused(
    run: Path, demonstrations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = KeyframeEvaluationConfig(checkpoint=str(run), demos=demonstrations)

    def stop(what: str, done: int, of: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_keyframes(config, tmp_path / "out", progress=stop)
    lines = tmp_path / "out/decisions.jsonl"
    assert len(lines.read_text().splitlines()) == 4
    with lines.open("a") as file:
        file.write('{"folder": "cut o')
    whole = evaluate_keyframes(config, tmp_path / "out")
    assert len(lines.read_text().splitlines()) == 6
    assert whole.decisions == evaluate_keyframes(config, tmp_path / "other").decisions
    with pytest.raises(ValueError, match="holds another evaluation: camera was 'front' and is 'wrist' now"):
        evaluate_keyframes(
            KeyframeEvaluationConfig(checkpoint=str(run), demos=demonstrations, camera="wrist"), tmp_path / "out"
        )


def test_the_command_writes_figures_and_a_page(
    run: Path, demonstrations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["eval", "rlbench", str(run), "--demos", str(demonstrations), "--output", str(out)]) == 0
    text = capsys.readouterr().out
    assert "training saw 3 of the demonstrations: left out" in text
    values = json.loads((out / "results.json").read_text())
    policy = values["tasks"]["close_box"]["policy"]
    assert policy["demonstrations"] == 3
    assert policy["position_mm"]["p50"] > 0
    assert policy["gripper"]["of"] == policy["decisions"]
    assert "Open loop" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "put_rubbish"], r"--tasks: .* has no 'put_rubbish'; it has close_box"),
        (["--camera", "overhead"], r"overhead_depth/0.png: is missing"),
        (["--policy", "rvt2"], r"--demos: measures one policy of `clar train`"),
    ],
)
def test_what_cannot_be_measured_is_named(
    run: Path,
    demonstrations: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    command = ["eval", "rlbench", str(run), "--demos", str(demonstrations), "--output", str(tmp_path / "o"), *arguments]
    assert main(command) == 1
    assert re.search(message, capsys.readouterr().err)


def test_demonstrations_that_training_saw_are_measured_only_on_demand(
    run: Path, demonstrations: Path, tmp_path: Path
) -> None:
    episodes = tmp_path / "close_box/variation0/episodes"
    episodes.mkdir(parents=True)
    for number in range(3):
        (episodes / f"episode{number}").symlink_to(demonstrations / f"variation0/episodes/episode{number}")
    config = KeyframeEvaluationConfig(checkpoint=str(run), demos=tmp_path)
    with pytest.raises(ValueError, match=r"training saw 3 of its 3 demonstrations.*--include-seen"):
        evaluate_keyframes(config, tmp_path / "a")
    evaluation = evaluate_keyframes(replace(config, include_seen=True), tmp_path / "b")
    assert all(decision.seen for decision in evaluation.of("policy"))


def test_without_the_simulator_the_command_says_what_to_install(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "rlbench", str(run), "--tasks", "close_box"]) == 1
    error = capsys.readouterr().err
    for text in ("RLBench 1.2.0", "CoppeliaSim 4.1.0", "https://github.com/stepjam/RLBench", "--demos"):
        assert text in error
    with pytest.raises(SimulatorMissingError):
        Simulator("close_box", cameras=("front",), image_size=96)


def test_rvt2_says_what_to_install_and_which_file_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model_99.pth: is missing"):
        Rvt2(tmp_path / "model_99.pth", 25)
    for name in ("model_99.pth", "exp_cfg.yaml", "mvt_cfg.yaml"):
        (tmp_path / name).write_text("")
    with pytest.raises(Rvt2MissingError, match=r"https://github\.com/NVlabs/RVT"):
        Rvt2(tmp_path / "model_99.pth", 25)
    with pytest.raises(ValueError, match="--tasks: RVT-2's weights do not say"):
        RLBenchEvaluationConfig(checkpoint=str(tmp_path / "model_99.pth"), policy="rvt2")


def test_rvt2_is_shown_what_its_own_evaluation_shows_it() -> None:
    with stand_in():
        simulator = Simulator("close_box", cameras=CAMERAS, image_size=128, colour=True)
        _, observation = simulator.reset(0)
    observation.front_rgb[3, 5] = (10, 20, 250)
    observation.gripper_joint_positions = np.array([0.0401, 0.02])
    shown = agent_input(observation, np.arange(77), progress=0.25)
    assert {name: value.shape for name, value in shown.items() if name.startswith(CAMERAS)} == {
        f"{camera}_{name}": (3, 128, 128) for camera in CAMERAS for name in ("rgb", "point_cloud")
    }
    assert shown["front_rgb"][:, 3, 5].tolist() == [10, 20, 250]
    np.testing.assert_allclose(shown["low_dim_state"], [1.0, 0.04, 0.02, 0.5])
    assert {value.dtype for name, value in shown.items() if name != "lang_goal_tokens"} == {np.dtype(np.float32)}


def test_a_policy_of_steps_is_refused_by_name(tmp_path: Path, demonstrations: Path) -> None:
    save_checkpoint(tmp_path / "steps", tiny_checkpoint())
    with pytest.raises(ValueError, match="expected keyframe_pose_and_gripper, the checkpoint's is tcp_delta_pose"):
        KeyframePolicy(tmp_path / "steps")
    with pytest.raises(ValueError, match="expected keyframe_pose_and_gripper, the checkpoint's is tcp_delta_pose"):
        evaluate_keyframes(KeyframeEvaluationConfig(checkpoint=str(tmp_path / "steps"), demos=demonstrations))


def test_the_whole_command_runs_trials_in_a_worker(run: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": f"{STAND_IN}:{Path.cwd()}", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable, "-m", "clar_core.cli.main", "eval", "rlbench", str(run), "--output", str(tmp_path / "out"),
        "--steps", "2", "--image-size", "96",
    ]  # fmt: skip
    done = subprocess.run([*command, "--trials", "1"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "out/results.json").read_text())
    assert values["results"][0]["tasks"]["close_box"]["trials"] == 1
    assert values["evaluation"]["rlbench"] == "0.stand-in"
    assert "in RLBench" in (tmp_path / "out/report.html").read_text()
