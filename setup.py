"""Packages of clar-core: the folder `calibration/` is imported as `clar_calibration`. All else is in pyproject.toml."""

from setuptools import find_packages, setup

_CALIBRATION = ["clar_calibration", *(f"clar_calibration.{name}" for name in find_packages("calibration"))]

setup(
    packages=[*find_packages(include=["clar_core", "clar_core.*"]), *_CALIBRATION],
    package_dir={"clar_calibration": "calibration"},
)
