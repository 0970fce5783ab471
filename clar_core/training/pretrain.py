"""CLAR pre-training: posed RGB-D views in, an encoder out; in one process, or in many under `torchrun`.

Every step is a function of the weights before it and of (seed, step, sample), so a resumed run ends with the same
weights.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from clar_core.data.pretrain import (
    NO_AUGMENTATION,
    EpisodeSampler,
    PretrainBatch,
    PretrainDataset,
    PretrainKey,
    collate_pretrain,
    split_episodes,
)
from clar_core.data.store_views import open_views
from clar_core.data.teacher_features import TeacherFeatures, load_teacher_features
from clar_core.data.views import Views
from clar_core.models.clar import Clar, ClarConfig
from clar_core.training.loop import (
    TrainingError,
    deferred_interruption,
    ignore_interruptions,
    learning_rate_factor,
    parameter_groups,
    seed_step,
)
from clar_core.training.memory import keep_freed_memory
from clar_core.training.precision import faster_precision, remark_on_precision
from clar_core.training.pretrain_config import PretrainConfig
from clar_core.training.pretrain_objective import pretrain_losses
from clar_core.training.pretrain_run import PretrainRun, read_state
from clar_core.training.pretrain_start import initialise

_REFRESH_S, _LOG_REFRESH_S = 0.5, 30.0
_RADIUS_SAMPLES = 64
_PRECISION_SAMPLES = 16


def pretrain(config: PretrainConfig) -> Path:
    """Pre-train an encoder; returns the directory of the best checkpoint.

    Progress is shown on the terminal and written to ``metrics.jsonl`` and TensorBoard events. Ctrl-C, SIGTERM and
    kill -9 leave a state from which the same call goes on.

    Raises:
        StoreError: the views cannot be used.
        TeacherError: the teacher cannot be built.
        CheckpointError: ``init_from`` cannot be used.
        TrainingError: the run in ``output`` is another one, or the loss is no longer finite.
        KeyboardInterrupt: after an interruption, once the state is saved.
    """
    state = _prepare_machine(config)
    views = open_views(config.views)
    with state.main_process_first():
        features = _teacher_features(config, views, shown=state.is_main_process)
    training, validation = split_episodes(views.episodes, config.validation_fraction, config.seed)
    options: dict[str, Any] = {
        "groups": config.encoder.centres,
        "mask_ratio": config.mask_ratio,
        "fused": config.fused,
        "occlusion_m": config.occlusion_m,
    }
    augmentation = config.augmentation if config.augment else NO_AUGMENTATION
    train_set = PretrainDataset(views, features, training, augmentation=augmentation, **options)
    held_out = PretrainDataset(views, features, validation, **options)

    saved = read_state(config.output) if config.resume else None
    radius = saved[1]["patch_radius"] if saved else config.patch_radius or measure_patch_radius(train_set, config)
    model = Clar(_model_config(config, features, radius))
    if config.init_from is not None and saved is None:
        initialise(model, config.init_from)
    groups = parameter_groups(model, config.learning_rate, config.weight_decay)
    optimizer = torch.optim.AdamW(groups, fused=True)
    teacher = features.identity if features else {}
    data = {"views": views.fingerprint(), "teacher": teacher}
    run = PretrainRun(config, views.spec, data, teacher, writes=state.is_main_process)
    first = run.restore_state(model, optimizer, saved) if saved else 0

    part = (state.process_index, state.num_processes)
    keys = EpisodeSampler(len(train_set), config.batch_size, config.seed, first, config.steps, *part)
    chosen = saved[1]["precision"] if saved else _precision(config, model, train_set)
    if state.is_main_process and (remark := remark_on_precision(chosen, state.device)):
        print(remark, flush=True)
    accelerator = _accelerator(config, model, chosen)
    wrapped: nn.Module = accelerator.prepare_model(model) if state.num_processes > 1 else model.to(state.device)
    restored_optimizer_to(optimizer, state.device)
    facts = {"patch_radius": radius, "precision": chosen}
    if state.is_main_process:
        print(
            f"{len(training)} episodes to train on, {len(validation)} held out; "
            f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {state.device}, "
            f"{state.num_processes} process(es), {chosen}, {config.steps} steps from {first}",
            flush=True,
        )
    _train(
        config, run, accelerator, model, wrapped, optimizer, _batches(train_set, keys, config), held_out, first, facts
    )
    return config.output / "best"


def _train(
    config: PretrainConfig,
    run: PretrainRun,
    accelerator: Accelerator,
    model: Clar,
    wrapped: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Generator[PretrainBatch, None, None],
    held_out: PretrainDataset,
    first: int,
    facts: dict[str, Any],
) -> None:
    main = accelerator.is_main_process
    wrapped.train()
    _freeze_batch_norm(model, config)
    begun = time.monotonic() - run.seconds
    deadline = time.monotonic() + config.stop_after_s if config.stop_after_s else float("inf")
    bar = tqdm(
        total=config.steps * config.batch_size,
        initial=first * config.batch_size,
        unit="sample",
        mininterval=_REFRESH_S if sys.stderr.isatty() else _LOG_REFRESH_S,
        disable=not main,
    )
    # Closed here: workers that outlive the loop would be waited for at exit, and they do not listen to signals.
    with deferred_interruption() as interruption, run, bar, closing(batches):
        for step, batch in enumerate(batches, start=first):
            seed_step((config.seed, 4, step, accelerator.process_index), accelerator.device)
            _set_learning_rate(optimizer, config, step)
            batch = batch.to(accelerator.device)
            with accelerator.autocast():
                outputs = wrapped(batch.inputs)
            losses = pretrain_losses(model, outputs, batch, watch=False)
            run.check_finite(losses, batch, step)
            optimizer.zero_grad(set_to_none=True)
            accelerator.backward(losses.total)
            gradient_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
            optimizer.step()
            model.clamp_scales()
            run.record_step(losses, gradient_norm)
            bar.update(config.batch_size)

            done = step + 1
            last = done == config.steps
            run.seconds = time.monotonic() - begun
            stop = _agreed(interruption.requested or time.monotonic() > deadline, accelerator)
            if main and (run.due(config.validate_every, done) or last):
                bar.set_postfix(run.validate(done, model, held_out, batch))
                _freeze_batch_norm(model, config)
            if main and (run.due(config.save_every, done) or last or stop):
                run.save_last(done, model)
                run.save_state(done, model, optimizer, facts)
            if stop and not last:
                if main:
                    print(
                        f"\ninterrupted at step {done} of {config.steps}; the same command goes on from there",
                        flush=True,
                    )
                raise KeyboardInterrupt
        if main:
            run.finish()
    accelerator.wait_for_everyone()


def measure_patch_radius(dataset: PretrainDataset, config: PretrainConfig) -> float:
    """Median over patches of the distance from the centre to the farthest point, in network units."""
    from clar_core.models.patches import group_patches

    count = min(len(dataset), _RADIUS_SAMPLES)
    batch = collate_pretrain([dataset[PretrainKey(config.seed, 0, row)] for row in range(count)])
    _, patches = group_patches(batch.points, config.encoder.centres, config.encoder.neighbours, fps_ordered=True)
    return round(float(patches.norm(dim=-1).amax(-1).median()), 4)


def restored_optimizer_to(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Move the optimiser's moments to where the weights are."""
    for entry in optimizer.state.values():
        for name, value in entry.items():
            if isinstance(value, torch.Tensor) and name != "step":
                entry[name] = value.to(device)


