"""RVT-2 behind the interface of our policies, run from its own installed repository. None of its code is here.

Goyal et al., RVT-2: Learning Precise Manipulation from Few Demonstrations, RSS 2024. https://github.com/NVlabs/RVT
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clar_core.geometry.poses import Array, pose_from_quaternion

INSTALL = """RVT-2 is not here: install https://github.com/NVlabs/RVT with its submodules, as its README says, into this
environment (CUDA; its fork of RLBench, YARR, PerAct, point-renderer; NVIDIA Source Code License). Weights: model_99.pth
with exp_cfg.yaml and mvt_cfg.yaml beside it, from https://huggingface.co/ankgoyal/rvt/tree/main/rvt2. Those were
trained for the 18 tasks of PerAct, so the paper's four need a training of their own. RVT-2's own loader unpickles the
file, which can run any code: give it files from a source that you trust."""

CAMERAS = ("front", "left_shoulder", "right_shoulder", "wrist")
IMAGE_SIZE = 128
_FINGER_MAX_M = 0.04


class Rvt2MissingError(ImportError):
    """RVT-2's repository cannot be imported; the message says what to install."""


def require_rvt2() -> None:
    """Raise Rvt2MissingError unless RVT-2's repository can be imported."""
    try:
        for module in ("clip", "rvt.eval"):
            importlib.import_module(module)
    except ImportError as error:
        raise Rvt2MissingError(f"{INSTALL}\n({error})") from error


def agent_input(observation: Any, tokens: NDArray[Any], progress: float) -> dict[str, NDArray[Any]]:
    """What the agent is shown of RLBench's observation, by its own names.

    Args:
        observation: RLBench's, with colour and points of all ``CAMERAS``.
        tokens: (77,) of the sentence.
        progress: of the trial, from 0 to 1.

    Returns:
        ``<camera>_rgb`` and ``<camera>_point_cloud`` (3, h, w) float32, colour in 0..255, points in the world's metres;
        ``low_dim_state`` (4,) float32: gripper open, both fingers in metres, time from 1 down to -1; the tokens.
    """
    fingers = np.clip(observation.gripper_joint_positions, 0.0, _FINGER_MAX_M)
    state = np.array([observation.gripper_open, *fingers, 1.0 - 2.0 * progress], dtype=np.float32)
    values: dict[str, NDArray[Any]] = {"low_dim_state": state, "lang_goal_tokens": tokens}
    for camera in CAMERAS:
        for name in ("rgb", "point_cloud"):
            image = np.asarray(getattr(observation, f"{camera}_{name}"), dtype=np.float32)
            values[f"{camera}_{name}"] = np.ascontiguousarray(image.transpose(2, 0, 1))
    return values


class Rvt2:
    """RVT-2's agent.

    It sees what its own evaluation shows it: colour and points of four cameras at 128 pixels, the gripper, the time,
    the sentence. Two things are not its own evaluation's: its vote on whether collisions count is not followed, since
    RLBench's planner here ignores them always, and a pose outside the workspace fails instead of being clipped to it.

    Args:
        weights: ``model_99.pth``, its two configurations beside it.
        steps: decisions in a trial at most.

    Raises:
        Rvt2MissingError: its repository is not installed.
        FileNotFoundError: a file is not there.
    """

    cameras: tuple[str, ...] = CAMERAS
    colour: bool = True

    def __init__(self, weights: Path, steps: int) -> None:
        for file in (weights, weights.with_name("exp_cfg.yaml"), weights.with_name("mvt_cfg.yaml")):
            if not file.is_file():
                raise FileNotFoundError(f"{file}: is missing; RVT-2's weights and both configurations belong together")
        require_rvt2()
        import clip
        import torch
        from rvt.eval import load_agent

        self._agent = load_agent(model_path=str(weights), device=0)
        self._agent.eval()
        self._agent.load_clip()
        self._torch, self._tokenize = torch, clip.tokenize
        self._last = max(steps - 1, 1)
        self._step = 0
        self._tokens: Any = None

    def begin(self, instruction: str) -> None:
        """See ``KeyframeActor``."""
        self._step = 0
        self._tokens = self._tokenize([instruction]).numpy()

    def decide(self, observation: Any) -> tuple[Array, bool]:
        """See ``KeyframeActor``."""
        values = agent_input(observation, self._tokens[0], self._step / self._last)
        # Its networks expect a batch and a history in front, of one each.
        batch = {name: self._torch.from_numpy(v)[None, None].to("cuda:0") for name, v in values.items()}
        with self._torch.no_grad():
            action = np.asarray(self._agent.act(self._step, batch, deterministic=True).action, dtype=np.float64)
        self._step += 1
        return pose_from_quaternion(action[:3], action[3:7]), bool(action[7] > 0.5)
