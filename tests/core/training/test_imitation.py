import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from clar_core.data.augmentation import AugmentationConfig
from clar_core.data.datasets import Demonstrations, ImitationDataset, SampleKey, collate, fit_normalizer
from clar_core.models import registry
from clar_core.models.clar import Clar, ClarConfig
from clar_core.models.registry import PolicyConfig, build_policy
from clar_core.observation.spec import ObservationSpec
from clar_core.runtime import InstructionError, PolicyRuntime
from clar_core.training.checkpoints import CheckpointError, load_checkpoint
from clar_core.training.config import ImitationConfig
from clar_core.training.imitation import train_imitation
from clar_core.training.loop import TrainingError
from clar_core.training.pretrain_checkpoints import Pretrained, save_pretrained
from clar_core.training.run import ImitationRun
from clar_core.training.samples import FeatureSamples
from tests.core.data.demonstrations import SPEC, episode, write_store
from tests.core.training.policies import TINY


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.PRESETS, "tiny", replace(TINY, depth=2, drop_path=0.5))


def config(directory: Path, **changes: Any) -> ImitationConfig:
    store = directory / "store"
    if not store.exists():
        write_store(store)
    values: dict[str, Any] = {
        "stores": (store,),
        "output": directory / "run",
        "encoder": "tiny",
        "samples": 96,
        "batch_size": 8,
        "validate_every": 48,
        "save_every": 96,
        "validation_fraction": 0.2,
        "device": "cpu",
        **changes,
    }
    return ImitationConfig(**values)


def interrupt_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    record, calls = ImitationRun.record_step, []

    def recording(self: ImitationRun, *arguments: Any) -> None:
        record(self, *arguments)
        calls.append(None)
        if len(calls) == step:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(ImitationRun, "record_step", recording)


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(run / name / "model.safetensors")


