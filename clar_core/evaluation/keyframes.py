"""How far off a policy of keyframes is on stored demonstrations: at each keyframe, where would it go next?

Open loop: every decision is made from what the demonstration showed, never from where the policy would have led. It
needs no simulator, and says nothing about success.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clar_core.data.rlbench_demo import Demonstration, demonstration_folders, load_demonstration, task_folders
from clar_core.data.rlbench_scene import T_BASE_WORLD
from clar_core.data.store import Store, StoreError
from clar_core.evaluation.cell import Progress, default_directory
from clar_core.evaluation.contenders import candidates, controls_of, fingerprint
from clar_core.evaluation.journal import JournalError, check_identity
from clar_core.geometry.poses import Array, delta_between
from clar_core.keyframe_runtime import KeyframeRuntime
from clar_core.observation.builder import TooFewPointsError

POLICY, STAYS = "policy", "stays"
"""``stays`` is no policy: it says that the next keyframe is where the arm is now, with the gripper as it is."""


@dataclass(frozen=True, kw_only=True)
class KeyframeEvaluationConfig:
    """What is measured.

    Attributes:
        checkpoint: a run, whose ``best`` is taken, or a checkpoint.
        demos: folder of one task's demonstrations, or of several tasks.
        tasks: of those; all when left out.
        camera: that the policy sees through.
        controls: whether the run's controls are measured too.
        include_seen: measure demonstrations that training saw, too.
    """

    checkpoint: str
    demos: Path
    tasks: tuple[str, ...] = ()
    camera: str = "front"
    controls: bool = True
    include_seen: bool = False


@dataclass(frozen=True)
class KeyframeDecision:
    """One decision, against the demonstration's.

    Attributes:
        contender: who decided.
        task: of the demonstration.
        demonstration: ``variation0/episode3``.
        number: of the keyframe that was to be named, from 0.
        distance_mm, angle_deg: between the poses.
        gripper_right: whether open and closed agree.
        gripper_changes: whether the gripper was to change.
        seen: whether training saw the demonstration.
    """

    contender: str
    task: str
    demonstration: str
    number: int
    distance_mm: float
    angle_deg: float
    gripper_right: bool
    gripper_changes: bool
    seen: bool = False


@dataclass
class KeyframeEvaluation:
    """Decisions of everybody, and what could not be measured.

    Attributes:
        directory: where the results are.
        contenders: names, the policy first.
        decisions: all of them.
        left_out: reasons, one a demonstration or keyframe.
        missing_stores: stores of the training that are not there, so that what it saw is unknown.
        seen: number of demonstrations that training saw.
    """

    config: KeyframeEvaluationConfig
    directory: Path
    contenders: tuple[str, ...]
    decisions: list[KeyframeDecision] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    missing_stores: tuple[str, ...] = ()
    seen: int = 0

    def of(self, contender: str, task: str | None = None) -> list[KeyframeDecision]:
        """Decisions of a contender, of one task or of all."""
        return [d for d in self.decisions if d.contender == contender and task in (None, d.task)]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names, sorted."""
        return tuple(sorted({d.task for d in self.decisions}))


def evaluate_keyframes(
    config: KeyframeEvaluationConfig,
    directory: Path | None = None,
    *,
    restart: bool = False,
    progress: Progress | None = None,
) -> KeyframeEvaluation:
    """Measure every contender on every demonstration; what was measured before an interruption is kept.

    Args:
        directory: where it goes; a folder in ``outputs/eval`` named after the evaluation when left out.
        restart: throw away what is there.
        progress: called with (task, demonstrations done, of).

    Raises:
        DemonstrationError: no demonstrations there.
        CheckpointError: a checkpoint cannot be read, or its actions are no keyframes.
        JournalError: the folder holds another evaluation, or a damaged one.
        ValueError: a task that is not there, or nothing is left to measure.
    """
    folders = _chosen(config)
    sources = {POLICY: next(iter(candidates(config.checkpoint).values()))}
    if config.controls:
        sources |= controls_of(config.checkpoint)
    runtimes = {name: KeyframeRuntime.load(path, device="cpu", dtype="float32") for name, path in sources.items()}
    seen, missing = _digests_of_training(runtimes[POLICY].provenance)
    identity = {
        **{name: str(value) for name, value in asdict(config).items()},
        "demonstrations": [str(folder) for folder in folders],
        "weights": {name: fingerprint(path) for name, path in sources.items()},
    }
    where = directory or default_directory([f"keyframes_{path.parents[2].name}" for path in folders[:1]], identity)
    where.mkdir(parents=True, exist_ok=True)
    lines = where / "decisions.jsonl"
    if restart:
        for leftover in (lines, where / "identity.json"):
            leftover.unlink(missing_ok=True)
    check_identity(where, identity)
    evaluation = KeyframeEvaluation(config, where, (*runtimes, STAYS), missing_stores=missing)
    finished = _finished(lines)
    for done, folder in enumerate(folders, start=1):
        key = str(folder)
        if key not in finished:
            finished[key] = _measured(folder, runtimes, config, seen)
            with lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"folder": key, **finished[key]}) + "\n")
                file.flush()
                os.fsync(file.fileno())
        evaluation.seen += bool(finished[key]["seen"])
        evaluation.left_out += finished[key]["left_out"]
        evaluation.decisions += [KeyframeDecision(**values) for values in finished[key]["decisions"]]
        if progress is not None:
            progress(folder.parents[2].name, done, len(folders))
    if not evaluation.decisions:
        raise ValueError(_nothing(evaluation, len(folders)))
    return evaluation


