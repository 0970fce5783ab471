import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from clar_core.training import checkpoint_files
from clar_core.training.checkpoints import CheckpointError, check_observation, load_checkpoint, save_checkpoint
from tests.core.data.demonstrations import SPEC
from tests.core.training.policies import tiny_checkpoint


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "policy", tiny_checkpoint())
    return tmp_path / "policy"


def sign(directory: Path) -> None:
    """Make the digests those of the files, so that a test reaches the check behind them."""
    provenance = json.loads((directory / "provenance.json").read_text())
    for name in provenance["sha256"]:
        provenance["sha256"][name] = hashlib.sha256((directory / name).read_bytes()).hexdigest()
    (directory / "provenance.json").write_text(json.dumps(provenance))


def edit(directory: Path, file: str, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads((directory / file).read_text())
    change(values)
    (directory / file).write_text(json.dumps(values))
    sign(directory)


@pytest.mark.parametrize("language", [False, True])
def test_a_checkpoint_comes_back_the_same(tmp_path: Path, language: bool) -> None:
    saved = tiny_checkpoint(language=language)
    save_checkpoint(tmp_path / "p", saved)
    loaded = load_checkpoint(tmp_path / "p")
    points, state = torch.rand(2, 32, 3), torch.randn(2, 10)
    feature = torch.eye(2) if language else None
    with torch.no_grad():
        torch.testing.assert_close(loaded.policy(points, state, feature), saved.policy(points, state, feature))
    assert (loaded.config, loaded.spec, loaded.instructions) == (saved.config, saved.spec, saved.instructions)
    assert loaded.normalizer.to_dict() == saved.normalizer.to_dict()
    assert loaded.provenance["note"] == "test"
    assert not loaded.policy.training


def test_half_precision_halves_the_file_and_keeps_the_policy(tmp_path: Path) -> None:
    whole = tiny_checkpoint()
    save_checkpoint(tmp_path / "whole", whole)
    save_checkpoint(tmp_path / "half", whole, half=True)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.7 * sizes[1]
    read = load_checkpoint(tmp_path / "half").policy.state_dict()
    for name, value in whole.policy.state_dict().items():
        assert read[name].dtype == value.dtype
        torch.testing.assert_close(read[name], value, rtol=1e-3, atol=1e-6)
    with torch.no_grad():
        next(whole.policy.parameters()).fill_(1e6)
    with pytest.raises(CheckpointError, match=r"policy\..*: holds values beyond float16's 65504"):
        save_checkpoint(tmp_path / "half", whole, half=True)
    assert load_checkpoint(tmp_path / "half")


def test_a_copy_replaces_what_was_there_and_loads(directory: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "chosen", tiny_checkpoint(seed=1))
    (tmp_path / "chosen/leftover").touch()
    checkpoint_files.copy_checkpoint(directory, tmp_path / "chosen")
    assert not (tmp_path / "chosen/leftover").exists()
    assert load_checkpoint(tmp_path / "chosen").provenance == load_checkpoint(directory).provenance
    with pytest.raises(FileNotFoundError):
        checkpoint_files.copy_checkpoint(tmp_path / "nowhere", tmp_path / "chosen")
    load_checkpoint(tmp_path / "chosen")


def test_saving_again_replaces_the_whole_directory(directory: Path) -> None:
    (directory / "leftover").touch()
    save_checkpoint(directory, tiny_checkpoint(seed=1))
    assert sorted(path.name for path in directory.iterdir()) == [
        "config.json",
        "model.safetensors",
        "normalizer.json",
        "provenance.json",
    ]
    assert [path.name for path in directory.parent.iterdir()] == ["policy"]


def test_a_save_that_dies_leaves_the_old_checkpoint(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (directory / "model.safetensors").read_bytes()
    writes = []

    def dying(path: Path, content: bytes) -> None:
        writes.append(path)
        if len(writes) == 3:
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_files, "_write", dying)
        with pytest.raises(OSError, match=r"No space left"):
            save_checkpoint(directory, tiny_checkpoint(seed=1))
    assert (directory / "model.safetensors").read_bytes() == before
    load_checkpoint(directory)
    save_checkpoint(directory, tiny_checkpoint(seed=1))
    assert (directory / "model.safetensors").read_bytes() != before


def test_the_old_checkpoint_is_there_until_the_new_one_takes_its_place(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def dying(path: Path, target: Path) -> Path:
        if path.name.endswith(".new"):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dying)
        with pytest.raises(OSError, match=r"Input/output error"):
            save_checkpoint(directory, tiny_checkpoint(seed=1))
    assert load_checkpoint(directory).provenance["note"] == "test"


def test_a_swap_that_dies_half_way_is_completed_by_the_next_reader(directory: Path) -> None:
    directory.rename(directory.with_name(".policy.old"))
    assert load_checkpoint(directory).provenance["note"] == "test"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "normalizer.json", "provenance.json"])
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name}: missing"):
        load_checkpoint(directory)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "normalizer.json", "provenance.json"])
