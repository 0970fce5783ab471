"""``clar eval live``: trials through the nodes, simulated or real, blinded where two policies are compared."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import tyro
from rich.console import Console

from clar.demo.main import ended_as_interrupt, uninterrupted

# Imported where they are used: simulation and ROS take seconds, and --help should not.
if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clar_core.evaluation.cell import Evaluation
    from clar_core.evaluation.contenders import Contender
    from clar_core.evaluation.live import LiveRun, LiveTrial
    from clar_core.evaluation.live_plan import PlannedTrial


@dataclass(frozen=True)
class EvalLive:
    """Evaluate a policy on the live stack. The operator marks success on the robot: s for success, f for failure."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """A run, a checkpoint, or a folder with one for each task."""
    compare: Path | None = None
    """Another one, tried on the same starts. Who drives which trial is drawn and not shown."""
    tasks: tuple[str, ...] = ()
    """Tasks; those that the checkpoint was trained for when left out."""
    suite: Literal["", "paper"] = ""
    """"paper": five tasks, 20 trials each, as in Fig. 4 of the paper."""
    trials: int = 20
    """Starts a task."""
    hardware: Literal["sim", "real"] = "sim"
    """What is driven. The robot is armed by hand after each launch: clar arm."""
    cell: Path | None = None
    """cell.yaml of the robot cell; the simulated cell has its own."""
    first_seed: int | None = None
    """Seed of the first start; 2000000 when left out, which no other evaluation uses."""
    block: int = 5
    """With --compare: starts that one policy drives before the other one takes the same."""
    time_limit_s: float | None = None
    """Time for a trial; the task's own when left out."""
    instruction: str = ""
    """Sentence for a policy with language; the task's first one when left out."""
    robot_ip: str = ""
    """Address of the robot; the cell file's when left out."""
    gallery: int = 8
    """Show at most so many failures in pictures (simulated cell)."""
    output: Path | None = None
    """Where results go; a folder in outputs/eval named after the evaluation when left out."""
    restart: bool = False
    """Throw away the trials that this evaluation has, instead of going on."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the evaluation; 0 when complete, 1 with the reason when not, 130 when interrupted. It can go on."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = tyro.cli(EvalLive, prog="clar eval live", args=words)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    with ended_as_interrupt():
        try:
            return _LiveEvaluation(options, console, shlex.join(["clar", "eval", "live", *words])).run()
        except KeyboardInterrupt:
            console.print("interrupted: nothing is running any more; the same command goes on")
            return 128 + signal.SIGINT


class _LiveEvaluation:
    def __init__(self, options: EvalLive, console: Console, command: str) -> None:
        self._options = options
        self._console = console
        self._command = command

    def run(self) -> int:
        from clar.demo.session import DemoError
        from clar.demo.stack import StackError
        from clar_core.evaluation.cell_report import write_results
        from clar_core.evaluation.live_plan import stints
        from clar_core.workers import WorkerDiedError

        try:
            evaluation, plan = self._prepare()
            missing = [t for t in plan if t.seed not in evaluation.journal.trials(self._arm(t))]
            console = self._console
            console.print(f"{len(plan)} trials, {len(plan) - len(missing)} are done; {evaluation.journal.directory}")
            for stint in stints(missing):
                self._drive(evaluation, stint, len(plan))
            self._collect(evaluation)
            pictures = self._pictures(evaluation)
        except (DemoError, StackError, ValueError, OSError, WorkerDiedError) as error:
            print(f"clar eval live: {error}\nThe same command goes on.", file=sys.stderr, flush=True)
            return 1
        written = write_results(evaluation, self._command, pictures)
        for contender in evaluation.having("fresh"):
            for task in evaluation.tasks:
                console.print(f"{contender.name:<10}{task:<22}{evaluation.outcome(contender, task)}")
        console.print(f"written: {', '.join(map(str, written))}")
        return 0

    def _prepare(self) -> tuple[Evaluation, list[PlannedTrial]]:
        from clar_core.evaluation.cell import Evaluation, EvaluationConfig, default_directory
        from clar_core.evaluation.contenders import Contender
        from clar_core.evaluation.journal import Journal
        from clar_core.evaluation.live_plan import PAPER_TRIALS, checkpoint_for, schedule
        from clar_core.evaluation.trials import LIVE_SEEDS, tasks_of
        from clar_core.simulation.tasks import TASKS

        options = self._options
        paper = options.suite == "paper"
        given = options.tasks or (tuple(TASKS) if paper else tasks_of(checkpoint_for(str(options.checkpoint), "")))
        config = EvaluationConfig(
            checkpoint=str(options.checkpoint),
            compare=None if options.compare is None else str(options.compare),
            tasks=given,
            trials=PAPER_TRIALS if paper else options.trials,
            first_seed=LIVE_SEEDS if options.first_seed is None else options.first_seed,
            selection_trials=0,
            controls=False,
        )
        fresh = {"policy": config.checkpoint} | ({"compared": config.compare} if config.compare else {})
        contenders = [Contender(name, "fresh", source) for name, source in fresh.items()]
        checkpoints = [str(checkpoint_for(c.source, task)) for c in contenders for task in given]
        identity = config.identity([Contender(f"{i}", "fresh", source) for i, source in enumerate(checkpoints)]) | {
            "front": f"live, {options.hardware}",
            "instruction": options.instruction,
            "block": options.block,
        }
        directory = options.output or default_directory(given, identity)
        where = "simulated cell" if options.hardware == "sim" else "robot, success as the operator marked it"
        evaluation = Evaluation(
            config,
            given,
            contenders,
            Journal(directory, identity, restart=options.restart),
            chosen=fresh,
            front=f"through the live stack in the {where}",
        )
        seeds = range(config.first_seed, config.first_seed + config.trials)
        plan = schedule([c.name for c in contenders], given, seeds, block=options.block, order_seed=config.first_seed)
        return evaluation, plan

    def _arm(self, trial: PlannedTrial) -> str:
        return f"fresh/{trial.contender}/{trial.task}"

    def _drive(self, evaluation: Evaluation, stint: Sequence[PlannedTrial], of: int) -> None:
        """One launch of the stack: trials of one policy on one task. Whatever happens, nothing is left running."""
        from clar.demo import session
        from clar.demo.observer import Observer
        from clar.demo.stack import Stack
        from clar.evaluation.operator import OperatorKeys
        from clar_core.evaluation.live import LiveRun
        from clar_core.evaluation.live_plan import checkpoint_for
        from clar_core.simulation.tasks import get_task

        options, console = self._options, self._console
        first = stint[0]
        task = get_task(first.task)
        source = next(c.source for c in evaluation.contenders if c.name == first.contender)
        run = LiveRun(task.name, source, options.instruction or task.instructions[0])
        arguments = self._launch_arguments(first, checkpoint_for(source, task.name).resolve(), run.instruction)
        status = console.status("starting the stack")
        with Observer(run) as observer:
            session.refuse_a_second_stack(observer)
            with status, Stack(arguments, evaluation.journal.directory / "launch.log") as stack:
                try:
                    session.await_ready(observer, stack, status.update)
                    if options.hardware == "real":
                        status.stop()
                        console.input("Arm the robot (clar arm, in another terminal), then press Enter. ")
                        status.start()
                    with OperatorKeys(observer.mark):
                        for trial in stint:
                            where = f"trial {trial.index + 1} of {of}, {trial.task}"
                            if options.hardware == "real":
                                console.print(f"{where}: put the objects out; s marks success, f failure")
                            session.run_trials(
                                observer,
                                stack,
                                task,
                                [trial.seed],
                                say=lambda text, where=where: status.update(f"{where}: {text}"),
                                tell=lambda text: None,
                                limit_s=options.time_limit_s,
                            )
                            self._keep(evaluation, trial, run)
                finally:
                    with uninterrupted():
                        status.update("ending the stack")
                        stack.end()

    def _launch_arguments(self, trial: PlannedTrial, checkpoint: Path, instruction: str) -> list[str]:
        options = self._options
        arguments = [
            f"hardware:={options.hardware}",
            f"auto_arm:={'true' if options.hardware == 'sim' else 'false'}",
            f"task:={trial.task}",
            f"seed:={trial.seed}",
            f"checkpoint:={checkpoint}",
            f"instruction:={instruction}",
        ]
        arguments += [f"cell:={options.cell.resolve()}"] if options.cell is not None else []
        arguments += [f"robot_ip:={options.robot_ip}"] if options.robot_ip else []
        return arguments

    def _keep(self, evaluation: Evaluation, planned: PlannedTrial, run: LiveRun) -> None:
        """Journal the trial that just ended, unless the simulator was too slow for it to count."""
        from clar.demo.session import DemoError
        from clar_core.evaluation.live import LiveRun
        from clar_core.evaluation.trials import Trial

        trial = run.trials[-1]
        only = LiveRun(run.task, run.checkpoint, trials=[trial], ticks=run.ticks, states=run.states)
        if self._options.hardware == "sim" and (objections := only.objections()):
            raise DemoError(f"trial {planned.index + 1} does not count: {'; '.join(objections)}")
        evaluation.journal.append(
            self._arm(planned),
            Trial(
                seed=planned.seed,
                success=trial.success,
                steps=round(trial.duration_s * 10),
                duration_s=round(trial.duration_s, 3),
                wall_s=round(trial.duration_s, 3),
                reason="success" if trial.success else _reason(trial, only),
                decision_ms=_decision_ms(run, trial),
                start_m=self._start_m(planned),
                instruction=run.instruction,
                states=None if trial.success else _states(run, trial),
            ),
        )
        verdict = "success" if trial.success else f"FAILURE: {trial.reason}"
        self._console.print(f"trial {planned.index + 1}  {planned.task}  {verdict}  {trial.duration_s:.1f} s")
        for remark in only.remarks():
            self._console.print(f"    {remark}")

    def _start_m(self, planned: PlannedTrial) -> tuple[float, float]:
        """Where the object stood: the simulated cell draws the same start from the same seed on both fronts."""
        from clar_core.simulation.env import CellEnv, EnvConfig

        if self._options.hardware == "real":
            return 0.0, 0.0
        env = CellEnv(EnvConfig(task=planned.task, render_depth=False))
        env.reset(seed=planned.seed)
        return env.start_m

    def _collect(self, evaluation: Evaluation) -> None:
        config = evaluation.config
        seeds = range(config.first_seed, config.first_seed + config.trials)
        for contender in evaluation.contenders:
            for task in evaluation.tasks:
                finished = evaluation.journal.trials(f"{contender.key}/{task}")
                evaluation.trials[contender.key, task] = [finished[seed] for seed in seeds]

    def _pictures(self, evaluation: Evaluation) -> list[tuple[Contender, str, bytes]]:
        from clar_core.evaluation.gallery import contact_sheets

        with self._console.status("drawing failures"):
            return [
                (contender, task, sheet)
                for contender in evaluation.having("fresh")
                for task, sheet in contact_sheets(evaluation, contender, self._options.gallery)
            ]


def _reason(trial: LiveTrial, only: LiveRun) -> str:
    """Why a trial failed, for the report; with a machine that was too slow named beside it, in one wording for all."""
    return f"{trial.reason} (the machine was late for too many ticks)" if only.remarks() else trial.reason


def _decision_ms(run: LiveRun, trial: LiveTrial) -> float:
    """Mean time of the policy's own stages during a trial."""
    decisions = [sum(s.durations_ms.values()) for s in run.stages if s.node == "policy" and trial.covers(s.time_s)]
    return round(sum(decisions) / len(decisions), 3) if decisions else 0.0


def _states(run: LiveRun, trial: LiveTrial) -> NDArray[np.float32] | None:
    """States (n, nq) of a trial in the simulated cell; None where none were seen."""
    states = [s.qpos for s in run.states if trial.covers(s.time_s) and s.seed == trial.seed]
    return np.array(states, dtype=np.float32) if states else None


if __name__ == "__main__":
    sys.exit(main())
