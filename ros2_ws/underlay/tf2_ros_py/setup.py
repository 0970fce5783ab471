"""Build of the stand-in for `tf2_ros_py`."""

from setuptools import find_packages, setup

package_name = "tf2_ros_py"

setup(
    name=package_name,
    version="0.0.1",
    description="CLAR stand-in: tf2_ros and tf2_py for Python, over clar_core's frame tree.",
    license="Apache-2.0",
    zip_safe=True,
    packages=find_packages(),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + package_name]),
        ("share/" + package_name, ["package.xml"]),
    ],
)
