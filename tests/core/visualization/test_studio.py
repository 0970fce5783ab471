"""Pictures of recorded states show the robot and the objects, and what does not fit is refused."""

from collections.abc import Iterator

import numpy as np
import pytest

from clar_core.simulation.env import CellEnv, EnvConfig
from clar_core.simulation.tasks import UnknownTaskError
from clar_core.visualization.studio import Studio


@pytest.fixture(scope="module")
def env() -> Iterator[CellEnv]:
    env = CellEnv(EnvConfig(render_depth=False))
    yield env
    env.close()


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with Studio("place_cube_in_basin", width=320, height=180) as studio:
        yield studio


def pixels(picture: np.ndarray, color: str) -> int:
    red, green, blue = (picture[..., i].astype(int) for i in range(3))
    strong = {"red": (red, green, blue), "blue": (blue, red, green)}[color]
    return int(((strong[0] > 70) & (strong[0] > 2 * strong[1]) & (strong[0] > 1.5 * strong[2])).sum())


def test_cube_and_basin_are_in_the_picture(env: CellEnv, studio: Studio) -> None:
    env.reset(seed=3)
    picture = studio.draw(env.data.qpos)
    assert picture.shape == (180, 320, 3)
    assert picture.dtype == np.uint8
    assert pixels(picture, "red") > 20
    assert pixels(picture, "blue") > 100


def test_the_robot_is_drawn_with_its_visual_meshes(env: CellEnv, studio: Studio) -> None:
    env.reset(seed=3)
    picture = studio.draw(env.data.qpos).astype(int)
    white = (picture.min(axis=-1) > 190) & (np.ptp(picture, axis=-1) < 16)
    assert white[20:120].mean() > 0.01


def test_a_moved_object_moves_in_the_picture_and_nothing_is_remembered(env: CellEnv, studio: Studio) -> None:
    env.reset(seed=3)
    one = env.data.qpos.copy()
    env.reset(seed=4)
    first, other, again = studio.draw(one), studio.draw(env.data.qpos), studio.draw(one)
    assert np.abs(first.astype(int) - other.astype(int)).max() > 60
    assert np.array_equal(first, again)


def test_a_state_of_another_model_is_refused(studio: Studio) -> None:
    with pytest.raises(ValueError, match="expected 19 numbers for place_cube_in_basin"):
        studio.draw(np.zeros(9))


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(UnknownTaskError):
        Studio("no_such_task")
