"""The whole stack in the simulated cell for an hour, with a random fault every 20 s; then a program checks the log.

    python benchmarks/soak.py                        # one hour
    python benchmarks/soak.py --minutes 3 --every 15
    python benchmarks/soak.py --check outputs/soak/log.jsonl

An operator in this program recovers, arms and starts again after every fault, as a person would. Ctrl-C ends the run in
good order and checks what there is.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from harness import OUTPUT, ROOT, Benchmark
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger
from tqdm import tqdm

from clar import bridge, names, qos
from clar.calls import CallError, call_successfully, wait_until
from clar.demo.stack import Stack, StackError
from clar_core.control.action import Action
from clar_core.control.gates import Gate
from clar_core.control.robot import DISCONNECTED
from clar_core.evaluation import soak
from clar_interfaces.msg import DeltaCommand, RobotState
from clar_interfaces.srv import ResetCell, Start

READY_WITHIN_S = 180.0
RECOVER_WITHIN_S = 60.0
STATE_PERIOD_S = 0.05
SILENT_S = 1.0
MEMORY_PERIOD_S = 5.0
WARM_UP_S = 60.0
GROWTH_MAX_MIB = 40.0
STOP_WITHIN_S = 1.0
NODES = ("arm", "policy", "cloud", "sim", "calibrated_tf", "manager")
NAN = float("nan")


class Cell:
    """The running stack from outside: its states in the log, its processes, and the operator's hands."""

    def __init__(self, stack: Stack, log: Path) -> None:
        self.stack = stack
        self._log = log.open("w", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()
        self.state: RobotState | None = None
        self.status = ""
        self._logged_s, self._mode = 0.0, -1
        self._state_s, self._sequence = 0.0, 0
        context = rclpy.Context()
        context.init()
        self._context = context
        self.node = Node("clar_soak", context=context, start_parameter_services=False, enable_rosout=False)
        self.commands = self.node.create_publisher(DeltaCommand, names.TOPIC_COMMAND, qos.COMMAND)
        self.gates = self.node.create_publisher(DiagnosticStatus, names.TOPIC_GATES, qos.LATCHED)
        self.node.create_subscription(RobotState, names.TOPIC_ROBOT_STATE, self._on_state, qos.STATE)
        self.node.create_subscription(DiagnosticStatus, names.TOPIC_MANAGER_STATUS, self._on_status, qos.LATCHED)
        services = (names.SERVICE_ARM, names.SERVICE_STOP, names.SERVICE_DISARM, names.SERVICE_RECOVER)
        self._triggers = {
            name: self.node.create_client(Trigger, name)
            for name in (*services, names.SERVICE_HOME, names.SERVICE_OPEN_GRIPPER)
        }
        self._start = self.node.create_client(Start, names.SERVICE_START)
        self._reset = self.node.create_client(ResetCell, names.SERVICE_SIM_RESET)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(self.node)
        self._thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and the log."""
        self._context.try_shutdown()
        self._thread.join(3.0)
        self._log.close()

    def log(self, kind: str, **entry: Any) -> None:
        """Write one entry."""
        with self._lock:
            self._log.write(json.dumps({"kind": kind, "t_s": round(time.time(), 4), **entry}) + "\n")

    def _on_state(self, state: RobotState) -> None:
        self.state, self._state_s = state, time.monotonic()
        now_s = self._state_s
        if state.mode == self._mode and now_s - self._logged_s < STATE_PERIOD_S:
            return
        self._mode, self._logged_s = state.mode, now_s
        self.log(
            "state",
            mode=state.mode,
            reason=state.reason,
            commanded=round(_speed(state.commanded_twist), 7),
            # of a robot that is not connected the last measured state is repeated: its speed is unknown
            measured=None if state.robot_mode == DISCONNECTED else round(_speed(state.measured_twist), 5),
        )

    def _on_status(self, status: DiagnosticStatus) -> None:
        self.status = status.message

    def processes(self) -> dict[str, int]:
        """Process ids of the stack by node name; ``physics`` is the simulated robot."""
        found = {}
        for pid in self.stack.processes():
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
                for name in NODES:
                    if any(word.endswith(f"lib/clar/{name}") for word in words):
                        found[name] = pid
                if any("clar_core.simulation.live" in word for word in words):
                    found["physics"] = pid
        return found

    def trigger(self, service: str, timeout_s: float = 10.0) -> str:
        """Call one of the operator's services; raises CallError when it says no."""
        return call_successfully(self._triggers[service], Trigger.Request(), timeout_s)

    def mode(self) -> int:
        """The arm's mode, -1 while it says nothing."""
        silent = self.state is None or time.monotonic() - self._state_s > SILENT_S
        return -1 if silent else int(self.state.mode)

    def make_running(self, seed: int) -> None:
        """What an operator does after a fault: recover, arm, home, put the objects out, start."""
        end_s = time.monotonic() + RECOVER_WITHIN_S
        while True:
            self.stack.check()
            try:
                self._make_running(seed)
                return
            except CallError as error:
                if time.monotonic() > end_s:
                    raise
                self.log("note", text=f"operator: {error}")
                time.sleep(0.5)

    def _make_running(self, seed: int) -> None:
        if self.status != "ready":
            raise CallError(f"the stack is {self.status or 'starting'}")
        if self.mode() == -1:
            raise CallError("the arm says nothing")
        if self.mode() == RobotState.MODE_RUNNING:
            return
        if self.mode() == RobotState.MODE_HALTED:
            self.trigger(names.SERVICE_RECOVER, 25.0)
        if self.mode() != RobotState.MODE_ARMED:
            self.trigger(names.SERVICE_ARM)
        self.trigger(names.SERVICE_OPEN_GRIPPER, 15.0)
        start_s = time.time()
        try:
            self.trigger(names.SERVICE_HOME, 35.0)
        finally:
            self.log("motion", start_s=start_s, end_s=time.time())
        call_successfully(self._reset, ResetCell.Request(task="", seed=seed), 10.0)
        call_successfully(self._start, Start.Request(owner=names.SOURCE_POLICY), 10.0)
        wait_until(lambda: self.mode() == RobotState.MODE_RUNNING, 3.0)

    def send(self, values: tuple[float, ...], *, source: str = "policy", ahead_s: float = 0.0) -> None:
        """One command in the name of a source, following the last one that the arm executed."""
        assert self.state is not None
        now_ns = time.time_ns() + int(ahead_s * 1e9)
        self._sequence = max(self._sequence, self.state.last_sequence) + 1
        command = bridge.action_to_command(
            Action.hold(1.0),
            source=source,
            sequence=self._sequence,
            frame=names.BASE_FRAME,
            observation=bridge.ns_to_stamp(now_ns),
        )
        command.header.stamp = bridge.ns_to_stamp(now_ns)
        command.translation = bridge.vector3(values[:3])
        self.commands.publish(command)


def _spin(executor: SingleThreadedExecutor) -> None:
    with suppress(ExternalShutdownException):
        executor.spin()


def _speed(twist: Any) -> float:
    return float(np.linalg.norm([twist.linear.x, twist.linear.y, twist.linear.z]))


# Faults: what is done, and what must come of it.


def kill(name: str) -> Callable[[Cell], None]:
    def inject(cell: Cell) -> None:
        pid = cell.processes()[name]
        cell.log("death", process=name, intended=True)
        os.kill(pid, signal.SIGKILL)

    return inject


def freeze(name: str, duration_s: float) -> Callable[[Cell], None]:
    def inject(cell: Cell) -> None:
        pid = cell.processes()[name]
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(duration_s)
        finally:
            os.kill(pid, signal.SIGCONT)

    return inject


def _send_until_halted(cell: Cell, values: tuple[float, ...], *, ahead_s: float = 0.0) -> None:
    """The policy's own commands come in between, and one whose number it has just used is dropped for that."""
    end_s = time.monotonic() + 3.0
    while cell.mode() == RobotState.MODE_RUNNING and time.monotonic() < end_s:
        cell.send(values, ahead_s=ahead_s)
        time.sleep(0.004)


def foreign_source(cell: Cell) -> None:
    for _ in range(10):
        cell.send((0.02, 0.0, 0.0), source=names.SOURCE_SCRIPTED)
        time.sleep(0.05)


def scene_gate(cell: Cell) -> None:
    cell.gates.publish(bridge.gate_to_status(Gate(names.GATE_SCENE, "the camera was moved by the soak run")))
    time.sleep(1.0)
    cell.gates.publish(bridge.gate_to_status(Gate(names.GATE_SCENE)))


FAULTS: dict[str, tuple[Callable[[Cell], None], str]] = {
    "kill -9 of the policy": (kill("policy"), "stops"),
    "kill -9 of the arm node": (kill("arm"), "disarms"),
    "policy frozen for 2 s": (freeze("policy", 2.0), "stops"),
    "camera frozen for 2 s": (freeze("sim", 2.0), "stops"),
    "cloud node frozen for 2 s": (freeze("cloud", 2.0), "stops"),
    "robot frozen for 2 s": (freeze("physics", 2.0), "halts"),
    "actions that are not finite": (lambda cell: _send_until_halted(cell, (NAN, 0.0, 0.0)), "halts"),
    "a stamp in the future": (lambda cell: _send_until_halted(cell, (0.0, 0.0, 0.0), ahead_s=0.5), "halts"),
    "commands of another source": (foreign_source, "ignored"),
    "the scene gate closes": (scene_gate, "halts"),
    "operator's STOP": (lambda cell: cell.trigger(names.SERVICE_STOP) and None, "stops"),
    "operator's DISARM": (lambda cell: cell.trigger(names.SERVICE_DISARM) and None, "disarms"),
}
STREAM_STOPS = ("kill -9 of the policy", "policy frozen for 2 s", "camera frozen for 2 s", "cloud node frozen for 2 s")


def main() -> int:
    """Run, then check; or only check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the run")
    parser.add_argument("--every", type=float, default=20.0, metavar="SECONDS", help="time from fault to fault")
    parser.add_argument("--seed", type=int, default=0, help="of the order of faults")
    parser.add_argument("--robot-ip", default="", help="another loopback address for the simulated robot")
    parser.add_argument("--output", type=Path, default=ROOT / "outputs" / "soak", help="folder of log and output")
    parser.add_argument("--check", type=Path, metavar="LOG", help="check this log, run nothing")
    options = parser.parse_args()
    if options.check is None:
        options.output.mkdir(parents=True, exist_ok=True)
        options.check = options.output / "log.jsonl"
        run(options)
    return check(options.check, options.check.with_name("stack.log"))


def run(options: argparse.Namespace) -> None:
    """Bring the stack up, inject faults until the time is over or Ctrl-C, take it down."""
    arguments = ["hardware:=sim", f"seed:={options.seed}"]
    arguments += [f"robot_ip:={options.robot_ip}"] if options.robot_ip else []
    with Stack(arguments, options.output / "stack.log") as stack:
        cell = Cell(stack, options.check)
        try:
            if not wait_until(lambda: cell.status == "ready", READY_WITHIN_S, lambda: _ended(stack)):
                raise SystemExit(f"soak: the stack was not ready within {READY_WITHIN_S:g} s:\n{stack.tail()}")
            inject_all(cell, options)
        except KeyboardInterrupt:
            cell.log("note", text="interrupted")
        except (CallError, StackError) as error:
            cell.log("death", process=f"the run: {error}", intended=False)
        finally:
            left = stack.end()
            for command in left:
                cell.log("death", process=f"did not end by itself: {command}", intended=False)
            cell.close()


def _ended(stack: Stack) -> bool:
    try:
        stack.check()
    except StackError:
        return True
    return False


def inject_all(cell: Cell, options: argparse.Namespace) -> None:
    """Every fault once, in random order, then again; the operator in between."""
    rng = random.Random(options.seed)
    end_s = time.monotonic() + 60.0 * options.minutes
    waiting: list[str] = []
    count = 0
    cell.make_running(options.seed)
    with tqdm(total=round(60.0 * options.minutes / options.every), unit="fault", desc="soak") as progress:
        due_s = time.monotonic() + options.every
        while time.monotonic() < end_s:
            known = cell.processes()
            while time.monotonic() < min(due_s, end_s):
                _watch(cell, known)
                time.sleep(max(0.0, min(MEMORY_PERIOD_S, due_s - time.monotonic())))
            if time.monotonic() >= end_s:
                break
            cell.make_running(options.seed + count)
            time.sleep(1.0)
            waiting = waiting or rng.sample(list(FAULTS), len(FAULTS))
            name = waiting.pop()
            inject, expects = FAULTS[name]
            cell.log("fault", name=name, expects=expects)
            inject(cell)
            count += 1
            progress.update()
            progress.set_postfix_str(name)
            due_s = time.monotonic() + options.every
            time.sleep(min(4.0, options.every / 2))
            cell.make_running(options.seed + count)


def _watch(cell: Cell, known: dict[str, int]) -> None:
    """Memory of every process; one that is gone without having been killed is a death."""
    present = cell.processes()
    for name, pid in list(known.items()):
        if present.get(name) != pid:
            cell.log("death", process=name, intended=False)
            del known[name]
    memory = {}
    for name, pid in present.items():
        with suppress(OSError, ValueError, IndexError):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            memory[f"{name}:{pid}"] = round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 2)
    cell.log("memory", mib=memory)


def check(path: Path, output: Path) -> int:
    """State what the log shows."""
    log = soak.load(path)
    if not log.states:
        raise SystemExit(f"soak: {path} holds no state of the arm: did the stack come up? see {output}")
    folder = OUTPUT if path.resolve().is_relative_to(ROOT) else path.parent
    bench = Benchmark("soak", "the stack in the simulated cell with random faults", output=folder)
    minutes = (log.states[-1].t_s - log.states[0].t_s) / 60.0
    bench.claim("length", minutes, "min", reference=str(path))
    bench.claim("faults injected", len(log.faults), "", at_least=1)
    forbidden = soak.forbidden_motion(log)
    unanswered = soak.unanswered_faults(log)
    deaths = [f"{name} at {t_s:.0f} s" for t_s, name, intended in log.deaths if not intended]
    crashes = output.read_text(errors="replace").count("Traceback") if output.exists() else 0
    bench.claim("motion in a state that forbids it", len(forbidden), "states", at_most=0, reference=_first(forbidden))
    bench.claim("faults without their response", len(unanswered), "", at_most=0, reference=_first(unanswered))
    bench.claim("processes that died by themselves", len(deaths), "", at_most=0, reference=_first(deaths))
    bench.claim("tracebacks in the stack's output", crashes, "", at_most=0)
    unnamed = sum(state.mode == RobotState.MODE_HALTED and not state.reason for state in log.states)
    bench.claim("halts without a reason", unnamed, "states", at_most=0)
    times = soak.time_to_zero_s(log, STREAM_STOPS)
    if times:
        text = f"{len(times)} stops of the command stream, median {np.median(times):.2f} s"
        bench.claim("slowest stop of the command stream", max(times), "s", at_most=STOP_WITHIN_S, reference=text)
    grown = {
        process: soak.memory_growth_mib(samples, WARM_UP_S)
        for process, samples in log.memory.items()
        if samples[-1][0] - samples[0][0] > 2 * WARM_UP_S
    }
    for process, growth in sorted(grown.items()):
        bench.claim(f"memory of {process.partition(':')[0]} grew", growth, "MiB", at_most=GROWTH_MAX_MIB)
    bench.extra = {"forbidden": forbidden[:50], "unanswered": unanswered, "deaths": deaths, "notes": log.notes[-50:]}
    return bench.finish()


def _first(texts: list[str]) -> str:
    return texts[0] if texts else ""


if __name__ == "__main__":
    sys.exit(main())
