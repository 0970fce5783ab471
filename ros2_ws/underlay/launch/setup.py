"""Build of the stand-in for `launch`."""

from setuptools import find_packages, setup

package_name = "launch"

setup(
    name=package_name,
    version="0.0.1",
    description="CLAR stand-in: the subset of ROS 2 launch that CLAR's launch files use.",
    license="Apache-2.0",
    zip_safe=True,
    packages=find_packages(),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + package_name]),
        ("share/" + package_name, ["package.xml"]),
    ],
)
