"""Bags to a store: one bag after the other, in parallel, the same whatever the number of processes.

A bag that cannot be converted is named, with the reason, and the others go on. Episodes that the store has already, by
the name of their bag, are left alone, so that an interrupted conversion goes on where it stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clar_core.data.bag_episode import read_episode, windows
from clar_core.data.bag_faults import Calibration, calibration_fault, clock_fault, name_of_camera
from clar_core.data.bag_log import read_log
from clar_core.data.bags import RECORDING_SUFFIX, BagError, BagReader
from clar_core.data.episode import Episode
from clar_core.data.mapping import BagMapping
from clar_core.data.store import Store, StoreError, StoreWriter, thin_episode
from clar_core.observation.spec import ObservationSpec
from clar_core.workers import available_cores, in_order, map_unordered

_CONNECT_S = 10.0
_AHEAD = 8
"""Bags for each worker that may be read, and held in memory, before an earlier one that takes long."""


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """What is converted, and how.

    Attributes:
        bags: rosbag2 folders, single files, or folders of them.
        directory: store to create, or to append to.
        spec: what an observation is.
        mapping: names in the bags.
        points_per_cloud: points kept of each cloud.
        image_size: side of the square that colour images are resized to and kept in; 0 keeps none.
        failures: keep episodes that failed, too; they are marked.
        trim: leave out the standing still at head and tail.
        calibration: where the depth camera must be; bags whose transforms put it elsewhere are not converted.
        workers: processes; all cores when None.
        scheduler: address of a Dask cluster that does the work instead, for example ``tcp://10.0.0.5:8786``.
    """

    bags: tuple[Path, ...]
    directory: Path
    spec: ObservationSpec
    mapping: BagMapping = field(default_factory=BagMapping)
    points_per_cloud: int = 2048
    image_size: int = 0
    failures: bool = True
    trim: bool = True
    calibration: Calibration | None = None
    workers: int | None = None
    scheduler: str = ""


@dataclass(frozen=True)
class Converted:
    """What became of one bag: episodes and steps kept, what was left out by reason, or why nothing came of it.

    ``warnings`` name what is odd about a bag that was converted all the same, ``camera`` is its depth camera.
    """

    bag: Path
    episodes: int = 0
    steps: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    error: str = ""
    already: bool = False
    warnings: tuple[str, ...] = ()
    camera: str = ""


@dataclass(frozen=True, eq=False)
class _Work:
    episodes: list[Episode]
    skipped: dict[str, int]
    error: str = ""
    warnings: tuple[str, ...] = ()
    camera: str = ""


_Job = tuple[int, Path, ConvertConfig]


def find_bags(paths: Sequence[Path]) -> list[Path]:
    """The bags in the given places, sorted; a folder that is no bag is searched one level deep.

    Raises:
        BagError: a place does not exist, or holds no bag.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise BagError(f"{path}: no such bag or folder")
        if path.is_file() or _is_bag(path):
            found.append(path)
            continue
        inside = sorted(p for p in path.iterdir() if p.is_dir() and (_is_bag(p) or p.name.endswith(RECORDING_SUFFIX)))
        inside += sorted(p for p in path.iterdir() if p.suffix in (".mcap", ".db3"))
        if not inside:
            raise BagError(f"{path}: no bag here: expected folders with metadata.yaml, or .mcap or .db3 files")
        found += inside
    return list(dict.fromkeys(found))


def convert(config: ConvertConfig, progress: Callable[[Converted], Any] = lambda result: None) -> list[Converted]:
    """Convert bags; returns what became of each, in order.

    Raises:
        BagError: no bags there.
        StoreError: the directory holds something else, or clouds of another spec.
    """
    bags = find_bags(config.bags)
    writer = StoreWriter(
        config.directory, config.spec, points_per_cloud=config.points_per_cloud, image_size=config.image_size
    )
    there = {str(e.info.get("bag", "")).split("#")[0] for e in Store(config.directory).episodes}
    results: list[Converted] = []
    for bag, work in _in_order([bag for bag in bags if bag_key(bag) not in there], config):
        result = _append(writer, bag, work, config)
        results.append(result)
        progress(result)
    for bag in bags:
        if bag_key(bag) in there:
            results.append(Converted(bag, already=True))
            progress(results[-1])
    return _compare_cameras(sorted(results, key=lambda result: bags.index(result.bag)))


def _compare_cameras(results: list[Converted]) -> list[Converted]:
    """A warning for each bag whose camera is not that of most: the base frame makes them fit, it may be a mistake."""
    cameras = Counter(result.camera for result in results if result.camera)
    usual = cameras.most_common(1)[0][0] if cameras else ""
    return [
        replace(r, warnings=(*r.warnings, f"{r.bag}: camera_info: {r.camera}; most bags have {usual}"))
        if r.camera not in ("", usual)
        else r
        for r in results
    ]


