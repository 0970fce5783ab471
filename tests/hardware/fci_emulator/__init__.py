"""A Franka robot and hand behind the real control interface, without physics, that fails on request.

franky connects to it unmodified. It does what a simulator does not: reflexes, user stop, a low success rate, a gripper
that hangs. It waits for the client's answer before it advances (lockstep), so that a busy machine causes no faults of
its own. ``FciEmulator`` runs it in a child process; ``python -m tests.hardware.fci_emulator ADDRESS`` is that process.
"""

from tests.hardware.fci_emulator.emulator import FciEmulator

__all__ = ["FciEmulator"]
