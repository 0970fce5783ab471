"""Imitation learning: demonstrations in, a checkpoint out.

Every step is a function of the weights before it and of (seed, step), so a resumed run ends with the same weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tqdm import tqdm

from clar_core.control.spaces import ActionSpace
from clar_core.data.datasets import Demonstrations, ImitationDataset, Sight, fit_normalizer
from clar_core.models.policy import BasePolicy
from clar_core.models.registry import PolicyConfig, build_policy, encoder_preset, image_pixels
from clar_core.training.config import ImitationConfig
from clar_core.training.language import Language, instruction_features
from clar_core.training.loop import (
    AveragedWeights,
    TrainingError,
    deferred_interruption,
    learning_rate_factor,
    parameter_groups,
    seed_step,
)
from clar_core.training.memory import keep_freed_memory
from clar_core.training.precision import remark_on_precision
from clar_core.training.run import ImitationRun
from clar_core.training.samples import CloudSamples, FeatureSamples, Samples
from clar_core.training.starting_point import start_from

STATISTICS_BATCHES = 64
_REFRESH_S, _LOG_REFRESH_S = 0.5, 30.0


def train_imitation(config: ImitationConfig) -> Path:
    """Train a policy; returns the directory of the best checkpoint.

    Progress is shown on the terminal and written to ``metrics.jsonl`` and TensorBoard events. Ctrl-C, SIGTERM and
    kill -9 leave a state from which the same call goes on.

    Raises:
        StoreError: the demonstrations cannot be used.
        CheckpointError, ImportedWeightsError, PublishedWeightsError: ``init_from`` cannot be used, or is missing.
        TextEncoderError: the instructions cannot be encoded.
        TrainingError: the run in ``output`` is another one, or the loss is no longer finite.
        KeyboardInterrupt: after an interruption, once the state is saved.
    """
    device = _prepare_machine(config)
    pixels = image_pixels(encoder_preset(config.encoder))
    data = Demonstrations.load(config.stores, require_success=config.require_success, image_size=pixels)
    training, validation = data.split(config.validation_fraction, config.seed)
    language = instruction_features(data, config) if config.language else None
    augmentation = config.augmentation if config.augment else None
    if pixels and augmentation is not None and augmentation.moves:
        print("samples are not moved: an image cannot follow its state and action", flush=True)
        augmentation = augmentation.still()
    model_config = _model_config(config, language, data.action_space)
    policy = build_policy(model_config)
    continued = start_from(policy, model_config, config, data.spec)
    normalizer = continued or fit_normalizer(data, training, augmentation, config.seed)
    if config.encoder_is_fixed and policy.encoder is not None:
        policy.encoder.requires_grad_(False)
    policy.to(device)
    averaged = AveragedWeights(policy, config.ema_decay, fixed="encoder." if config.encoder_is_fixed else None)
    optimizer = torch.optim.AdamW(_parameter_groups(policy, config), fused=True)

    run = ImitationRun(config, data, normalizer, model_config, language)
    state_path = config.output / "state.safetensors"
    first = 0
    if config.resume and state_path.exists():
        first = run.restore_state(state_path, policy, averaged, optimizer)
    config.output.mkdir(parents=True, exist_ok=True)

    sight: Sight = "nothing" if model_config.encoder is None else "image" if pixels else "cloud"
    head = model_config.head
    train_set, held_out = (
        ImitationDataset(data, part, normalizer, varied, history=head.history, chunk=head.chunk, sight=sight)
        for part, varied in ((training, augmentation), (validation, None))
    )
    samples: Samples = (
        FeatureSamples(train_set, held_out, config, policy)
        if config.encoder_is_fixed
        else CloudSamples(train_set, held_out, config)
    )
    run.choose_precision(policy, samples)
    if remark := remark_on_precision(run.precision, device):
        print(remark, flush=True)
    print(
        f"{len(training)} episodes with {len(train_set)} steps to train on, {len(validation)} episodes held out; "
        f"{sum(p.numel() for p in policy.parameters()) / 1e6:.2f} M parameters, "
        f"{device}, {run.precision}, {config.steps} steps",
        flush=True,
    )
    _optimise(config, run, samples, policy, averaged, optimizer, first)
    beyond = config.steps + min(config.steps, STATISTICS_BATCHES)
    return run.finish(samples, list(samples.batches(config.steps, beyond)))


def _optimise(
    config: ImitationConfig,
    run: ImitationRun,
    samples: Samples,
    policy: BasePolicy,
    averaged: AveragedWeights,
    optimizer: torch.optim.Optimizer,
    first: int,
) -> None:
    """The steps from ``first`` on."""
    state_path = config.output / "state.safetensors"
    policy.train()
    if config.encoder_is_fixed and policy.encoder is not None:
        policy.encoder.eval()
    device = next(policy.parameters()).device
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    bar = tqdm(
        total=config.steps * config.batch_size,
        initial=first * config.batch_size,
        unit="sample",
        mininterval=_REFRESH_S if sys.stderr.isatty() else _LOG_REFRESH_S,
    )
    with deferred_interruption() as interruption, run, bar:
        for step, drawn in enumerate(samples.batches(first, config.steps), start=first):
            seed_step((config.seed, 4, step), device)
            _set_learning_rate(optimizer, config, step)
            batch = drawn.to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=run.precision == "bf16"):
                loss = run.loss(policy, batch, samples)
            if not torch.isfinite(loss.total):
                raise TrainingError(
                    f"the loss of step {step} is {loss.total.item()}; lower learning_rate "
                    f"(now {config.learning_rate}) and start again in another output"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.total.backward()  # type: ignore[no-untyped-call]
            gradient_norm = torch.nn.utils.clip_grad_norm_(trained, config.gradient_clip)
            optimizer.step()
            averaged.update(policy, step)
            run.record_step(loss, gradient_norm)
            bar.update(config.batch_size)

            done = step + 1
            last = done == config.steps
            if run.due(config.validate_every, done) or last:
                bar.set_postfix(run.validate(done, averaged, samples))
            if config.keep_every and run.due(config.keep_every, done):
                run.keep(done, averaged)
            if run.due(config.save_every, done) or last or interruption.requested:
                run.save_last(done, averaged)
                run.save_state(state_path, done, policy, averaged, optimizer)
            if interruption.requested and not last:
                print(
                    f"\ninterrupted at step {done} of {config.steps}; the same command goes on from there", flush=True
                )
                raise KeyboardInterrupt


def _prepare_machine(config: ImitationConfig) -> torch.device:
    keep_freed_memory()
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device: cuda was asked for and PyTorch sees no GPU; use device auto or cpu")
    return torch.device("cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu")


def _model_config(config: ImitationConfig, language: Language | None, space: ActionSpace) -> PolicyConfig:
    for name in ("history", "chunk"):
        if space.absolute and (getattr(config, name) or 1) > 1:
            raise TrainingError(
                f"{name}: expected 1 with demonstrations of {space.name}, got {getattr(config, name)}: keyframes have "
                "no fixed rate, so the observation before and the pose after the next one are not those of a time"
            )
    width = 0 if language is None else language.features.shape[1]
    return PolicyConfig(encoder=encoder_preset(config.encoder), head=config.head_config(width, space))


def _parameter_groups(policy: BasePolicy, config: ImitationConfig) -> list[dict[str, object]]:
    """The head at the full rate, the encoder at its own."""
    head = torch.nn.ModuleDict({name: part for name, part in policy.named_children() if name != "encoder"})
    groups = parameter_groups(head, config.learning_rate, config.weight_decay)
    if policy.encoder is not None:
        factor = 0.1 if config.encoder_training == "finetune" else 1.0
        groups += parameter_groups(policy.encoder, config.learning_rate * factor, config.weight_decay)
    return groups


def _set_learning_rate(optimizer: torch.optim.Optimizer, config: ImitationConfig, step: int) -> None:
    floor = config.final_learning_rate / config.learning_rate
    factor = learning_rate_factor(step, config.steps, config.warmup_fraction, floor)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
