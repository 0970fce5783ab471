"""The simulated cell: a Franka FR3 with hand, a table, a side-view D455 and tasks, on one MuJoCo scene.

Two fronts share the scene: :class:`clar_core.simulation.env.CellEnv` (gymnasium, deterministic, faster than real time)
and :mod:`clar_core.simulation.live` (real time, behind an FCI server that franky connects to).
"""