def test_a_truncated_file_is_named(directory: Path, name: str) -> None:
    content = (directory / name).read_bytes()
    (directory / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=rf"{name}: .*(truncated or altered|not valid JSON)"):
        load_checkpoint(directory)


def test_truncated_weights_are_recognised_even_with_a_right_digest(directory: Path) -> None:
    content = (directory / "model.safetensors").read_bytes()
    (directory / "model.safetensors").write_bytes(content[:-100])
    sign(directory)
    with pytest.raises(CheckpointError, match=r"not a whole safetensors file"):
        load_checkpoint(directory)


def test_a_missing_directory_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint directory here; .* `clar train`"):
        load_checkpoint(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format="clar-policy/9"), r"format: expected 'clar-policy/1', found 'clar-policy/9'"),
        (lambda c: c["action"].update(space="joint_velocities"), r"action.space: .* 'joint_velocities'"),
        (lambda c: c["action"].update(rate_hz=20.0), r"action.rate_hz: .* 10.0.* 20.0"),
        (lambda c: c["action"].update(end_effector="tool0"), r"action.end_effector"),
        (lambda c: c.pop("action"), r"action: expected an object"),
        (lambda c: c.update(cameras=2), r"cameras: this software observes with 1, the checkpoint with 2"),
        (lambda c: c["observation"].update(colour=True), r"unknown field 'colour'"),
        (lambda c: c["observation"].pop("crop_min_m"), r"'crop_min_m' is missing"),
        (lambda c: c["model"]["head"].update(width="wide"), r"model.head.width: expected int"),
        (lambda c: c["model"]["encoder"].update(dim=48), r"model.safetensors: policy\..*: expected shape"),
        (lambda c: c["model"]["encoder"].update(depth=2), r"model.safetensors: policy\..*: missing"),
        (lambda c: c["model"]["head"].update(language_dim=3), r"instruction_features: found no tensor"),
        (lambda c: c.update(instructions=[3]), r"instructions: expected a list of sentences"),
    ],
)
def test_a_wrong_config_is_refused_by_field(
    directory: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(directory, "config.json", change)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(directory)


def test_a_wrong_normalizer_is_refused_by_field(directory: Path) -> None:
    edit(directory, "normalizer.json", lambda values: values.update(state_std=[1.0]))
    with pytest.raises(CheckpointError, match=r"normalizer.json: state_std: expected 10 numbers"):
        load_checkpoint(directory)


def test_weights_that_are_not_finite_are_refused_by_name(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    weights["policy.encoder.norm.weight"][0] = float("nan")
    save_file(weights, directory / "model.safetensors")
    sign(directory)
    with pytest.raises(CheckpointError, match=r"policy.encoder.norm.weight: holds NaN or Inf"):
        load_checkpoint(directory)


def test_another_crop_box_is_refused_by_field(directory: Path) -> None:
    checkpoint = load_checkpoint(directory)
    check_observation(checkpoint, SPEC)
    with pytest.raises(CheckpointError, match=r"crop_min_m: \(0.2, .*\), \(0.1, "):
        check_observation(checkpoint, replace(SPEC, crop_min_m=(0.1, -0.45, 0.006)))
