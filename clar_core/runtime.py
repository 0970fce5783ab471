"""A checkpoint that acts: one observation in, one action out, every stage timed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clar_core.control.action import Action
from clar_core.control.spaces import TCP_DELTA, ActionSpace
from clar_core.models.diffusion_policy import DiffusionHeadConfig
from clar_core.models.registry import image_pixels
from clar_core.models.text import TextEncoderError, text_encoder
from clar_core.observation.builder import build_network_points
from clar_core.observation.spec import ObservationSpec
from clar_core.rolling import ObservationMemory, PlanQueue
from clar_core.training.checkpoints import Checkpoint, CheckpointError, check_action_space, load_checkpoint

Array = NDArray[np.float32]
Dtype = Literal["auto", "float32", "bfloat16"]

_WARM_UP_CALLS = 3


class PolicyOutputError(RuntimeError):
    """The network's output is not finite. The action must be dropped whole."""


class InstructionError(ValueError):
    """The instruction is missing, or not one that the policy understands."""


@dataclass(frozen=True, eq=False)
class Decision:
    """An action, and the time that each stage took: "fps", "encode" and "postprocess", in milliseconds."""

    action: Action
    stages_ms: dict[str, float]


class CheckpointRuntime:
    """What the runtimes of all action spaces share: one observation in, the network's answer in physical units out.

    Args:
        checkpoint: the policy.
        device: ``auto`` takes a GPU where there is one.
        dtype: of the network's arithmetic; ``auto`` measures float32 and bfloat16 at start-up and takes the faster.
        threads: of the CPU, for the whole process; 0 leaves PyTorch's choice. One or two are enough for one cloud.
        seed: of what a policy with randomness draws; it begins anew at every :meth:`reset`.

    Raises:
        ValueError: a GPU is asked for and there is none.
        CheckpointError: the checkpoint acts in another space.
    """

    space: ClassVar[ActionSpace]

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        dtype: Dtype = "auto",
        threads: int = 0,
        seed: int = 0,
    ) -> None:
        check_action_space(checkpoint, self.space)
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device: cuda was asked for and PyTorch sees no GPU; use device auto or cpu")
        if threads:
            torch.set_num_threads(threads)
        self.spec: ObservationSpec = checkpoint.spec
        self.provenance: dict[str, Any] = checkpoint.provenance
        self.instructions: tuple[str, ...] = checkpoint.instructions
        self.image_size = image_pixels(checkpoint.config.encoder)
        """Side of the colour image that the policy sees; 0 for one that sees the cloud."""
        self.is_blind = checkpoint.config.encoder is None
        """Whether the policy looks at nothing: the control that may be asked without a cloud."""
        self.device = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
        self._normalizer = checkpoint.normalizer
        self._policy = checkpoint.policy.to(self.device).eval()
        features = checkpoint.instruction_features
        self._language = None if features is None else features.to(self.device)
        self._text_encoder = checkpoint.text_encoder
        self._understood: dict[str, Tensor] = {}
        head = checkpoint.config.head
        self._memory = ObservationMemory(head.history)
        self._plans = PlanQueue(head.execute if isinstance(head, DiffusionHeadConfig) else 1)
        self._seed, self._generator = seed, torch.Generator(self.device).manual_seed(seed)
        self.dtype = self._fastest_dtype() if dtype == "auto" else getattr(torch, dtype)
        self.reset()  # measuring drew from the generator

    @classmethod
    def load(
        cls,
        directory: Path | str,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        dtype: Dtype = "auto",
        threads: int = 0,
    ) -> Self:
        """The runtime of a checkpoint directory. Raises CheckpointError where ``load_checkpoint`` does."""
        checkpoint = load_checkpoint(directory)
        check_action_space(checkpoint, cls.space, directory)
        return cls(checkpoint, device=device, dtype=dtype, threads=threads)

    def remark_on_calibration(self, calibration_hash: str) -> str:
        """What the operator should know about a calibration (its hash) that the training data did not have; or empty.

        Another pose of the camera than in the training data is allowed: that is what the base frame is for.
        """
        data = self.provenance.get("data")
        known = [str(text) for text in data.get("calibrations", ()) if text] if isinstance(data, dict) else []
        # episodes keep the beginning of the hash
        if not known or any(calibration_hash.startswith(text) for text in known):
            return ""
        return (
            f"the calibration ({calibration_hash[:23]}) is another than the training data's ({', '.join(known)}): the"
            " base frame makes that possible, within the views that training has seen"
        )

    def reset(self) -> None:
        """Forget earlier observations and plans: a trial begins, with the same randomness as any other."""
        self._memory.clear()
        self._plans.clear()
        self._generator.manual_seed(self._seed)

    def warm_up(self) -> None:
        """Run the whole path a few times on made-up input, so that the first real tick is not the slow one.

        A policy that plans at some ticks only plans at each of these.
        """
        low, high = np.asarray(self.spec.crop_min_m), np.asarray(self.spec.crop_max_m)
        rng = np.random.default_rng(0)
        cloud = rng.uniform(low, high, (self.spec.max_cloud_points, 3)).astype(np.float32)
        image = np.zeros((self.image_size, self.image_size, 3), np.uint8) if self.image_size else None
        state = self._normalizer.state_mean
        instruction = self.instructions[0] if self._language is not None else None
        for _ in range(_WARM_UP_CALLS):
            self.reset()
            self._predict(cloud, state, instruction, image)
        self.reset()

    def check_instruction(self, instruction: str | None) -> None:
        """Raise InstructionError where an answer would, before anything moves."""
        self._feature(instruction)

    def _predict(
        self,
        cloud: Array | None,
        state: Array,
        instruction: str | None,
        image: NDArray[np.uint8] | None = None,
    ) -> tuple[Array | None, dict[str, float]]:
        """The network's answer in physical units, (space.size,) or (chunk, space.size), and the stages' times.

        None is answered while an earlier plan is still carried out.
        """
        begun = time.perf_counter()
        state = np.asarray(state, dtype=np.float32)
        if state.shape != self._normalizer.state_mean.shape or not np.isfinite(state).all():
            raise ValueError(f"state: expected {self._normalizer.state_mean.size} finite numbers, got {state}")
        language = self._feature(instruction)
        seen = self._seen(cloud, image)
        sampled = time.perf_counter()
        remembered = self._memory.extended(seen, self._normalizer.normalise_state(state))
        output = self._forward(*remembered, language) if self._plans.wants_plan else None
        inferred = time.perf_counter()
        if output is not None and not np.isfinite(output).all():
            raise PolicyOutputError(f"the policy's output is not finite: {output}; the action was dropped")
        action = None if output is None else self._normalizer.denormalise_action(output)
        finished = time.perf_counter()
        stages = {"fps": sampled - begun, "encode": inferred - sampled, "postprocess": finished - inferred}
        return action, {name: duration * 1e3 for name, duration in stages.items()}

    def _seen(self, cloud: Array | None, image: NDArray[np.uint8] | None) -> NDArray[Any]:
        """What the network sees of an observation."""
        if self.image_size:
            shape = (self.image_size, self.image_size, 3)
            if image is None or image.dtype != np.uint8 or image.shape != shape:
                found = "none" if image is None else f"{image.dtype} {image.shape}"
                raise ValueError(f"image: this policy sees colour images, expected uint8 RGB of {shape}, got {found}")
            return image
        if cloud is None and self.is_blind:
            return np.zeros((self.spec.network_points, 3), np.float32)
        if cloud is None:
            raise ValueError("cloud: this policy sees the cloud, expected (n, 3) float32, got none")
        return build_network_points(cloud, self.spec)

    @torch.inference_mode()
    def _forward(self, seen: NDArray[Any], state: Array, language: Tensor | None) -> Array:
        inputs = (torch.from_numpy(array)[None].to(self.device) for array in (seen, state))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            output: Tensor = self._policy(*inputs, language, generator=self._generator)
        return output[0].float().cpu().numpy()

    def _feature(self, instruction: str | None) -> Tensor | None:
        if self._language is None:
            return None
        if instruction in self.instructions:
            row = self.instructions.index(instruction)
            return self._language[row : row + 1]
        if self._text_encoder is None or not instruction:
            known = "; ".join(self.instructions)
            raise InstructionError(f"the policy does not know the instruction {instruction!r}; it knows: {known}")
        if instruction not in self._understood:
            try:
                feature = text_encoder(self._text_encoder).encode([instruction])
            except TextEncoderError as error:
                raise InstructionError(str(error)) from error
            self._understood[instruction] = feature.to(self.device)
        return self._understood[instruction]

    def _fastest_dtype(self) -> torch.dtype:
        """Measure one forward pass in both types. bfloat16 is far slower on CPUs without instructions for it."""
        one: NDArray[Any] = np.zeros((self.image_size, self.image_size, 3), np.uint8)
        if not self.image_size:
            one = np.random.default_rng(0).uniform(-1, 1, (self.spec.network_points, 3)).astype(np.float32)
        seen, state = self._memory.extended(one, np.zeros(10, dtype=np.float32))
        self.reset()
        language = None if self._language is None else self._language[:1]
        best: dict[torch.dtype, float] = {}
        for dtype in (torch.float32, torch.bfloat16):
            self.dtype = dtype
            durations = []
            for _ in range(_WARM_UP_CALLS):
                begun = time.perf_counter()
                self._forward(seen, state, language)
                durations.append(time.perf_counter() - begun)
            best[dtype] = min(durations)
        return min(best, key=lambda dtype: best[dtype])


