import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clar_core.data.pretrain import PretrainDataset, split_episodes
from clar_core.data.teacher_features import TeacherFeatures, load_teacher_features
from clar_core.data.views import Views
from clar_core.models.clar import Clar, LossConfig
from clar_core.models.teachers import TeacherConfig, TeacherError
from clar_core.training import pretrain as trainer
from clar_core.training.checkpoint_files import CheckpointError
from clar_core.training.loop import TrainingError, load_state
from clar_core.training.pretrain import pretrain
from clar_core.training.pretrain_checkpoints import load_pretrained, save_pretrained
from clar_core.training.pretrain_objective import PretrainLosses
from clar_core.training.pretrain_run import validation_batches, validation_figures
from tests.core.pretraining.made_views import make_views
from tests.core.pretraining.tiny import tiny_config

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_views(tmp_path_factory.mktemp("views") / "set", episodes=16)


def losses_of(output: Path) -> list[Mapping[str, float]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def same_weights(first: Path, second: Path) -> bool:
    a, _ = load_state(first / "state.safetensors")
    b, _ = load_state(second / "state.safetensors")
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def finished(views: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was not interrupted."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    assert pretrain(tiny_config(views, output)) == output / "best"
    return output


def test_a_run_logs_every_term_and_leaves_best_and_last(finished: Path) -> None:
    rows = losses_of(finished)
    assert [row["samples"] for row in rows] == [16, 32, 48]
    for name in ("mae", "image", "text", "local"):
        assert {f"train/{name}", f"validation/{name}", f"gradient/{name}"} <= set(rows[-1])
    assert {"scale/image", "scale/text", "scale/local", "validation/text_retrieval"} <= set(rows[-1])
    assert rows[-1]["train/mae"] < rows[0]["train/mae"]
    for name in ("best", "last"):
        checkpoint = load_pretrained(finished / name)
        assert checkpoint.teacher["kind"] == "rendered"
        assert checkpoint.provenance["samples"] > 0
    assert (finished / "curves.png").stat().st_size > 10_000


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(views: Path, finished: Path, tmp_path: Path) -> None:
    output = tmp_path / "killed"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from clar_core.training import pretrain_run as r\n"
        "from clar_core.training.pretrain import pretrain\n"
        "from tests.core.pretraining.tiny import tiny_config\n"
        "save = r.PretrainRun.save_state\n"
        "def then_die(self, done, *rest):\n"
        "    save(self, done, *rest)\n"
        "    if done == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "r.PretrainRun.save_state = then_die\n"
        "pretrain(tiny_config(Path(sys.argv[1]), Path(sys.argv[2])))\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(views), str(output)], cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    pretrain(tiny_config(views, output))
    assert same_weights(output, finished)
    timed = {"seconds"}
    for mine, theirs in zip(losses_of(output), losses_of(finished), strict=True):
        assert {k: v for k, v in mine.items() if k not in timed} == {k: v for k, v in theirs.items() if k not in timed}


def test_a_request_to_stop_reaches_the_workers_too_and_the_state_is_saved(
    views: Path, finished: Path, tmp_path: Path
) -> None:
    output = tmp_path / "terminated"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from clar_core.training import pretrain_run as r\n"
        "from clar_core.training.pretrain import pretrain\n"
        "from tests.core.pretraining.tiny import tiny_config\n"
        "record = r.PretrainRun.record_step\n"
        "def then_stop(self, *rest):\n"
        "    record(self, *rest)\n"
        "    if self._count == 2: os.killpg(0, signal.SIGTERM)\n"
        "r.PretrainRun.record_step = then_stop\n"
        "pretrain(tiny_config(Path(sys.argv[1]), Path(sys.argv[2]), workers=1))\n"
    )
    command = [sys.executable, "-c", code, str(views), str(output)]
    stopped = subprocess.run(command, cwd=ROOT, capture_output=True, start_new_session=True, timeout=170)
    assert b"interrupted at step 2 of 6" in stopped.stdout, stopped.stderr.decode()
    pretrain(tiny_config(views, output))
    assert same_weights(output, finished)


def test_a_run_that_is_told_when_to_stop_ends_in_good_order(views: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        pretrain(tiny_config(views, tmp_path / "stopped", stop_after_s=1e-6))
    assert load_state(tmp_path / "stopped" / "state.safetensors")[1]["step"] == 1


def test_a_run_resumes_under_the_same_settings_only(views: Path, finished: Path) -> None:
    with pytest.raises(TrainingError, match=r"recipe.mask_ratio was 0.6 when this run began and is 0.8 now"):
        pretrain(tiny_config(views, finished, mask_ratio=0.8))


def test_two_processes_compute_what_one_does(views: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / "one", tmp_path / "two"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    module = ["-m", "tests.core.pretraining.tiny", str(views)]
    for output, launcher in zip(outputs, ([], ["-m", "torch.distributed.run", "--nproc-per-node", "2"]), strict=True):
        port = ["--standalone"] if launcher else []
        done = subprocess.run(
            [sys.executable, *launcher, *port, *module, str(output), "24"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            timeout=170,
        )
        assert done.returncode == 0, done.stderr.decode()[-3000:]
    one, two = (load_state(output / "state.safetensors")[0] for output in outputs)
    for name, value in one.items():
        if name.startswith("model/"):
            torch.testing.assert_close(two[name], value, atol=2e-4, rtol=1e-3)
    first, second = losses_of(outputs[0])[0], losses_of(outputs[1])[0]
    for name in ("image", "text", "local"):
        assert second[f"train/{name}"] == pytest.approx(first[f"train/{name}"], abs=2e-4)


@pytest.mark.parametrize(
    "loss",
    [
        LossConfig(mae=False),
        LossConfig(local=False),
        LossConfig(local=False, image=False, text=False),
        LossConfig(image=False, text=False),
        LossConfig(decoupled=True),
        LossConfig(detach_contrast=True),
    ],
    ids=["without MAE", "without local", "MAE alone", "MAE and local", "decoupled", "detached"],
)
def test_every_ablation_is_one_field_and_trains(views: Path, tmp_path: Path, loss: LossConfig) -> None:
    output = tmp_path / "run"
    pretrain(tiny_config(views, output, loss=loss, samples=8))
    row = losses_of(output)[-1]
    assert {name for name in ("mae", "image", "text", "local") if f"train/{name}" in row} == set(loss.terms)
    assert load_pretrained(output / "last").config.loss == loss


def test_a_term_that_is_not_finite_stops_the_run_and_is_named(
    views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = trainer.pretrain_losses

    def broken(*arguments: object, **options: object) -> PretrainLosses:
        losses = real(*arguments, **options)  # type: ignore[arg-type]
        return losses._replace(terms={**losses.terms, "text": losses.terms["text"] * float("nan")})

    monkeypatch.setattr(trainer, "pretrain_losses", broken)
    output = tmp_path / "run"
    with pytest.raises(TrainingError, match=r"step 0: the loss term text is not finite.*nan_batch.safetensors"):
        pretrain(tiny_config(views, output))
    tensors, facts = load_state(output / "nan_batch.safetensors")
    assert facts == {"step": 0, "terms": ["text"]}
    assert tensors["points"].shape == (8, 128, 3)


def test_missing_teacher_weights_say_what_to_do(views: Path, tmp_path: Path) -> None:
    config = tiny_config(views, tmp_path / "run", teacher=TeacherConfig(clip_weights=tmp_path / "none.pt"))
    with pytest.raises(TeacherError, match=r"--teacher.clip-weights FILE.*--teacher.kind rendered.*--loss.no-image"):
        pretrain(config)
    assert not (tmp_path / "run").exists()


def test_without_contrast_no_teacher_is_needed(views: Path, tmp_path: Path) -> None:
    loss = LossConfig(image=False, text=False, local=False)
    pretrain(tiny_config(views, tmp_path / "run", loss=loss, teacher=TeacherConfig(), samples=8))


def test_a_damaged_checkpoint_is_refused_by_file(finished: Path, tmp_path: Path) -> None:
    checkpoint = load_pretrained(finished / "best")
    for name in ("config.json", "model.safetensors"):
        copy = tmp_path / name.partition(".")[0]
        save_pretrained(copy, checkpoint)
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match=rf"{name}: its SHA-256 is not the one"):
            load_pretrained(copy)
    with pytest.raises(CheckpointError, match="clar pretrain"):
        load_pretrained(tmp_path / "nothing")


def test_half_precision_checkpoints_load_and_take_half_the_space(finished: Path, tmp_path: Path) -> None:
    checkpoint = load_pretrained(finished / "best")
    save_pretrained(tmp_path / "half", checkpoint, half=True)
    half = load_pretrained(tmp_path / "half")
    for name, value in checkpoint.model.state_dict().items():
        torch.testing.assert_close(half.model.state_dict()[name], value, atol=1e-3, rtol=1e-3)
    sizes = [(d / "model.safetensors").stat().st_size for d in (tmp_path / "half", finished / "best")]
    assert sizes[0] < 0.65 * sizes[1]


def test_training_continues_from_a_checkpoint_of_its_own(views: Path, finished: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    pretrain(tiny_config(views, output, init_from=finished / "best", samples=8, learning_rate=1e-9))
    start, there = (load_pretrained(d).model.state_dict() for d in (finished / "best", output / "last"))
    torch.testing.assert_close(there["encoder.norm.weight"], start["encoder.norm.weight"], atol=1e-6, rtol=0)


@pytest.fixture(scope="module")
def many_views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_views(tmp_path_factory.mktemp("views") / "many", episodes=48)


def train_local(views: Path, output: Path, features: TeacherFeatures) -> dict[str, float]:
    """Train the local term alone; figures of held-out scenes."""
    config = tiny_config(
        views,
        output,
        loss=LossConfig(mae=False, image=False, text=False, exclude_cosine=2.0),
        samples=16 * 90,
        batch_size=16,
        learning_rate=3e-3,
        validate_every=10_000,
        save_every=10_000,
        validation_fraction=0.25,
    )
    pretrain(config)
    data = PretrainDataset(Views(views), features, split_episodes(48, 0.25, 0)[1], groups=16)
    return validation_figures(load_pretrained(output / "last").model, validation_batches(data))


def test_the_local_loss_falls_by_looking_at_the_image(many_views: Path, tmp_path: Path) -> None:
    features = load_teacher_features(Views(many_views), TeacherConfig(kind="rendered"))
    figures = train_local(many_views, tmp_path / "run", features)
    assert figures["local"] < figures["local_chance"] - 0.5
    assert figures["local_other_scene"] > figures["local"] + 0.3
    assert figures["local_shuffled"] > figures["local_chance"] - 0.1


def test_a_teacher_that_tells_nothing_leaves_the_local_loss_at_chance(
    many_views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = load_teacher_features(Views(many_views), TeacherConfig(kind="rendered"))
    tokens = honest.maps.reshape(-1, honest.map_dim)
    shuffled = tokens[np.random.default_rng(0).permutation(len(tokens))].reshape(honest.maps.shape)
    features = replace(honest, maps=shuffled, means=np.zeros_like(honest.means))
    monkeypatch.setattr(trainer, "load_teacher_features", lambda *_, **__: features)
    figures = train_local(many_views, tmp_path / "run", features)
    assert figures["local"] == pytest.approx(figures["local_chance"], abs=0.1)


def test_detaching_keeps_the_contrast_out_of_the_encoder(views: Path) -> None:
    config = tiny_config(views, views, loss=LossConfig(mae=False, local=False, detach_contrast=True))
    opened = Views(views)
    features = load_teacher_features(opened, config.teacher)
    model = Clar(trainer._model_config(config, features, 1.0))
    data = PretrainDataset(opened, features, torch.arange(16).numpy(), groups=16)
    batch = validation_batches(data)[0]
    trainer.pretrain_losses(model, model(batch.inputs), batch).total.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in model.encoder.parameters())
    assert model.projection is not None
    assert model.projection.weight.grad is not None