def _chosen(config: KeyframeEvaluationConfig) -> list[Path]:
    tasks = {path.resolve().name: path for path in task_folders(config.demos)}
    if unknown := sorted(set(config.tasks) - set(tasks)):
        raise ValueError(f"--tasks: {config.demos} has no {unknown[0]!r}; it has {', '.join(sorted(tasks))}")
    return [
        folder
        for name, path in sorted(tasks.items())
        if not config.tasks or name in config.tasks
        for folder in demonstration_folders(path.resolve())
    ]


def _measured(
    folder: Path, runtimes: dict[str, KeyframeRuntime], config: KeyframeEvaluationConfig, seen: frozenset[str]
) -> dict[str, Any]:
    """What one demonstration gives, as JSON values."""
    try:
        demonstration = load_demonstration(folder, T_BASE_WORLD)
        was_seen = demonstration.digest in seen
        if was_seen and not config.include_seen:
            return {"seen": True, "decisions": [], "left_out": []}
        left_out: list[str] = []
        decisions = [
            asdict(decision) for decision in _decisions(demonstration, runtimes, config.camera, was_seen, left_out)
        ]
    except (ValueError, OSError) as error:
        return {"seen": False, "decisions": [], "left_out": [str(error)]}
    return {"seen": was_seen, "decisions": decisions, "left_out": left_out}


def _decisions(
    demonstration: Demonstration,
    runtimes: dict[str, KeyframeRuntime],
    camera: str,
    seen: bool,
    left_out: list[str],
) -> Iterator[KeyframeDecision]:
    begin = 0
    spec = runtimes[POLICY].spec
    for number, end in enumerate(demonstration.keyframes()):
        wanted, is_open = demonstration.poses[end], demonstration.is_open[end]
        was_open = demonstration.is_open[begin]
        try:
            cloud, state = demonstration.observe(begin, spec, camera)
        except TooFewPointsError as error:
            left_out.append(f"{demonstration.folder}: keyframe {number}: {error}")
            begin = end
            continue
        answers: dict[str, tuple[Array, bool]] = {STAYS: (demonstration.poses[begin], was_open)}
        for name, runtime in runtimes.items():
            runtime.reset()
            answer = runtime.next_keyframe(cloud, state, demonstration.sentence)
            answers[name] = (answer.T_base_tcp, answer.gripper > 0.5)
        for name, (pose, opens) in answers.items():
            translation, rotation = delta_between(pose, wanted)
            yield KeyframeDecision(
                name,
                demonstration.task,
                demonstration.name,
                number,
                round(1000.0 * float(np.linalg.norm(translation)), 3),
                round(math.degrees(float(np.linalg.norm(rotation))), 3),
                opens == is_open,
                was_open != is_open,
                seen,
            )
        begin = end


def _digests_of_training(provenance: dict[str, Any]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Digests of the demonstrations in the stores of a training, and the stores that are not there to tell."""
    digests: set[str] = set()
    missing: list[str] = []
    data = provenance.get("data")
    for path in data.get("stores", {}) if isinstance(data, dict) else ():
        try:
            digests |= {str(e.info["demonstration"]) for e in Store(path).episodes if "demonstration" in e.info}
        except StoreError:
            missing.append(str(path))
    return frozenset(digests), tuple(missing)


def _finished(lines: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    if lines.exists():
        # A line that was cut off by a kill is measured again.
        whole, _, cut = lines.read_text(encoding="utf-8").rpartition("\n")
        if cut:
            lines.write_text(whole + "\n" if whole else "", encoding="utf-8")
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                values = json.loads(line)
                found[values.pop("folder")] = values
            except (ValueError, KeyError, AttributeError) as error:
                raise JournalError(f"{lines}, line {number}: cannot be read ({error}); use --restart") from error
    return found


def _nothing(evaluation: KeyframeEvaluation, count: int) -> str:
    reasons = (
        [f"{len(evaluation.left_out)} left out, the first: {evaluation.left_out[0]}"] if evaluation.left_out else []
    )
    if evaluation.seen:
        reasons.append(
            f"training saw {evaluation.seen} of its {count} demonstrations; give others, or --include-seen to measure "
            "these all the same"
        )
    return f"{evaluation.config.demos}: nothing to measure in {count} demonstrations: {'; '.join(reasons)}"
