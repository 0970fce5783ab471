"""Plays ``ros2 launch clar policy.launch.py ...`` for the tests of the demo: a manager that runs pretended trials.

Run as a program named ``ros2``. What it does is chosen by the environment variable ``STAND_IN``: "well", "slow_sim" (a
real-time factor of 0.5), "dies_early", "dies_in_trials", "fails" (the manager says so), "stubborn" (leaves a child that
ignores SIGINT and SIGTERM), "endless" (a trial that does not end).
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.action import ActionServer
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node

from clar import names, qos
from clar.stop_request import StopRequest, stop_on_signals
from clar_interfaces.action import RunTrials
from clar_interfaces.msg import PolicyTick, SimState, StageTimings

TRIAL_S = 1.0
QPOS_SIZE = 19
STUBBORN = (
    "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; print('up', flush=True); time.sleep(600)"
)


class StandIn(Node):
    def __init__(self, kind: str) -> None:
        super().__init__(names.NODE_MANAGER)
        self.kind = kind
        self.seed = 0
        group = ReentrantCallbackGroup()
        self.status = self.create_publisher(DiagnosticStatus, names.TOPIC_MANAGER_STATUS, qos.LATCHED)
        self.ticks = self.create_publisher(PolicyTick, names.TOPIC_POLICY_TICK, qos.STATE)
        self.timings = self.create_publisher(StageTimings, names.TOPIC_TIMINGS, qos.STATUS)
        self.sim = self.create_publisher(SimState, names.TOPIC_SIM_STATE, qos.STATE)
        self.status.publish(DiagnosticStatus(message="starting"))
        ActionServer(self, RunTrials, names.ACTION_RUN_TRIALS, self.run_trials, callback_group=group)
        self.create_timer(0.1, self.tick, callback_group=group)
        self.status.publish(DiagnosticStatus(message="failed" if kind == "fails" else "ready"))

    def tick(self) -> None:
        now = self.get_clock().now()
        tick = PolicyTick(sequence=1, on_time=True)
        tick.header.stamp = tick.command_stamp = now.to_msg()
        tick.observation_stamp = (now - rclpy.duration.Duration(nanoseconds=40_000_000)).to_msg()
        self.ticks.publish(tick)
        timings = StageTimings(node="policy", stages=["fps", "encode"], durations_ms=[2.0, 5.0])
        timings.header.stamp = now.to_msg()
        self.timings.publish(timings)
        factor = 0.5 if self.kind == "slow_sim" else 0.95
        state = SimState(seed=self.seed, real_time_factor=factor, qpos=[0.1] * QPOS_SIZE)
        state.header.stamp = now.to_msg()
        self.sim.publish(state)

    def run_trials(self, handle) -> RunTrials.Result:
        print("trials began", flush=True)
        seeds = handle.request.seeds
        for index, seed in enumerate(seeds):
            self.seed = int(seed)
            if self.kind == "dies_in_trials" and index:
                print("the stand-in's last words", flush=True)
                os._exit(3)
            start = time.monotonic()
            while (elapsed := time.monotonic() - start) < TRIAL_S or self.kind == "endless":
                handle.publish_feedback(RunTrials.Feedback(trial=index, phase="running", elapsed_s=elapsed))
                time.sleep(0.1)
            handle.publish_feedback(RunTrials.Feedback(trial=index, phase="done", elapsed_s=elapsed))
        handle.succeed()
        count = len(seeds)
        return RunTrials.Result(
            success=True,
            message="",
            outcomes=[index != 1 for index in range(count)],
            durations_s=[TRIAL_S] * count,
            reasons=["success" if index != 1 else "time limit of 1 s" for index in range(count)],
        )


def main() -> int:
    kind = os.environ["STAND_IN"]
    print("arguments:", *sys.argv[1:], flush=True)
    if kind == "dies_early":
        print("the stand-in's last words", flush=True)
        return 3
    if kind == "stubborn":
        child = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
    stop = StopRequest()
    stop_on_signals(stop)
    rclpy.init(signal_handler_options=rclpy.SignalHandlerOptions.NO)
    executor = MultiThreadedExecutor(4)
    executor.add_node(StandIn(kind))
    threading.Thread(target=executor.spin, daemon=True).start()
    stop.wait()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