class PolicyRuntime(CheckpointRuntime):
    """Runs the policy of a checkpoint whose actions are steps of the TCP."""

    space: ClassVar[ActionSpace] = TCP_DELTA

    def act(
        self,
        cloud: Array | None,
        state: Array,
        instruction: str | None = None,
        *,
        image: NDArray[np.uint8] | None = None,
    ) -> Decision:
        """Decide on one action.

        Args:
            cloud: (n, 3) float32, metres in the base frame, as ``build_cloud`` gives it; not looked at by a policy that
                sees images, and None will do for a blind one.
            state: (10,) float32, as ``proprioception`` gives it.
            instruction: for a policy with language: one of ``instructions``, or any sentence where the checkpoint names
                a text encoder; ignored by others.
            image: (S, S, 3) uint8 RGB, the whole colour image resized to a square of ``image_size`` pixels, as stores
                keep it; for a policy that sees images.

        Raises:
            TooFewPointsError: fewer than ``spec.min_cloud_points`` points.
            ValueError: a wrong shape, input that is not finite, or no image for a policy that sees one.
            InstructionError: a sentence that the policy does not understand.
            PolicyOutputError: the network's output is not finite.
        """
        plan, stages = self._predict(cloud, state, instruction, image)
        begun = time.perf_counter()
        action = Action.from_array(self._plans.next_action(plan))
        stages["postprocess"] += (time.perf_counter() - begun) * 1e3
        return Decision(action, stages)


__all__ = [
    "CheckpointError",
    "CheckpointRuntime",
    "Decision",
    "InstructionError",
    "PolicyOutputError",
    "PolicyRuntime",
]
