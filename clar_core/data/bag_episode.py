"""Episodes out of a bag: its depth images through the one observation path, its commands as labels."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from clar_core.data.bag_clouds import read_clouds
from clar_core.data.bag_images import NoColorError, Seen, StepImages
from clar_core.data.bag_log import BagLog, EpisodeMark, StateLog, read_log
from clar_core.data.bags import BagError, BagReader
from clar_core.data.episode import Episode, Step
from clar_core.data.labels import COMMANDED, MEASURED, Label, commanded_labels, measured_labels, trim_idle
from clar_core.data.mapping import OWN_NAMES, BagMapping
from clar_core.observation.builder import proprioception
from clar_core.observation.spec import ObservationSpec
from clar_core.observation.state import StampedState, StateGapError, interpolate_state

_FOREVER_NS = 2**62


@dataclass(frozen=True)
class Window:
    """The part of a bag that is one episode, and what is known about it."""

    name: str
    start_ns: int
    stop_ns: int
    task: str
    instruction: str
    success: bool
    outcome: str
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ReadEpisode:
    """An episode out of a bag, what was left out of it by reason, and the capture stamp of every step."""

    episode: Episode
    skipped: Counter[str]
    stamps_ns: tuple[int, ...]


def read_episodes(
    bag: BagReader,
    spec: ObservationSpec,
    mapping: BagMapping = OWN_NAMES,
    *,
    log: BagLog | None = None,
    trim: bool = True,
) -> list[ReadEpisode]:
    """All episodes of a bag; discarded ones are left out.

    Args:
        bag: an open bag.
        spec: what an observation is.
        mapping: names in the bag.
        log: of this bag, when it was read already.
        trim: leave out the standing still at head and tail.

    Raises:
        BagError: the bag is damaged, lacks what is needed, or an episode has no usable step; names what and why.
    """
    log = read_log(bag, mapping) if log is None else log
    return [read_episode(bag, log, window, spec, mapping, trim=trim) for window in windows(bag, log, mapping)]


def windows(bag: BagReader, log: BagLog, mapping: BagMapping = OWN_NAMES) -> list[Window]:
    """The episodes of a bag. Raises BagError when neither the bag nor the mapping names the task."""
    if not log.marks:
        task = bag.notes.get("task") or mapping.task
        if not task:
            raise BagError(
                f"{bag.path}: no task: the bag has no {mapping.episode}, so give `task:` in a mapping file (--mapping)"
            )
        instruction = bag.notes.get("instruction") or mapping.instruction
        outcome = "success" if mapping.success else "failure"
        return [Window(bag.path.stem, 0, _FOREVER_NS, task, instruction, mapping.success, outcome)]
    found: list[Window] = []
    begun: dict[str, EpisodeMark] = {}
    for mark in log.marks:
        if mark.outcome == "running":
            begun[mark.episode_id] = mark
        elif mark.episode_id in begun:
            start = begun.pop(mark.episode_id)
            if mark.outcome != "discard":
                found.append(_window(start, mark.stamp_ns, mark.outcome))
    # Cut off by a crash: kept, and not called a success.
    found += [_window(mark, _FOREVER_NS, bag.notes.get("outcome", "unfinished")) for mark in begun.values()]
    return found


def _window(mark: EpisodeMark, stop_ns: int, outcome: str) -> Window:
    info = {
        "source": mark.source,
        "seed": mark.seed,
        "operator": mark.operator,
        "calibration": mark.calibration_hash[:23],
        "outcome": outcome,
    }
    return Window(
        mark.episode_id, mark.stamp_ns, stop_ns, mark.task, mark.instruction, outcome == "success", outcome, info
    )


def labels_of(log: BagLog, window: Window, mapping: BagMapping, skipped: Counter[str]) -> tuple[list[Label], str]:
    """The labels of an episode and their kind, ``commanded`` or ``measured``."""
    if log.commands and log.states.T_commanded is not None:
        return commanded_labels(log, window.start_ns, window.stop_ns, skipped), COMMANDED
    stamps = log.stamps_ns.get(mapping.depth_info)
    if stamps is None:
        skipped[f"{mapping.depth_info}: missing, so there is no time to take measured poses at"] += 1
        return [], MEASURED
    inside = stamps[(stamps >= window.start_ns) & (stamps <= window.stop_ns)]
    return measured_labels(log.states, inside, skipped), MEASURED


def read_episode(
    bag: BagReader,
    log: BagLog,
    window: Window,
    spec: ObservationSpec,
    mapping: BagMapping = OWN_NAMES,
    *,
    trim: bool = True,
    image_size: int = 0,
) -> ReadEpisode:
    """One of the episodes that :func:`windows` found; arguments and errors as those of :func:`read_episodes`.

    With ``image_size``, every step has its colour image, resized to a square of so many pixels; steps without one are
    left out.
    """
    skipped: Counter[str] = Counter()
    labels, kind = labels_of(log, window, mapping, skipped)
    if trim:
        kept = trim_idle(labels)
        if len(kept) < len(labels):
            skipped["standing still at head or tail"] += len(labels) - len(kept)
        labels = kept
    wanted = {label.observation_ns: label for label in labels}
    camera: Counter[str] = Counter()
    images = StepImages(bag, spec, mapping, log.frames, image_size) if image_size else None
    seen: list[Seen] = []
    steps: list[Step] = []
    taken: list[Label] = []
    clouds = read_clouds(
        bag,
        spec,
        mapping.depth_topics,
        depth_scale_m=mapping.depth_scale_m,
        skipped=camera,
        stamps_ns=wanted.keys(),
        T_base_camera=mapping.T_base_camera,
        frames=log.frames,
    )
    for cloud in clouds:
        label = wanted.pop(cloud.stamp_ns, None)
        if label is None:
            continue
        try:
            state = state_at(log.states, cloud.stamp_ns, spec)
            if images is not None:
                seen.append(images.see(cloud))
        except StateGapError:
            skipped["no robot state within 20 ms of the image"] += 1
            continue
        except NoColorError as error:
            skipped[str(error)] += 1
            continue
        steps.append(
            Step(
                cloud.points,
                proprioception(state.T_base_tcp, state.gripper_width_m, spec),
                label.action.astype(np.float32),
            )
        )
        taken.append(label)
    skipped.update(camera)
    lost = len(wanted) - camera.total()
    if lost > 0:
        skipped["its image is not in the bag"] += lost
    if images is not None:
        posed = images.complete(seen)
        taken = [label for label, image in zip(taken, posed, strict=True) if image is not None]
        steps = [replace(step, image=image) for step, image in zip(steps, posed, strict=True) if image is not None]
        if undecodable := posed.count(None):
            skipped[f"{mapping.color}: the image cannot be decoded"] += undecodable
    if not steps:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in skipped.items()) or "no command was executed"
        raise BagError(f"{bag.path}: episode {window.name} has no usable step: {reasons}")
    stamps = tuple(label.observation_ns for label in taken)
    info = {**window.info, "bag": window.name, "labels": kind, "sources": runs(label.source for label in taken)}
    return ReadEpisode(Episode(window.task, window.instruction, steps, window.success, info), skipped, stamps)


def state_at(states: StateLog, stamp_ns: int, spec: ObservationSpec) -> StampedState:
    """The measured state at a capture stamp, as the live policy finds it. Raises StateGapError."""
    stamps = states.stamps_ns
    after = bisect.bisect_left(stamps, stamp_ns)  # type: ignore[type-var]
    if after < len(stamps) and stamps[after] == stamp_ns:
        return _stamped(states, after)
    if not 0 < after < len(stamps):
        raise StateGapError(f"robot state: none around stamp {stamp_ns} ns")
    return interpolate_state(_stamped(states, after - 1), _stamped(states, after), stamp_ns, spec)


def runs(values: Any) -> list[list[Any]]:
    """Run lengths of a sequence, as [[value, count], ...]: who commanded which steps."""
    found: list[list[Any]] = []
    for value in values:
        if found and found[-1][0] == value:
            found[-1][1] += 1
        else:
            found.append([value, 1])
    return found


def _stamped(states: StateLog, index: int) -> StampedState:
    return StampedState(int(states.stamps_ns[index]), states.T_measured[index], float(states.width_m[index]))


def expand(sources: Sequence[Sequence[Any]]) -> list[str]:
    """The source of every step, from run lengths."""
    return [str(value) for value, count in sources for _ in range(int(count))]