def test_a_run_leaves_checkpoints_that_act_and_say_where_they_come_from(tmp_path: Path) -> None:
    best = train_imitation(config(tmp_path, keep_every=48))
    assert best == tmp_path / "run/best"
    checkpoint = load_checkpoint(best)
    provenance = checkpoint.provenance
    assert provenance["data"]["episodes"] == 6
    assert list(provenance["data"]["stores"]) == [str(tmp_path / "store")]
    assert provenance["training"]["encoder"] == "tiny"
    assert provenance["software"]["torch"] == torch.__version__
    assert checkpoint.instructions == ("reach the blob",)
    assert sorted(path.name for path in (tmp_path / "run/kept").iterdir()) == ["00000048", "00000096"]
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["samples"] for line in lines] == [48, 96]
    for name in ("train/rotation", "validation/gripper", "validation/gripper_accuracy_at_switch"):
        assert np.isfinite(lines[-1][name])


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    run = config(
        tmp_path, encoder="blind", augment=False, samples=1200, batch_size=20, validate_every=300, learning_rate=3e-3
    )
    train_imitation(run)
    losses = [json.loads(line)["train/loss"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.7 * losses[0]


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_imitation(config(tmp_path, output=tmp_path / "whole"))
    with monkeypatch.context() as patch:
        interrupt_after(5, patch)
        with pytest.raises(KeyboardInterrupt):
            train_imitation(config(tmp_path))
    assert load_checkpoint(tmp_path / "run/last").provenance["samples"] == 40
    train_imitation(config(tmp_path))
    for name in ("last", "best"):
        whole, resumed = weights(tmp_path / "whole", name), weights(tmp_path / "run", name)
        for key in whole:
            torch.testing.assert_close(resumed[key], whole[key], atol=0, rtol=0, msg=f"{name} {key}")


_KILLED = """
import sys
from pathlib import Path
from clar_core.data.datasets import Demonstrations, ImitationDataset, SampleKey, collate, fit_normalizer
from clar_core.models import registry
from clar_core.models.clar import Clar, ClarConfig
from clar_core.models.registry import PolicyConfig, build_policy
from clar_core.observation.spec import ObservationSpec
from clar_core.runtime import InstructionError, PolicyRuntime
from clar_core.training.config import ImitationConfig
from clar_core.training.imitation import train_imitation
train_imitation(ImitationConfig(
    stores=(Path(sys.argv[1]),), output=Path(sys.argv[2]), encoder="blind", samples=int(sys.argv[3]), batch_size=8,
    save_every=8, validate_every=80_000, device="cpu"))
"""


def test_a_killed_run_goes_on_from_its_last_state(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    command = [sys.executable, "-c", _KILLED, str(store), str(tmp_path / "run"), "80000"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 90
        while not (tmp_path / "run/state.safetensors").exists():
            assert process.poll() is None, "the training process ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    run = config(
        tmp_path, encoder="blind", samples=80_000, save_every=80_000, validate_every=80_000, validation_fraction=0.1
    )
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        batches = FeatureSamples.batches

        def watched(samples: FeatureSamples, first: int, stop: int) -> Any:
            seen.append(first)
            return batches(samples, first, min(stop, first + 2))

        patch.setattr(FeatureSamples, "batches", watched)
        patch.setattr(ImitationRun, "finish", lambda *_: tmp_path)
        train_imitation(run)
    assert seen[0] > 0


def test_a_run_is_not_continued_under_another_recipe_or_on_other_data(tmp_path: Path) -> None:
    train_imitation(config(tmp_path))
    with pytest.raises(TrainingError, match=r"recipe.learning_rate was 0.001 .* and is 0.01 now"):
        train_imitation(config(tmp_path, learning_rate=0.01))
    write_store(tmp_path / "store", range(6, 7))
    with pytest.raises(TrainingError, match=r"data\..*store"):
        train_imitation(config(tmp_path))
    train_imitation(config(tmp_path, resume=False))


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    train_imitation(config(tmp_path))
    state = tmp_path / "run/state.safetensors"
    state.write_bytes(state.read_bytes()[:200])
    with pytest.raises(TrainingError, match=r"state.safetensors: cannot be read .* remove it"):
        train_imitation(config(tmp_path))


def test_the_number_of_workers_does_not_change_the_result(tmp_path: Path) -> None:
    for workers in (0, 2):
        train_imitation(config(tmp_path, samples=32, workers=workers, output=tmp_path / str(workers)))
    one, other = weights(tmp_path / "0"), weights(tmp_path / "2")
    for key in one:
        torch.testing.assert_close(one[key], other[key], atol=0, rtol=0)


def test_a_second_round_starts_from_the_first_with_its_units(tmp_path: Path) -> None:
    first = train_imitation(config(tmp_path))
    more = write_store(tmp_path / "more", range(6, 9), success=False)
    second = config(
        tmp_path,
        stores=(tmp_path / "store", more),
        output=tmp_path / "second",
        init_from=first,
        require_success=False,
        samples=8,
        learning_rate=1e-9,
        final_learning_rate=0.0,
    )
    train_imitation(second)
    before, after = load_checkpoint(first), load_checkpoint(tmp_path / "second/last")
    assert after.normalizer.to_dict() == before.normalizer.to_dict()
    for name, value in before.policy.named_parameters():
        torch.testing.assert_close(dict(after.policy.named_parameters())[name], value, atol=1e-6, rtol=1e-5)


def test_a_pretrained_encoder_can_be_frozen(tmp_path: Path) -> None:
    first = train_imitation(config(tmp_path))
    run = config(
        tmp_path, output=tmp_path / "second", init_from=first, init_encoder_only=True, encoder_training="frozen"
    )
    train_imitation(run)
    before, after = weights(tmp_path / "run", "best"), weights(tmp_path / "second")
    parameters = [f"policy.{name}" for name, _ in load_checkpoint(first).policy.named_parameters()]
    moved = {name for name in parameters if not torch.equal(before[name], after[name])}
    assert moved
    assert not any(key.startswith("policy.encoder") for key in moved)


def test_a_checkpoint_of_another_architecture_is_refused_by_field(tmp_path: Path) -> None:
    first = train_imitation(config(tmp_path, encoder="blind"))
    with pytest.raises(CheckpointError, match=r"model.encoder.centres is None, the run asks for 8"):
        train_imitation(config(tmp_path, output=tmp_path / "second", init_from=first))


def test_language_conditions_on_the_task(tmp_path: Path) -> None:
    write_store(tmp_path / "lift", range(6, 9), task="lift")
    run = config(tmp_path, language=True, text_encoder="table")
    best = train_imitation(replace(run, stores=(*run.stores, tmp_path / "lift")))
    checkpoint = load_checkpoint(best)
    assert checkpoint.instructions == ("lift the blob", "reach the blob")
    assert checkpoint.instruction_features is not None
    assert checkpoint.instruction_features.tolist() == [[1, 0], [0, 1]]


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the loss of step \d+ is nan; lower learning_rate"):
        train_imitation(config(tmp_path, learning_rate=1e30, samples=800, gradient_clip=1e30, encoder="blind"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("samples", 0),
        ("learning_rate", 0.0),
        ("ema_decay", 1.0),
        ("batch_size", 1),
        ("encoder_training", "frozen"),
        ("chunk", 0),
    ],
)
def test_wrong_settings_are_refused_by_field(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        config(tmp_path, **{field: value})


def test_augmentation_settings_are_part_of_the_recipe(tmp_path: Path) -> None:
    plain, other = config(tmp_path), config(tmp_path, augmentation=AugmentationConfig(yaw_rad=0.1))
    assert plain.recipe() != other.recipe()
    assert plain.recipe() == config(tmp_path, threads=2, output=tmp_path / "x").recipe()


def test_words_condition_on_sentences_and_the_run_says_how_to_deploy_it(tmp_path: Path) -> None:
    write_store(tmp_path / "lift", range(6, 9), task="lift")
    run = config(tmp_path, language=True)
    checkpoint = load_checkpoint(train_imitation(replace(run, stores=(*run.stores, tmp_path / "lift"))))
    assert checkpoint.text_encoder == {"kind": "words", "dim": 256}
    policy = PolicyRuntime(checkpoint, device="cpu", dtype="float32")
    policy.check_instruction("reach the other blob")
    with pytest.raises(InstructionError, match="expected a word that says what to do"):
        policy.check_instruction("of the")
    with pytest.raises(InstructionError, match="does not know"):
        policy.check_instruction(None)
    text = (tmp_path / "run/README.md").read_text()
    for part in ("clar eval cell", "ros2 launch clar policy.launch.py hardware:=real", "any sentence", "lift the blob"):
        assert part in text


@pytest.mark.parametrize("training", ["frozen", "frozen_random"])
def test_a_fixed_encoder_keeps_its_weights_and_its_statistics(tmp_path: Path, training: str) -> None:
    start = train_imitation(config(tmp_path, output=tmp_path / "first")) if training == "frozen" else None
    settings = config(tmp_path, encoder_training=training, init_from=start, init_encoder_only=True, cached_views=2)
    kept = load_checkpoint(train_imitation(settings)).policy.state_dict()
    if start is None:
        model = load_checkpoint(tmp_path / "run/best").config
        torch.manual_seed(settings.seed)
        before = build_policy(model).state_dict()
    else:
        before = load_checkpoint(start).policy.state_dict()
    for name, value in before.items():
        if name.startswith("encoder."):
            torch.testing.assert_close(kept[name], value, rtol=0, atol=0)
    assert not torch.equal(kept["mlp.0.weight"], before["mlp.0.weight"])


def test_cached_features_are_those_of_the_whole_policy(tmp_path: Path) -> None:
    settings = config(tmp_path, encoder_training="frozen_random", cached_views=3)
    data = Demonstrations.load(settings.stores)
    normalizer = fit_normalizer(data, range(5), AugmentationConfig(), 0)
    varied = ImitationDataset(data, range(5), normalizer, AugmentationConfig())
    recorded = ImitationDataset(data, [5], normalizer, None)
    policy = build_policy(PolicyConfig(encoder=TINY)).eval()
    samples = FeatureSamples(varied, recorded, settings, policy)
    (batch,) = samples.held_out()
    whole = collate([recorded[SampleKey(0, 0, row)] for row in range(len(recorded))])
    with torch.no_grad():
        feature = samples.feature(policy, batch)
        torch.testing.assert_close(policy.decide(feature, batch.state), policy(whole.seen, whole.state))
    drawn = [batch.state for batch in samples.batches(0, 21)]
    again = [batch.state for batch in samples.batches(7, 21)]
    assert all(torch.equal(a, b) for a, b in zip(drawn[7:], again, strict=True)), "any step can be redone"


@pytest.mark.parametrize("encoder", ["tiny", "blind"])
def test_history_and_chunks_train_and_act(tmp_path: Path, encoder: str) -> None:
    best = train_imitation(config(tmp_path, history=2, chunk=3, encoder=encoder))
    policy = PolicyRuntime.load(best, device="cpu", dtype="float32")
    policy.warm_up()
    steps = episode(0).steps
    actions = [policy.act(step.cloud, step.state).action.to_array() for step in steps[:4]]
    policy.reset()
    again = [policy.act(step.cloud, step.state).action.to_array() for step in steps[:4]]
    np.testing.assert_array_equal(actions, again)


def test_a_configuration_comes_back_from_a_checkpoint(tmp_path: Path) -> None:
    run = config(tmp_path, augmentation=AugmentationConfig(yaw_rad=0.2))
    best = train_imitation(run)
    stored = load_checkpoint(best).provenance["training"]
    assert ImitationConfig.from_dict(json.loads(json.dumps(stored))) == run
    with pytest.raises(ValueError, match=r"training.colour: unknown field"):
        ImitationConfig.from_dict({**stored, "colour": 1})
    with pytest.raises(ValueError, match=r"training.stores: missing"):
        ImitationConfig.from_dict({})


def pretrained(directory: Path, spec: ObservationSpec = SPEC, depth: int = 2, map_dim: int = 256) -> tuple[Path, Clar]:
    torch.manual_seed(5)
    model_config = ClarConfig(encoder=replace(TINY, depth=depth, drop_path=0.5), map_dim=map_dim)
    model = Clar(model_config)
    save_pretrained(directory, Pretrained(model, model_config, spec))
    return directory, model


@pytest.mark.parametrize("map_dim", [256, 22])
def test_a_policy_starts_from_a_pretrained_encoder_whatever_its_teacher_was(tmp_path: Path, map_dim: int) -> None:
    source, model = pretrained(tmp_path / "pretrained", map_dim=map_dim)
    best = train_imitation(config(tmp_path, init_from=source, encoder_training="frozen", cached_views=1))
    kept = load_checkpoint(best).policy.encoder
    assert kept is not None
    for name, value in model.encoder.state_dict().items():
        torch.testing.assert_close(kept.state_dict()[name], value, rtol=0, atol=0)


def test_a_pretrained_encoder_that_does_not_fit_is_refused_by_field(tmp_path: Path) -> None:
    other = pretrained(tmp_path / "other", replace(SPEC, depth_max_m=1.5))[0]
    with pytest.raises(CheckpointError, match=r"another observation .* depth_max_m"):
        train_imitation(config(tmp_path, init_from=other))
    deeper = pretrained(tmp_path / "deeper", depth=3)[0]
    with pytest.raises(CheckpointError, match=r"model.encoder.depth is 3, the run asks for 2"):
        train_imitation(config(tmp_path, init_from=deeper))
    with pytest.raises(CheckpointError, match=r"holds a pre-trained point encoder"):
        train_imitation(config(tmp_path, init_from=deeper, encoder="blind"))


def test_a_policy_starts_from_a_file_of_point_mae(tmp_path: Path) -> None:
    _, model = pretrained(tmp_path / "pretrained")
    state = {f"module.MAE_encoder.{name}": value for name, value in model.encoder.state_dict().items()}
    torch.save({"base_model": state}, tmp_path / "point_mae.pth")
    best = train_imitation(
        config(tmp_path, init_from=tmp_path / "point_mae.pth", encoder_training="frozen", cached_views=1)
    )
    kept = load_checkpoint(best).policy.state_dict()
    weight = "blocks.blocks.0.attn.qkv.weight"
    torch.testing.assert_close(kept[f"encoder.{weight}"], model.encoder.state_dict()[weight], rtol=0, atol=0)