def _prepare_machine(config: PretrainConfig) -> PartialState:
    keep_freed_memory()
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device: cuda was asked for and PyTorch sees no GPU; use device auto or cpu")
    return PartialState(cpu=config.device == "cpu" or not torch.cuda.is_available())


def _teacher_features(config: PretrainConfig, views: Views, *, shown: bool) -> TeacherFeatures | None:
    if not config.loss.needs_teacher:
        return None
    with tqdm(total=views.views, unit="view", desc="teacher", disable=not shown, delay=2) as bar:
        return load_teacher_features(
            views,
            config.teacher,
            map_dim=config.map_dim,
            subtract_mean=config.subtract_map_mean,
            progress=lambda done, _: bar.update(done - bar.n),
        )


def _model_config(config: PretrainConfig, features: TeacherFeatures | None, radius: float) -> ClarConfig:
    shape: dict[str, int] = {}
    if features is not None:
        shape = {
            "teacher_dim": features.width,
            "map_dim": features.map_dim,
            "map_cells": features.maps.shape[1],
        }
    return ClarConfig(encoder=config.encoder, decoder=config.decoder, loss=config.loss, patch_radius=radius, **shape)


def _precision(config: PretrainConfig, model: Clar, dataset: PretrainDataset) -> str:
    """The precision of all processes: asked for, or measured by the first."""
    chosen: list[Any] = [config.precision]
    state = PartialState()
    if config.precision == "auto":
        if state.is_main_process:
            rows = range(min(len(dataset), _PRECISION_SAMPLES))
            batch = collate_pretrain([dataset[PretrainKey(config.seed, 0, row)] for row in rows])

            def loss() -> Tensor:
                outputs = model(batch.inputs)
                with torch.autocast(state.device.type, enabled=False):
                    return pretrain_losses(model, outputs, batch, gather=lambda t: t).total

            chosen = [faster_precision(model, loss, state.device)]
        broadcast_object_list(chosen)
    return str(chosen[0])


def _accelerator(config: PretrainConfig, model: Clar, precision: str) -> Accelerator:
    # Without contrast the class token is not trained; DDP must not wait for its gradient.
    kwargs = DistributedDataParallelKwargs(find_unused_parameters=False, broadcast_buffers=True)
    return Accelerator(
        cpu=PartialState().device.type == "cpu",
        mixed_precision="bf16" if precision == "bf16" else "no",
        kwargs_handlers=[kwargs],
    )


def _freeze_batch_norm(model: nn.Module, config: PretrainConfig) -> None:
    if config.freeze_batch_norm:
        for layer in model.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()


def _set_learning_rate(optimizer: torch.optim.Optimizer, config: PretrainConfig, step: int) -> None:
    floor = config.final_learning_rate / config.learning_rate
    factor = learning_rate_factor(step, config.steps, config.warmup_fraction, floor)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def _agreed(stop: bool, accelerator: Accelerator) -> bool:
    """Whether any process wants to stop: they all do, at the same step."""
    if accelerator.num_processes == 1:
        return stop
    flag = torch.tensor(float(stop), device=accelerator.device)
    return bool(accelerator.reduce(flag, "sum") > 0)


def _batches(
    dataset: PretrainDataset, keys: EpisodeSampler, config: PretrainConfig
) -> Generator[PretrainBatch, None, None]:
    """Batches of this process; their content does not depend on the number of workers."""
    yield from DataLoader(
        dataset,
        batch_sampler=keys,
        collate_fn=collate_pretrain,
        num_workers=config.workers,
        worker_init_fn=ignore_interruptions,
    )


__all__: list[str] = ["measure_patch_radius", "pretrain"]
