"""Where things of one set-up live, and which versions it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LOCKS = ("default", "jazzy")
JAZZY = Path("/opt/ros/jazzy")


@dataclass(frozen=True)
class Layout:
    """Folders and version lock of one set-up; several can stand side by side in one checkout.

    Attributes:
        root: the checkout.
        lock: what was asked for, "default" or "jazzy". On a machine without ROS 2, "jazzy" takes the versions of the
            robot's machine (NumPy 1.26) in folders of its own, so that they can be tested anywhere.
        distribution: prefix of an installed ROS 2 Jazzy, None where ROS 2 comes as wheels.
    """

    root: Path
    lock: str = "default"
    distribution: Path | None = None

    @classmethod
    def detect(cls, root: Path, lock: str = "default", jazzy: Path = JAZZY) -> Layout:
        """The layout of this machine. Raises ValueError for an unknown lock."""
        if lock not in LOCKS:
            raise ValueError(f"unknown LOCK {lock!r}: expected one of {', '.join(LOCKS)}")
        return cls(root.resolve(), lock, jazzy if (jazzy / "setup.bash").is_file() else None)

    @property
    def _suffix(self) -> str:
        return "" if self.lock == "default" else f"-{self.lock}"

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.root / f".venv{self._suffix}"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.venv / "bin" / "python"

    @property
    def workspace(self) -> Path:
        """The ROS 2 workspace."""
        return self.root / "ros2_ws"

    @property
    def build(self) -> Path:
        """Where colcon builds."""
        return self.workspace / f"build{self._suffix}"

    @property
    def install(self) -> Path:
        """Where colcon installs, all packages into one prefix."""
        return self.workspace / f"install{self._suffix}"

    @property
    def colcon_log(self) -> Path:
        """Where colcon logs."""
        return self.workspace / f"log{self._suffix}"

    @property
    def state(self) -> Path:
        """Logs and stamps of the steps, and marks of the ones under way."""
        return self.root / "build" / f"setup{self._suffix}"

    @property
    def constraints(self) -> Path:
        """The lock file: messages of a ROS distribution are compiled against NumPy 1.26, the wheels run with either."""
        name = "jazzy" if self.distribution is not None else self.lock
        return self.root / "requirements" / f"lock_{name}.txt"

    @property
    def requirements(self) -> list[Path]:
        """Requirement files to install, by use."""
        uses = ["core", "sim", "hardware", "train", "data", "viz", "dev", "ros"]
        if self.distribution is None:
            uses.append("ros_wheels")
        return [self.root / "requirements" / f"{use}.txt" for use in uses]

    @property
    def command(self) -> str:
        """What a user types to run this set-up."""
        return "make setup" if self.lock == "default" else f"make setup LOCK={self.lock}"
