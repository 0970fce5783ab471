"""How a checkpoint of the simulated cell is made: expert demonstrations, imitation, then rounds of DAgger.

    expert demonstrations, from home and from scattered starts
    -> train -> [the policy drives, the expert labels -> train on all of it] x rounds
    -> the better of the last run's checkpoints, on selection seeds

Scattered starts matter: when every episode begins at home, the way flown so far tells where the object is, and a policy
learns to read that from the TCP's position instead of looking.

Every stage leaves its result in a folder of its own and is skipped when that is complete, so an interrupted recipe goes
on where it stopped. Seeds of expert data, of each round, of selection and of evaluation do not overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from clar_core.data.augmentation import AugmentationConfig
from clar_core.data.store import Store
from clar_core.evaluation.trials import SELECTION_SEEDS, evaluate
from clar_core.simulation.collect import CollectConfig, collect
from clar_core.simulation.env import EnvConfig
from clar_core.simulation.perturbation import NO_PERTURBATION, Perturbation
from clar_core.training.checkpoint_files import copy_checkpoint
from clar_core.training.config import ImitationConfig
from clar_core.training.imitation import train_imitation

EXPERT_SEEDS, SCATTERED_SEEDS, DAGGER_SEEDS = 10_000, 30_000, 100_000
_SEEDS_A_ROUND = 10_000

Say = Callable[[str], None]


def _augmentation() -> AugmentationConfig:
    """Moves samples within what the arm and the camera reach; the arm may leave the crop box, as it does anyway."""
    return AugmentationConfig(max_lost=0.15, reach_min_m=(0.28, -0.40, 0.0), reach_max_m=(0.75, 0.36, 0.50))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A checkpoint's recipe; docs/training.md tells how the shipped one was made with it.

    Attributes:
        task: a registered task.
        output: where the stages leave their results.
        checkpoint: where the finished checkpoint goes.
        expert_episodes: demonstrations of the scripted expert from home, disturbed by bursts, labels clean.
        scattered_episodes: the same from scattered starts, with longer and stronger bursts.
        scatter_rad: spread of the joint positions at scattered starts.
        first_samples: training samples of the first run.
        rounds: of DAgger.
        round_episodes: episodes a round in which the policy drives.
        round_samples: training samples of the run after each round, which continues from the one before.
        round_learning_rate: highest learning rate of those runs.
        selection_trials: trials by which the best and the last checkpoint of the last run are compared.
        encoder: a preset of ``models.registry``.
        threads: of the training, 0 leaves PyTorch's choice.
        workers: processes that collect and evaluate; all cores when None.
        augmentation: of the training samples.
    """

    task: str = "place_cube_in_basin"
    output: Path = Path("outputs/demo-train")
    checkpoint: Path = Path("outputs/demo-train/checkpoint")
    expert_episodes: int = 300
    scattered_episodes: int = 250
    scatter_rad: float = 0.2
    first_samples: int = 60_000
    rounds: int = 2
    round_episodes: int = 150
    round_samples: int = 45_000
    round_learning_rate: float = 7e-4
    selection_trials: int = 40
    encoder: str = "clar_cpu"
    threads: int = 0
    workers: int | None = None
    augmentation: AugmentationConfig = field(default_factory=_augmentation)

    def store(self, name: str) -> Path:
        """Folder of a data set: "expert", "scattered", or "dagger_1" and so on."""
        return self.output / self.task / name

    def run(self, number: int) -> Path:
        """Folder of the first training run (0) or of a round's."""
        return self.output / self.task / f"run_{number}"

    def training(self, number: int) -> ImitationConfig:
        """The run after so many rounds: on all data so far, from the weights of the run before."""
        again = number > 0
        return ImitationConfig(
            stores=tuple(map(self.store, ["expert", "scattered", *(f"dagger_{i + 1}" for i in range(number))])),
            output=self.run(number),
            encoder=self.encoder,
            init_from=self.run(number - 1) / "last" if again else None,
            augmentation=self.augmentation,
            require_success=not again,
            samples=self.round_samples if again else self.first_samples,
            learning_rate=self.round_learning_rate if again else 1e-3,
            ema_decay=0.995,
            threads=self.threads,
            workers=1,
        )


def cook(recipe: Recipe, say: Say = print) -> Path:
    """Run every stage of a recipe that is not done yet; returns the finished checkpoint's directory.

    Raises:
        StoreError, CheckpointError, TrainingError, WorkerDiedError: as the stages do; what is done stays.
    """
    _demonstrate(recipe, say)
    _train(recipe, 0, say)
    for number in range(1, recipe.rounds + 1):
        _drive(recipe, number, say)
        _train(recipe, number, say)
    chosen = _select(recipe, say)
    copy_checkpoint(chosen, recipe.checkpoint)
    say(f"checkpoint: {recipe.checkpoint}")
    return recipe.checkpoint


def _demonstrate(recipe: Recipe, say: Say) -> None:
    home = CollectConfig(
        task=recipe.task,
        directory=recipe.store("expert"),
        episodes=recipe.expert_episodes,
        first_seed=EXPERT_SEEDS,
        workers=recipe.workers,
    )
    scattered = replace(
        home,
        directory=recipe.store("scattered"),
        episodes=recipe.scattered_episodes,
        first_seed=SCATTERED_SEEDS,
        perturb=Perturbation(ticks=6, translation_m=0.015, rotation_rad=0.05),
        env=EnvConfig(home_jitter_rad=recipe.scatter_rad),
    )
    _collect(home, "expert from home", say)
    _collect(scattered, "expert from scattered starts", say)


def _drive(recipe: Recipe, number: int, say: Say) -> None:
    config = CollectConfig(
        task=recipe.task,
        directory=recipe.store(f"dagger_{number}"),
        episodes=recipe.round_episodes,
        first_seed=DAGGER_SEEDS + number * _SEEDS_A_ROUND,
        perturb=NO_PERTURBATION,
        policy=recipe.run(number - 1) / "last",
        workers=recipe.workers,
    )
    _collect(config, f"DAgger round {number}", say)


def _collect(config: CollectConfig, who: str, say: Say) -> None:
    """Bring a store to its number of episodes. Seeds that an earlier, interrupted call tried are not tried again."""
    there = Store(config.store).episodes if (config.store / "zarr.json").exists() else []
    missing = config.episodes - len(there)
    if missing <= 0:
        say(f"{who}: {len(there)} episodes are in {config.store}")
        return
    say(f"{who}: {missing} episodes into {config.store}")
    first = max((int(episode.info["seed"]) + 1 for episode in there), default=config.first_seed)
    result = collect(
        replace(config, episodes=missing, first_seed=first),
        lambda kept, asked: say(f"  {kept} of {asked}") if kept % 10 == 0 else None,
    )
    say(f"{who}: {result.successes} of {result.attempts} succeeded, {result.steps} steps")


def _train(recipe: Recipe, number: int, say: Say) -> None:
    config = recipe.training(number)
    say(f"training run {number}: {config.samples} samples into {config.output}")
    train_imitation(config)


def _select(recipe: Recipe, say: Say) -> Path:
    run = recipe.run(recipe.rounds)
    seeds = range(SELECTION_SEEDS, SELECTION_SEEDS + recipe.selection_trials)
    scores = {}
    for name in ("last", "best"):
        trials = list(evaluate(recipe.task, run / name, seeds, workers=recipe.workers))
        scores[name] = sum(trial.success for trial in trials)
        say(f"selection: {name}: {scores[name]} of {len(trials)}")
    return run / max(scores, key=lambda name: scores[name])