def _append(writer: StoreWriter, bag: Path, work: _Work, config: ConvertConfig) -> Converted:
    kept = [episode for episode in work.episodes if episode.success or config.failures]
    skipped, error = dict(work.skipped), work.error
    if len(kept) < len(work.episodes):
        skipped["episode that failed"] = len(work.episodes) - len(kept)
    added: list[Episode] = []
    for episode in kept:
        try:
            writer.append(episode, thinned=True)
            added.append(episode)
        except StoreError as refused:
            error = f"{error}; {bag}: {refused}" if error else f"{bag}: {refused}"
    steps = sum(len(episode) for episode in added)
    return Converted(bag, len(added), steps, skipped, error, warnings=work.warnings, camera=work.camera)


def _in_order(bags: list[Path], config: ConvertConfig) -> Iterator[tuple[Path, _Work]]:
    """Results in the order of the bags, as if one process had read them."""
    jobs = [(number, bag, config) for number, bag in enumerate(bags)]
    done = _on_cluster(jobs, config.scheduler) if config.scheduler else _on_cores(jobs, config.workers)
    return zip(bags, in_order(done, 0), strict=True)


def _on_cores(jobs: list[_Job], workers: int | None) -> Iterator[tuple[int, _Work]]:
    if workers == 1:
        yield from map(_read_job, jobs)
        return
    ahead = _AHEAD * (workers or available_cores())
    for _, numbered in map_unordered(_read_job, jobs, workers=workers, ahead=ahead):
        yield numbered


def _on_cluster(jobs: list[_Job], address: str) -> Iterator[tuple[int, _Work]]:
    """Work on a Dask cluster, whose workers see the same files and have this package."""
    try:
        from dask.distributed import Client, as_completed
    except ImportError as error:
        raise BagError("--scheduler needs Dask: pip install 'dask[distributed]'") from error
    try:
        client = Client(address, timeout=_CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise BagError(f"--scheduler {address}: no Dask scheduler answers there: {error}") from error
    with client:
        workers = max(len(client.scheduler_info()["workers"]), 1)
        waiting = iter(jobs)
        running = as_completed(loop=client.loop)  # type: ignore[no-untyped-call]
        unfinished: set[int] = set()
        begun = 0

        def submit() -> None:
            nonlocal begun
            while len(unfinished) < 2 * workers and begun - min(unfinished, default=begun) < _AHEAD * workers:
                job = next(waiting, None)
                if job is None:
                    return
                unfinished.add(begun)
                begun += 1
                running.add(client.submit(_read_job, job, pure=False))  # type: ignore[no-untyped-call]

        submit()
        for future in running:
            number, work = future.result()
            unfinished.remove(number)
            yield number, work
            submit()


def _read_job(job: _Job) -> tuple[int, _Work]:
    number, bag, config = job
    return number, read_bag(bag, config)


def read_bag(bag: Path, config: ConvertConfig) -> _Work:
    """The episodes of one bag, ready to be appended; never raises for what is wrong with the bag."""
    skipped: Counter[str] = Counter()
    episodes: list[Episode] = []
    errors: list[str] = []
    try:
        with BagReader(bag) as reader:
            log = read_log(reader, config.mapping)
            for fault in (clock_fault(log, config.mapping), calibration_fault(log, config.mapping, config.calibration)):
                if fault is not None:
                    return _Work([], {}, f"{bag}: {fault}")
            camera = name_of_camera(log)
            warnings = [f"{bag}: {reason}: {count} messages not used" for reason, count in sorted(log.problems.items())]
            if len(log.intrinsics) > 1:
                warnings.append(f"{bag}: {config.mapping.depth_info}: changes within the bag")
            for number, window in enumerate(windows(reader, log, config.mapping)):
                try:
                    read = read_episode(
                        reader, log, window, config.spec, config.mapping, trim=config.trim, image_size=config.image_size
                    )
                except BagError as error:
                    errors.append(str(error))
                    continue
                skipped.update(read.skipped)
                named = replace(read.episode, info={**read.episode.info, "bag": episode_key(bag, number)})
                episodes.append(thin_episode(named, config.points_per_cloud))
    except (ValueError, OSError) as error:
        text = str(error)
        return _Work([], dict(skipped), text if str(bag) in text else f"{bag}: {text}")
    return _Work(episodes, dict(skipped), "; ".join(errors), tuple(warnings), camera)


def _is_bag(path: Path) -> bool:
    """A rosbag2 folder, whole or cut off; a folder that holds folders holds bags."""
    if not path.is_dir() or (path / "metadata.yaml").exists():
        return path.is_dir()
    files = any(path.glob("*.mcap")) or any(path.glob("*.db3"))
    return files and not any(p.is_dir() for p in path.iterdir())


def bag_key(bag: Path) -> str:
    """The name by which a store knows a bag."""
    return bag.stem if bag.is_file() else bag.name


def episode_key(bag: Path, number: int) -> str:
    """The name by which a store knows an episode of a bag, which may hold several."""
    return bag_key(bag) if number == 0 else f"{bag_key(bag)}#{number}"
