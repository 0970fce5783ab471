"""`clar data convert` on recorded bags: speed, memory, and the same store whatever the number of workers.

Takes bags of the recorder (`--bags`); without any, one episode is recorded in the live simulated cell first. Many bags
are links to these under other names, so that only the number of episodes grows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import OUTPUT, Benchmark

from clar_core.data.bags import BagReader
from clar_core.data.convert import find_bags
from clar_core.data.store import Store
from clar_core.data.stored_images import image_layout
from clar_core.workers import available_cores

IMAGE_PIXELS = 224

# Runs in a process of its own, so that peak memory and processor time are of this conversion alone.
_CHILD = """
import json, resource, sys, time
from pathlib import Path
from clar_core.data.convert import ConvertConfig, convert
from clar_core.simulation.env import CELL_SPEC
bags, store, workers, image_size = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
begin = time.monotonic()
results = convert(
    ConvertConfig(bags=(bags,), directory=store, spec=CELL_SPEC, workers=workers, image_size=image_size)
)
wall = time.monotonic() - begin
own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({
    "wall_s": wall,
    "cpu_s": own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime,
    "peak_mb": own.ru_maxrss / 1024,
    "worker_peak_mb": children.ru_maxrss / 1024,
    "steps": sum(r.steps for r in results),
    "errors": [r.error for r in results if r.error],
}))
"""


def convert(bags: Path, store: Path, workers: int, image_size: int = 0) -> dict[str, float]:
    """One conversion in a fresh process: wall and processor time, peak memory, steps."""
    command = [sys.executable, "-c", _CHILD, str(bags), str(store), str(workers), str(image_size)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SystemExit(result.stderr)
    figures = json.loads(result.stdout.splitlines()[-1])
    if figures["errors"]:
        raise SystemExit("; ".join(figures["errors"]))
    return dict(figures)


def record_one(folder: Path) -> None:
    """One episode of the live simulated cell."""
    arguments = ["hardware:=sim", "teleop:=scripted", "auto_arm:=true", "episodes:=1", f"directory:={folder}"]
    subprocess.run(["ros2", "launch", "clar", "record.launch.py", *arguments], check=True, stdout=subprocess.DEVNULL)


def links(bags: list[Path], folder: Path, count: int) -> Path:
    """A folder of so many bags, links to the given ones."""
    folder.mkdir()
    for number in range(count):
        (folder / f"bag_{number:04d}").symlink_to(bags[number % len(bags)].resolve(), target_is_directory=True)
    return folder


def content(store: Path) -> list[bytes]:
    """The bytes of everything that is trained on."""
    opened = Store(store)
    names = ["point_cloud", "point_count", "state", "action", *image_layout(opened.image_size)]
    return [opened.read(name).tobytes() for name in names]


def main() -> int:
    """Convert, measure, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bags", type=Path, help="folder of bags; recorded when left out")
    parser.add_argument("--timed", type=int, default=12, help="bags that the speed is measured on")
    parser.add_argument("--few", type=int, default=3)
    parser.add_argument("--many", type=int, default=300)
    options = parser.parse_args()
    folder = options.bags or OUTPUT / "bags"
    if not folder.exists():
        record_one(folder)
    bags = [bag for bag in find_bags([folder]) if (bag / "metadata.yaml").exists()]
    seconds = []
    for bag in bags:
        with BagReader(bag) as reader:
            seconds.append(reader.duration_s)
    bench = Benchmark("convert", f"Conversion of recorded bags ({len(bags)} bags, {sum(seconds):.0f} s)")
    work = Path(tempfile.mkdtemp(prefix="clar_convert_"))
    try:
        few, timed = links(bags, work / "few", options.few), links(bags, work / "timed", options.timed)
        recorded_s = sum(seconds[i % len(bags)] for i in range(options.timed))
        one = convert(timed, work / "one", 1)
        bench.claim(
            "recorded seconds per second of one core",
            recorded_s / one["cpu_s"],
            "x",
            at_least=10.0,
            reference=f"{recorded_s:.0f} s of 640x480 in {one['cpu_s']:.1f} s of processor time, start-up included",
        )
        parallel = convert(timed, work / "several", available_cores())
        bench.claim(
            f"wall time, {available_cores()} workers", parallel["wall_s"], "s", reference=f"1: {one['wall_s']:.1f} s"
        )
        same = content(work / "one") == content(work / "several")
        bench.claim(f"the same store from 1 and from {available_cores()} workers", float(same), "", at_least=1.0)
        pictured = convert(timed, work / "one_images", 1, IMAGE_PIXELS)
        bench.claim(
            f"the same with images of {IMAGE_PIXELS} pixels",
            recorded_s / pictured["cpu_s"],
            "x",
            reference=f"{recorded_s:.0f} s in {pictured['cpu_s']:.1f} s of processor time",
        )
        convert(timed, work / "several_images", available_cores(), IMAGE_PIXELS)
        same = content(work / "one_images") == content(work / "several_images")
        bench.claim(f"the same store with images, 1 and {available_cores()} workers", float(same), "", at_least=1.0)
        several = convert(few, work / "few_store", available_cores())
        begin_s = time.monotonic()
        many = convert(links(bags, work / "many", options.many), work / "many_store", available_cores())
        for who, key in (("main process", "peak_mb"), ("largest worker", "worker_peak_mb")):
            bench.claim(
                f"peak memory of the {who}, {options.many} episodes against {options.few}",
                many[key] / several[key],
                "x",
                at_most=1.2,
                reference=f"{several[key]:.0f} MB and {many[key]:.0f} MB",
            )
        bench.claim(f"wall time, {options.many} episodes", time.monotonic() - begin_s, "s")
    finally:
        shutil.rmtree(work)
    return bench.finish()


if __name__ == "__main__":
    sys.exit(main())
