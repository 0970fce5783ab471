"""Build of the stand-in for `tf_transformations`."""

from setuptools import find_packages, setup

package_name = "tf_transformations"

setup(
    name=package_name,
    version="0.0.1",
    description="CLAR stand-in: rotation helpers under the names of tf's transformations module, over transforms3d.",
    license="Apache-2.0",
    zip_safe=True,
    packages=find_packages(),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + package_name]),
        ("share/" + package_name, ["package.xml"]),
    ],
)
