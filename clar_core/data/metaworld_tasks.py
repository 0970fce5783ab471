"""The MetaWorld tasks of the paper, by difficulty (CLAR Sec. IV-A), and the sentences of its multi-task table."""

from __future__ import annotations

PREFIX = "metaworld_"
"""Of task names in stores and checkpoints: ``metaworld_reach``."""

DIFFICULTIES: dict[str, tuple[str, ...]] = {
    "easy": ("reach", "lever-pull", "handle-pull", "peg-unplug-side", "dial-turn"),
    "medium": ("hammer", "sweep-into", "bin-picking", "push-wall", "box-close"),
    "hard": ("assembly", "hand-insert", "shelf-place", "pick-place-wall", "disassemble"),
}

MULTI_TASK = ("button-press", "reach", "lever-pull")
PERSPECTIVE = ("button-press", "reach", "box-close")
BASICS = ("reach", "button-press", "dial-turn", "handle-pull")
ABLATION = ("hammer", "bin-picking", "assembly", "shelf-place")

_SENTENCES: dict[str, tuple[str, ...]] = {
    "reach": (
        "move to the goal position",
        "go to the target position",
        "reach the goal",
        "bring the hand to the target",
        "touch the target point",
        "move the gripper to the goal",
    ),
    "button-press": (
        "press the button",
        "push the button in",
        "press down on the button",
        "hit the button",
        "push the red button",
        "activate the button",
    ),
    "lever-pull": (
        "pull the lever up",
        "lift the lever",
        "raise the lever",
        "move the lever upwards",
        "pull up on the lever",
        "push the lever up",
    ),
}
"""18 in all, as in the paper, which prints two of them."""

_UNSEEN: dict[str, tuple[str, ...]] = {
    "reach": ("move the hand to the goal point", "get to the target"),
    "button-press": ("push on the button", "press in the red button"),
    "lever-pull": ("pull the lever upwards", "lift up the lever"),
}


def sentences_of(task: str) -> tuple[str, ...]:
    """What demonstrations of a task say, in turn by seed; a task outside the multi-task table says its name."""
    return _SENTENCES.get(task, (task.replace("-", " "),))


def unseen_sentences_of(task: str) -> tuple[str, ...]:
    """Sentences that no demonstration carries.

    Raises:
        ValueError: the task has none.
    """
    if task not in _UNSEEN:
        raise ValueError(f"--sentences unseen: {task!r} has none; those of {', '.join(_UNSEEN)} have")
    return _UNSEEN[task]
