"""Demonstrations of the stand-in for RLBench (``tests/rlbench_stand_in``), on disk as RLBench writes them."""

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np

STAND_IN = Path(__file__).parent / "rlbench_stand_in"


@contextmanager
def stand_in() -> Iterator[None]:
    """Within the block, ``import rlbench`` finds the stand-in."""
    before = _taken_out()
    sys.path.insert(0, str(STAND_IN))
    try:
        yield
    finally:
        sys.path.remove(str(STAND_IN))
        _taken_out()
        sys.modules.update(before)


def _taken_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.split(".")[0] in ("rlbench", "pyrep")]
    return {name: sys.modules.pop(name) for name in names}


def write_demonstrations(root: Path, count: int, task: str = "close_box", seed: int = 0, size: int = 96) -> Path:
    """``count`` demonstrations in ``<root>/<task>``; returns that folder."""
    with stand_in():
        from rlbench.environment import Environment
        from rlbench.observation_config import ObservationConfig
        from rlbench.utils import name_to_task_class

        config = ObservationConfig()
        config.set_all(False)
        config.front_camera.image_size = (size, size)
        np.random.seed(seed)  # noqa: NPY002 - RLBench draws from this generator
        demos = Environment(None, config, headless=True).get_task(name_to_task_class(task)).get_demos(count, True)
        episodes = root / task / "variation0" / "episodes"
        for number, demo in enumerate(demos):
            folder = episodes / f"episode{number}"
            (folder / "front_depth").mkdir(parents=True)
            for i, observation in enumerate(demo._observations):
                value = np.round(observation.front_depth * (2**24 - 1)).clip(0, 2**24 - 1).astype(np.uint32)
                image = np.stack([value & 255, (value >> 8) & 255, value >> 16], axis=-1).astype(np.uint8)
                cv2.imwrite(str(folder / "front_depth" / f"{i}.png"), image)
                observation.front_depth = None
            (folder / "low_dim_obs.pkl").write_bytes(pickle.dumps(demo))
        sentences = [task.replace("_", " "), f"please {task.replace('_', ' ')}"]
        (root / task / "variation0" / "variation_descriptions.pkl").write_bytes(pickle.dumps(sentences))
    return root / task


if __name__ == "__main__":
    write_demonstrations(Path(sys.argv[1]), int(sys.argv[2]), seed=int(sys.argv[3]))
