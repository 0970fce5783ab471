"""Build of the stand-in for `ros2cli`."""

from setuptools import find_packages, setup

package_name = "ros2cli"

setup(
    name=package_name,
    version="0.0.1",
    description="CLAR stand-in: the ros2 commands launch, run and pkg.",
    license="Apache-2.0",
    zip_safe=True,
    packages=find_packages(),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + package_name]),
        ("share/" + package_name, ["package.xml"]),
    ],
    entry_points={"console_scripts": ["ros2 = ros2cli.main:main"]},
)
