"""Runs what of a table can run here: demonstrations, training and rollouts, every stage kept and skipped when done."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from clar_core.data.metaworld import DEFAULT_CAMERA, MetaWorldConfig, collect
from clar_core.data.metaworld_tasks import PREFIX
from clar_core.evaluation.cell import run_evaluation
from clar_core.evaluation.cell_report import write_results
from clar_core.evaluation.metaworld import MetaWorldEvaluationConfig
from clar_core.evaluation.progress import shown_on
from clar_core.models.policy import BasePolicy
from clar_core.models.registry import build_policy, encoder_preset, image_pixels, policy_preset
from clar_core.reproduction.tables import TABLES, Row, Table
from clar_core.training.config import ImitationConfig
from clar_core.training.finished import is_finished
from clar_core.training.imitation import train_imitation
from clar_core.training.precision import Precision

FULL_SAMPLES = 750_000
"""Of a policy for one task: 25 demonstrations of 200 steps, 150 epochs."""
EPISODES, HELD_OUT = 30, 5
OTHER_CAMERA = "corner2"
_PIXELS = {DEFAULT_CAMERA: (320, 240), OTHER_CAMERA: (640, 480)}
"""The other camera stands farther off: at the first one's size it leaves fewer points than the network sees."""
_STEPS = 200
_EPISODE_S, _IMAGE_EPISODE_S, _ROLLOUT_S = 4.0, 13.0, 4.0
"""Seconds on one core, rendering through OSMesa, without and with images kept: measured, and rounded up."""
_HEAD_RATE = 10_000.0
"""Training samples a second of the head alone, on features that are made once: measured, and rounded down."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ReproduceConfig:
    """What is run.

    Attributes:
        table: name in ``TABLES``.
        budget: part of the paper's training samples.
        trials: fresh starts for each figure.
        rows: choices of rows to run, mostly names of encoders; all that can when left out.
        weights: published weights and checkpoints of ``clar pretrain`` by choice, for the rows that lack them.
        tasks: of the table; all when left out.
        output: demonstrations, runs, evaluations and results.
        seeds: of the training; each is a policy and a figure of its own.
        precision: of the training's matrix products; ``auto`` takes what is faster here.
        threads: of the training, 0 leaves PyTorch's choice.
        workers: processes of the rollouts; all cores when None.
    """

    table: str
    budget: float = 1.0
    trials: int = 25
    rows: tuple[str, ...] = ()
    weights: Mapping[str, Path] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    output: Path = Path("outputs/reproduce")
    seeds: tuple[int, ...] = (0,)
    precision: Precision = "fp32"
    threads: int = 0
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.table not in TABLES:
            near = get_close_matches(self.table, TABLES, n=2) or sorted(TABLES)
            raise ValueError(f"there is no table {self.table!r}; did you mean {' or '.join(near)}?")
        if not 0 < self.budget <= 1:
            raise ValueError(f"--budget: expected a part of the full run, above 0 and at most 1, got {self.budget}")
        if self.trials < 1:
            raise ValueError(f"--trials: expected at least 1, got {self.trials}")
        known = TABLES[self.table]
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"--seeds: expected different numbers, at least one, got {self.seeds}")
        runnable = {row.choice for row in known.rows if row.runs_with(self.weights)}
        published = {row.choice: row.lacks for row in known.rows if row.encoder and row.lacks}
        for name in self.weights:
            if name not in published:
                raise ValueError(
                    f"--weights: {self.table} has no row that takes those of {name!r}; {_those(published)}"
                )
        for name in self.rows:
            if name in published and name not in runnable:
                raise ValueError(f"--rows: {name} lacks {published[name]}")
        for what, given, allowed in (("rows", self.rows, runnable), ("tasks", self.tasks, set(known.tasks))):
            for name in given:
                if name not in allowed:
                    near = get_close_matches(name, allowed, n=2) or sorted(allowed)
                    raise ValueError(f"--{what}: {self.table} has no {name!r} to run; it has {', '.join(near)}")

    @property
    def samples(self) -> int:
        """Training samples of a policy for one task."""
        return max(round(self.budget * FULL_SAMPLES), 1)


@dataclass(frozen=True)
class Job:
    """A policy to train, and the cameras that its tasks are tried under."""

    row: Row
    tasks: tuple[str, ...]
    seed: int
    cameras: tuple[str, ...] = (DEFAULT_CAMERA,)

    @property
    def name(self) -> str:
        """Of its folder."""
        frame = "" if self.row.frame == "world" else f"_{self.row.frame}"
        return f"{self.row.choice}{frame}-{'+'.join(self.tasks)}-seed{self.seed}"


def _those(names: Collection[str]) -> str:
    return f"expected of {', '.join(sorted(names))}" if names else "it takes none"


def jobs_of(config: ReproduceConfig) -> list[Job]:
    """What is to be run, what can be compared first: all rows of a task, then the next task; then the next seed."""
    table = TABLES[config.table]
    rows = [r for r in table.rows if r.runs_with(config.weights) and (not config.rows or r.choice in config.rows)]
    tasks = [t for t in table.tasks if not config.tasks or t in config.tasks]
    if table.kind == "elsewhere" or not tasks:
        return []
    if table.kind == "multi":
        return [Job(row, tuple(tasks), seed) for seed in config.seeds for row in rows]
    cameras = (DEFAULT_CAMERA, OTHER_CAMERA) if table.kind == "perspective" else (DEFAULT_CAMERA,)
    return [Job(row, (task,), seed, cameras) for seed in config.seeds for task in tasks for row in rows]


def missing_of(table: Table, weights: Collection[str] = ()) -> list[str]:
    """One line a row that cannot run here, given the weights of these encoders."""
    return [
        f"{row.name}: lacks {row.lacks}" + (f"; with that: {row.command}" if row.command else "")
        for row in table.rows
        if row.lacks and not row.runs_with(weights)
    ]


def training_rate(encoder: str, threads: int = 0) -> float:
    """Samples a second of an encoder on this machine if it does nothing else, from processor time.

    Training samples of an encoder of clouds; images looked at by an encoder of images, which stays fixed.
    """
    if threads:
        torch.set_num_threads(threads)
    config = policy_preset(encoder)
    policy, head = build_policy(config).train(), config.head
    if pixels := image_pixels(config.encoder):
        return _looking_rate(policy, pixels)
    points, state = torch.rand(8, head.history, 1024, 3) * 2 - 1, torch.zeros(8, head.history, 10)
    if head.history == 1:
        points, state = points[:, 0], state[:, 0]
    target = torch.full((8, head.chunk, 7) if head.chunk > 1 else (8, 7), 0.5)
    taken = []
    for _ in range(2):
        begun = time.process_time()
        policy.loss(policy.encode(points), state, target).total.backward()  # type: ignore[no-untyped-call]
        taken.append((time.process_time() - begun) / torch.get_num_threads())
    return len(state) / min(taken)


@torch.inference_mode()
def _looking_rate(policy: BasePolicy, pixels: int) -> float:
    images = torch.zeros(2, pixels, pixels, 3, dtype=torch.uint8)
    policy.eval()
    taken = []
    for _ in range(2):
        begun = time.process_time()
        policy.encode(images)
        taken.append((time.process_time() - begun) / torch.get_num_threads())
    return len(images) / min(taken)


def hours(config: ReproduceConfig, rates: dict[str, float], *, full: bool) -> float:
    """Estimated hours on this machine of what was asked for, or of the whole table as the paper ran it."""
    asked = ReproduceConfig(table=config.table, weights=config.weights) if full else config
    jobs = jobs_of(asked)
    stores = {_store_of(task, job.row, asked): job.row.sees_images for job in jobs for task in job.tasks}
    seconds = EPISODES * sum(_IMAGE_EPISODE_S if images else _EPISODE_S for images in stores.values())
    for job in jobs:
        rate, rollout_s = rates[job.row.encoder], _ROLLOUT_S
        if job.row.training != "scratch":
            seconds += len(job.tasks) * (EPISODES * _STEPS / rate + asked.samples / _HEAD_RATE)
        if job.row.sees_images:
            rollout_s += _STEPS / rate
        if job.row.training == "scratch":
            seconds += asked.samples * len(job.tasks) / rate
        seconds += asked.trials * len(job.tasks) * len(job.cameras) * rollout_s / (config.workers or 1)
    return seconds / 3600


def reproduce(config: ReproduceConfig, command: str, say: Say = print) -> Path:
    """Run the jobs; returns the file of results, which grows with each of them.

    Raises:
        ImportError: MetaWorld is not installed.
        StoreError, TrainingError, JournalError, ValueError, OSError: as the stages do.
        WorkerDiedError: a worker ended without an answer; the same call goes on.
    """
    jobs = jobs_of(config)
    path = config.output / f"{config.table}.json"
    results = _stored(path)
    for number, job in enumerate(jobs, start=1):
        say(f"[{number}/{len(jobs)}] {job.row.name}: {', '.join(job.tasks)}, seed {job.seed}")
        run = _trained(job, config, [_collected(task, job.row, config) for task in job.tasks])
        for result in _evaluated(job, config, run, command):
            results[_key(result)] = result
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"table": config.table, "results": list(results.values())}, indent=2) + "\n")
        part.replace(path)
    return path


def _stored(path: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    if not path.exists():
        return {}
    try:
        return {_key(result): result for result in json.loads(path.read_bytes())["results"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a file of results ({error}); move it away and run the same command") from error


def _key(result: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(result[name] for name in ("row", "task", "camera", "samples", "seed"))


def _store_of(task: str, row: Row, config: ReproduceConfig) -> Path:
    return config.output / "data" / f"{task}-{row.frame}{'-images' if row.sees_images else ''}"


def _collected(task: str, row: Row, config: ReproduceConfig) -> Path:
    store = _store_of(task, row, config)
    pixels = image_pixels(encoder_preset(row.encoder))
    config_of_store = MetaWorldConfig(
        task=task, directory=store, episodes=EPISODES, frame=row.frame, image_size=pixels, steps=_STEPS
    )
    for _ in tqdm(collect(config_of_store), desc=f"demonstrations of {task}", unit="episode"):
        pass
    return store


def _trained(job: Job, config: ReproduceConfig, stores: Sequence[Path]) -> Path:
    augmentation = TABLES[config.table].augmentation
    varied = "-shifted" if augmentation.moves else ""
    output = config.output / "runs" / f"{job.name}-{config.samples}{varied}"
    training = ImitationConfig(
        stores=tuple(stores),
        output=output,
        encoder=job.row.encoder,
        init_from=config.weights.get(job.row.choice),
        encoder_training=job.row.training,
        language=len(job.tasks) > 1,
        augmentation=augmentation,
        samples=config.samples * len(job.tasks),
        validation_fraction=HELD_OUT / EPISODES,
        seed=job.seed,
        precision=config.precision,
        threads=config.threads,
    )
    if not is_finished(training):
        train_imitation(training)
    return output


def _evaluated(job: Job, config: ReproduceConfig, run: Path, command: str) -> Iterator[dict[str, Any]]:
    for camera in job.cameras:
        width, height = _PIXELS[camera]
        evaluated = MetaWorldEvaluationConfig(
            checkpoint=str(run / "best"),
            tasks=tuple(PREFIX + task for task in job.tasks),
            trials=config.trials,
            selection_trials=0,
            sentences="unseen" if len(job.tasks) > 1 else "first",
            camera=camera,
            width=width,
            height=height,
            workers=config.workers,
        )
        folder = config.output / "evaluations" / f"{run.name}-{camera}-{config.trials}"
        with tqdm(total=1, unit="trial") as bar:
            evaluation = run_evaluation(evaluated, folder, progress=shown_on(bar))
        write_results(evaluation, command)
        policy = evaluation.having("fresh")[0]
        for task in job.tasks:
            outcome = evaluation.outcome(policy, PREFIX + task)
            yield {
                "row": job.row.name,
                "task": task,
                "camera": camera,
                "samples": config.samples,
                "seed": job.seed,
                "successes": outcome.successes,
                "trials": outcome.trials,
                "command": command,
            }
