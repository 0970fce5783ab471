from collections import Counter
from pathlib import Path

import pytest

from clar_core.evaluation.live_plan import checkpoint_for, schedule, stints

SEEDS = range(100, 120)


def test_everybody_drives_every_start_once() -> None:
    plan = schedule(["policy", "compared"], ["a", "b"], SEEDS, block=5, order_seed=0)
    assert [t.index for t in plan] == list(range(80))
    assert Counter((t.contender, t.task) for t in plan) == dict.fromkeys(
        [("policy", "a"), ("policy", "b"), ("compared", "a"), ("compared", "b")], 20
    )
    assert len({(t.contender, t.task, t.seed) for t in plan}) == 80


def test_the_order_is_drawn_for_every_block_and_repeatable() -> None:
    plans = [schedule(["x", "y"], ["a"], SEEDS, block=2, order_seed=seed) for seed in (0, 0, 1)]
    assert plans[0] == plans[1] != plans[2]
    firsts = [block[0].contender for block in (plans[0][i : i + 4] for i in range(0, 40, 4))]
    assert set(firsts) == {"x", "y"}
    for start in range(0, 40, 4):
        block = plans[0][start : start + 4]
        assert {t.seed for t in block[:2]} == {t.seed for t in block[2:]}


def test_a_stint_is_what_one_launch_can_serve() -> None:
    plan = schedule(["x", "y"], ["a", "b"], SEEDS, block=5, order_seed=3)
    served = stints(plan)
    assert [t for stint in served for t in stint] == plan
    assert all(len({(t.contender, t.task) for t in stint}) == 1 for stint in served)
    with pytest.raises(ValueError, match="--block"):
        schedule(["x"], ["a"], SEEDS, block=0, order_seed=0)


def test_the_checkpoint_of_a_task_is_found(tmp_path: Path) -> None:
    for name in ("one", "many/open_drawer", "run/best", "run/last", "runs/put_bread/best", "runs/put_bread/last"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    found = {
        name: checkpoint_for(str(tmp_path / name), task)
        for name, task in (("one", "x"), ("many", "open_drawer"), ("run", "x"), ("runs", "put_bread"))
    }
    assert found == {
        "one": tmp_path / "one",
        "many": tmp_path / "many/open_drawer",
        "run": tmp_path / "run/best",
        "runs": tmp_path / "runs/put_bread/best",
    }
    with pytest.raises(ValueError, match=r"no checkpoint for task 'pick_banana'.*clar data collect --task pick_banana"):
        checkpoint_for(str(tmp_path / "many"), "pick_banana")
