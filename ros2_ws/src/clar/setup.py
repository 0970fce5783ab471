"""Build of the ROS package `clar`: one executable for each node, launch files and configuration in its share folder."""

from glob import glob
from os.path import isfile
from pathlib import PurePath

from setuptools import find_packages, setup

PACKAGE = "clar"
NODES = (
    "arm",
    "calibrate",
    "calibrated_tf",
    "camera",
    "cloud",
    "manager",
    "policy",
    "recorder",
    "scene_check",
    "sim",
    "teleop",
)


def shared_tree(folder: str) -> list[tuple[str, list[str]]]:
    """Every file below a folder, for the same place in the package's share folder."""
    files = sorted(path for path in glob(f"{folder}/**/*", recursive=True) if isfile(path))
    folders = sorted({PurePath(path).parent for path in files})
    return [(f"share/{PACKAGE}/{place}", [f for f in files if PurePath(f).parent == place]) for place in folders]


setup(
    name=PACKAGE,
    version="0.1.0",
    description="ROS 2 nodes, drivers and launch files of the CLAR robot-learning stack.",
    maintainer="CLAR maintainers",
    maintainer_email="maintainers@clar.example",
    license="Apache-2.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        # launch/, cells/ and checkpoints/ are links to folders at the top of the repository, so that a launch file
        # finds what it starts with from any current folder.
        (f"share/{PACKAGE}/launch", sorted(glob("launch/*.launch.py"))),
        (f"share/{PACKAGE}/config", sorted(glob("config/*"))),
        *shared_tree("cells"),
        *shared_tree("checkpoints"),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    entry_points={"console_scripts": [f"{node} = {PACKAGE}.nodes.{node}:main" for node in NODES]},
)
