"""How well the arm follows 10 Hz steps of 1 cm (0.1 m/s) through franky and franky-sim, against plain CartesianMotion.

The first way is the stack's own: envelope, interpolated reference, P-corrected velocity motions of 200 ms. The second
is what franky offers for the same targets: a ``CartesianMotion`` to each absolute target when its tick comes. The third
is the spring of ``tracking:=impedance``, whose rest error is what pulls at the arm, divided by its stiffness.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import franky
import numpy as np
from harness import ROOT, Benchmark

sys.path.insert(0, str(ROOT))

from clar.drivers.franka import FrankaArm, FrankaConfig
from clar_core.control.commands import Command, CommandLimits
from clar_core.control.controller import ArmController, ControllerSettings
from clar_core.control.envelope import EnvelopeLimits
from clar_core.control.loop import ArmLoop, LoopState
from tests.isolation import FCI_ADDRESSES, fci_ports_are_free, lease
from tests.simulated_robot import START_JOINTS_RAD, SimulatedRobot

STEP_M = 0.01
TICKS = 15
SETTLE_S = 1.0
LAG_MM = 10.0
FINAL_MM = 1.0
LIMITS = EnvelopeLimits(motion_box_min_m=(0.3, -0.5, 0.2), motion_box_max_m=(0.75, 0.5, 0.8))
PATIENT = CommandLimits(observation_drop_age_s=1.0, observation_halt_age_s=2.0)


@dataclass(frozen=True)
class Run:
    """One run: times, reference and measured y in metres, and speed in m/s while moving."""

    times_s: np.ndarray
    reference_m: np.ndarray
    measured_m: np.ndarray
    goal_m: float

    @property
    def lag_mm(self) -> float:
        """Median distance behind the reference while it moves, the run-up left out."""
        moving = self._moving()
        return float(np.median(np.abs(self.reference_m - self.measured_m)[moving]) * 1e3)

    @property
    def final_mm(self) -> float:
        """Distance from the goal at the end."""
        return float(abs(self.measured_m[-1] - self.goal_m) * 1e3)

    @property
    def speeds_m_s(self) -> tuple[float, float]:
        """5th and 95th percentile of the speed while the reference moves."""
        grid_s = np.arange(self.times_s[0], self.times_s[-1], 0.02)
        speed = np.abs(np.gradient(np.interp(grid_s, self.times_s, self.measured_m), grid_s))
        moving = (grid_s > 0.4) & (grid_s < 0.1 * TICKS - 0.1)
        return float(np.percentile(speed[moving], 5)), float(np.percentile(speed[moving], 95))

    def _moving(self) -> np.ndarray:
        return (self.times_s > 0.4) & (self.times_s < 0.1 * TICKS)


def main() -> int:
    """Both ways on one simulated robot, and the claims."""
    bench = Benchmark("tracking", f"{TICKS} steps of {STEP_M * 1e3:.0f} mm at 10 Hz through franky and franky-sim")
    with (
        lease("fci", FCI_ADDRESSES, usable=fci_ports_are_free) as address,
        SimulatedRobot(address) as robot,
        FrankaArm(FrankaConfig(host=address, realtime=False)) as arm,
    ):
        ours = through_the_stack(arm)
        go_back(arm)
        spring = through_the_stack(arm, impedance=True)
        go_back(arm)
        factor = robot.real_time_factor
        plain = cartesian_motions(arm)
    text = f"real-time factor {factor:.2f}; plain CartesianMotion in this run: "
    low, high = ours.speeds_m_s
    plain_low, plain_high = plain.speeds_m_s
    bench.claim("lag while moving, median", ours.lag_mm, "mm", at_most=LAG_MM, reference=f"{text}{plain.lag_mm:.1f} mm")
    bench.claim("final error", ours.final_mm, "mm", at_most=FINAL_MM, reference=f"{text}{plain.final_mm:.2f} mm")
    bench.claim("slowest moment of the motion (5th percentile)", low, "m/s", reference=f"{text}{plain_low:.3f} m/s")
    bench.claim("fastest moment of the motion (95th percentile)", high, "m/s", reference=f"{text}{plain_high:.3f} m/s")
    ripple, plain_ripple = (high - low) / 0.1, (plain_high - plain_low) / 0.1
    bench.claim(
        "speed ripple, relative to 0.1 m/s", ripple, "", at_most=plain_ripple, reference=f"{text}{plain_ripple:.2f}"
    )
    low, high = spring.speeds_m_s
    stiffness = f"stiffness {arm.config.impedance.stiffness_n_m:g} N/m"
    bench.claim("impedance: lag while moving, median", spring.lag_mm, "mm", at_most=LAG_MM, reference=stiffness)
    bench.claim("impedance: final error", spring.final_mm, "mm", reference="the load that the simulated robot leaves")
    bench.claim("impedance: speed ripple", (high - low) / 0.1, "", at_most=plain_ripple)
    bench.claim("real-time factor", factor, "x")
    return bench.finish()


def through_the_stack(arm: FrankaArm, *, impedance: bool = False) -> Run:
    """As the arm node does it: every command through controller and loop."""
    settings = ControllerSettings(envelope=LIMITS, commands=PATIENT)
    controller = ArmController(settings)
    samples: list[tuple[float, float, float]] = []
    start_s = [0.0]

    def on_state(state: LoopState) -> None:
        now_s = time.monotonic()
        reference = controller._reference.sample(now_s)[0]
        samples.append((state.arm.read_at_s - start_s[0], reference[1, 3], state.arm.T_base_tcp[1, 3]))

    loop = ArmLoop(controller, arm, on_state=on_state, impedance=impedance)
    loop.start()
    try:
        controller.arm(loop.state.arm, None, time.monotonic())
        controller.start("scripted", loop.state.arm, None, time.monotonic())
        start_y = float(controller.T_commanded[1, 3])
        start_s[0] = time.monotonic()
        sequence = iter(range(1, 10_000))

        def tick(step_m: float) -> None:
            wall_ns = time.time_ns()
            command = Command(
                values=(0.0, step_m, 0.0, 0.0, 0.0, 0.0, 1.0),
                source="scripted",
                sequence=next(sequence),
                frame_id="fr3_link0",
                stamp_ns=wall_ns,
                observation_stamp_ns=0,
            )
            controller.accept(command, loop.state.arm.T_base_tcp, wall_ns, time.monotonic())

        at_10_hz(lambda: tick(STEP_M), TICKS)
        at_10_hz(lambda: tick(0.0), round(SETTLE_S / 0.1))
    finally:
        loop.close("the benchmark ends")
    return as_run(samples, start_y + TICKS * STEP_M)


def cartesian_motions(arm: FrankaArm) -> Run:
    """One absolute CartesianMotion a tick, preempting the one before."""
    robot = arm._robot
    T_start = arm.read().T_base_tcp
    samples: list[tuple[float, float, float]] = []
    start_s = time.monotonic()
    for index in range(TICKS + round(SETTLE_S / 0.1)):
        T_target = T_start.copy()
        T_target[1, 3] += STEP_M * min(index + 1, TICKS)
        if index < TICKS:
            robot.move(franky.CartesianMotion(franky.Affine(T_target)), asynchronous=True)
        end_s = start_s + 0.1 * (index + 1)
        while (now_s := time.monotonic()) < end_s:
            # the same reference as ours: a step is walked in its tick
            done = min((now_s - start_s) / 0.1, TICKS)
            samples.append((now_s - start_s, T_start[1, 3] + STEP_M * done, arm.read().T_base_tcp[1, 3]))
            time.sleep(0.005)
    while arm.poll():
        time.sleep(0.01)
    return as_run(samples, float(T_start[1, 3]) + TICKS * STEP_M)


def go_back(arm: FrankaArm) -> None:
    """To where both runs begin."""
    arm.start_joint_motion(np.array(START_JOINTS_RAD), 0.2)
    arm.wait()
    time.sleep(0.5)


def at_10_hz(tick: Callable[[], None], count: int) -> None:
    """Call so many times, every 100 ms."""
    start_s = time.monotonic()
    for index in range(count):
        time.sleep(max(0.0, start_s + 0.1 * index - time.monotonic()))
        tick()
    time.sleep(max(0.0, start_s + 0.1 * count - time.monotonic()))


def as_run(samples: list[tuple[float, float, float]], goal_m: float) -> Run:
    """The samples as arrays, from the first tick on."""
    times_s, reference_m, measured_m = np.array([sample for sample in samples if sample[0] >= 0.0]).T
    return Run(times_s, reference_m, measured_m, goal_m)


if __name__ == "__main__":
    sys.exit(main())
