"""Build of the stand-in for `sensor_msgs_py`."""

from setuptools import find_packages, setup

package_name = "sensor_msgs_py"

setup(
    name=package_name,
    version="0.0.1",
    description="CLAR stand-in: reading and writing PointCloud2 with NumPy.",
    license="Apache-2.0",
    zip_safe=True,
    packages=find_packages(),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + package_name]),
        ("share/" + package_name, ["package.xml"]),
    ],
)
