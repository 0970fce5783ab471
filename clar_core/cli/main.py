"""Entry point of the command ``clar``: finds the subcommand, imports its module alone and calls it.

A subcommand is ``main(arguments: list[str]) -> int`` in a module named by the table below. Only this file is imported
before it is known which one runs, so ``clar --help`` answers at once, with or without torch, MuJoCo or ROS.
"""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ROS_PACKAGES = ("clar", "clar_interfaces", "rclpy", "ament_index_python")


@dataclass(frozen=True)
class Command:
    """One subcommand: its words on the command line, what it does, the module whose ``main`` it is.

    ``leading`` are arguments put before those of the command line, where several commands share a module.
    """

    words: tuple[str, ...]
    help: str
    module: str
    leading: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The words as they are typed."""
        return " ".join(self.words)


def _operate(word: str, summary: str) -> Command:
    return Command(tuple(word.split()), summary, "clar.operate", leading=(word,))


def _data(word: str, summary: str, module: str, leading: tuple[str, ...] = ()) -> Command:
    return Command(("data", word), summary, f"clar_core.cli.{module}", leading=leading)


def _calibrate(word: str, summary: str, module: str) -> Command:
    return Command(("calibrate", word), summary, module, leading=(word,))


_RLBENCH = "clar_core.cli.evaluate_rlbench"

GROUPS: dict[str, tuple[Command, ...]] = {
    "See it work": (
        Command(("demo",), "run trials of a policy in the live simulated cell and write a report", "clar.demo.main"),
    ),
    "Operate the robot": (
        _operate("status", "show what runs, who may move the arm, and why it stopped"),
        _operate("arm", "DISARMED -> ARMED: the arm may be started"),
        _operate("start", "ARMED -> RUNNING: commands of one source move the arm"),
        _operate("stop", "stop the arm now; it stays armed"),
        _operate("disarm", "stop the arm and take the permission to move"),
        _operate("recover", "clear the robot's errors after a halt"),
        Command(("teleop",), "command the arm by hand and record episodes, in this terminal", "clar.teleop"),
        _operate("home", "move slowly to the home joints of cell.yaml"),
        _operate("return", "move slowly, straight, to where the last run started"),
        _operate("gripper open", "open the gripper"),
        _operate("gripper home", "let the gripper find its largest opening"),
    ),
    "Set up a cell": (
        Command(("doctor",), "check machine, robot, camera and cell file before a run", "clar_core.cli.doctor"),
        Command(("cell", "init"), "write a commented cell.yaml, the one file that a site edits", "clar_core.cli.cell"),
        _calibrate("board", "write a printable calibration board in true size", "clar_core.cli.calibrate"),
        _calibrate("collect", "take views of the board with arm and camera, and calibrate", "clar.calibrate"),
        _calibrate("solve", "solve recorded samples; write calibration and report", "clar_core.cli.calibrate"),
        _calibrate("verify", "compare the arm in the depth image with its model", "clar.calibrate"),
        _calibrate("check", "tell whether the camera has moved since", "clar.calibrate"),
    ),
    "Demonstrations": (
        _data("inspect", "what a bag holds: topics, rates, episodes", "data_validate", leading=("inspect",)),
        _data("validate", "is each episode fit for training, and why not", "data_validate", leading=("validate",)),
        _data("convert", "bags to a store that trains", "data_convert"),
        _data("view", "a bag as a Rerun recording to look at", "data_view"),
        Command(("data", "play"), "publish a bag's messages again", "clar.play"),
        Command(("data", "replay"), "do a recorded episode again on the running stack's arm", "clar.replay"),
        _data("import", "RH20T scenes or RLBench demonstrations to a store", "data_import"),
        _data("metaworld", "record MetaWorld's scripted policies", "data_metaworld"),
        _data("merge", "stores into one", "data_stores", leading=("merge",)),
        _data("export", "a store as a DP3 or a LeRobot data set", "data_stores", leading=("export",)),
        _data("recover", "finish recordings that a crash or a full disk cut off", "recover"),
        _data("collect", "record expert demonstrations in the simulated cell, without ROS", "collect"),
    ),
    "Learn": (
        _data("views", "render posed RGB-D views to pre-train on", "views", leading=("cell",)),
        _data("metaworld-views", "the same of MetaWorld's scenes", "views", leading=("metaworld",)),
        Command(("pretrain",), "pre-train a point encoder on posed RGB-D views", "clar_core.cli.pretrain"),
        Command(("train", "controls"), "train what a run is held against", "clar_core.cli.train_controls"),
        Command(("probe",), "compare pre-trained encoders by what can be read out of them", "clar_core.cli.probe"),
        Command(("attention",), "show where a pre-trained encoder looks", "clar_core.cli.attention"),
        Command(
            ("train", "suite"), "all tasks, from demonstrations to a table of results", "clar_core.cli.train_suite"
        ),
        Command(("train",), "train a policy from demonstrations", "clar_core.cli.train"),
        Command(("checkpoint",), "what a checkpoint is and where it comes from; copy it", "clar_core.cli.checkpoint"),
        Command(("demo-train",), "make the shipped checkpoint again", "clar_core.cli.demo_train"),
        Command(("eval", "live"), "evaluate a checkpoint through the nodes, simulated or real", "clar.evaluation.main"),
        Command(("eval", "cell"), "evaluate a checkpoint in the simulated cell", "clar_core.cli.evaluate"),
        Command(("eval", "metaworld"), "evaluate a checkpoint in MetaWorld", "clar_core.cli.evaluate_metaworld"),
        Command(("eval", "rlbench"), "evaluate a policy of keyframes in RLBench, or on demonstrations", _RLBENCH),
        Command(("reproduce",), "a table of the paper, as far as it can run here", "clar_core.cli.reproduce"),
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``clar <arguments>`` (default: the process's own) and return the exit status.

    0 done, 1 it failed (the reason is on stderr), 2 it was called wrongly, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if words[0] in ("-V", "--version", "version"):
        import clar_core

        print(f"clar {clar_core.__version__}")
        return 0
    command = find(words)
    if isinstance(command, int):
        return command
    try:
        return run(command, words)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def run(command: Command, words: Sequence[str]) -> int:
    """Import a subcommand and call it. What ROS-dependent ones need and do not find is named, with the remedy."""
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        if error.name not in ROS_PACKAGES:
            raise
        return fail(
            f"`clar {command.name}` needs the ROS 2 workspace, and the Python package {error.name!r} is not there.\n"
            "Run `source setup.bash` in the repository first (and `make setup` before it, once)."
        )
    entry: Callable[[list[str]], int] = module.main
    return entry([*command.leading, *words[len(command.words) :]])


def find(words: Sequence[str]) -> Command | int:
    """The subcommand that the words begin with, or an exit status after saying what there is instead."""
    commands = [c for group in GROUPS.values() for c in group]
    for command in commands:
        if tuple(words[: len(command.words)]) == command.words:
            return command
    family = [c for c in commands if c.words[0] == words[0]]
    if family and (len(words) == 1 or words[1] in ("-h", "--help")):
        print(_listing(family))
        return 0 if len(words) > 1 else 2
    if family:
        fail(_unknown(" ".join(words[:2]), [c.name for c in family]))
    else:
        fail(_unknown(words[0], sorted({c.words[0] for c in commands})))
    return 2


_NAME_WIDTH = 2 + max(len(command.name) for group in GROUPS.values() for command in group)


def usage() -> str:
    """The overview that ``clar --help`` prints."""
    lines = ["usage: clar <command> [options]      clar <command> --help tells its options", ""]
    for title, commands in GROUPS.items():
        lines += [f"{title}:", _listing(commands), ""]
    return "\n".join(lines).rstrip()


def fail(message: str) -> int:
    """Print an error to stderr; return the exit status 1."""
    print(f"clar: {message}", file=sys.stderr)
    return 1


def _listing(commands: Sequence[Command]) -> str:
    return "\n".join(f"  clar {c.name:<{_NAME_WIDTH}}{c.help}" for c in commands)


def _unknown(given: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(given, known, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(f'`clar {name}`' for name in near)}?" if near else "`clar --help` lists them."
    return f"there is no command {given!r}; {hint}"


if __name__ == "__main__":
    sys.exit(main())
