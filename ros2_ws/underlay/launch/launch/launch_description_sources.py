"""The sources of launch descriptions that launch files use."""

from launch.launch_description_source import InvalidLaunchFileError, LaunchDescriptionSource
from launch.subset import refuse_others


class PythonLaunchDescriptionSource(LaunchDescriptionSource):
    """A Python launch file."""


__all__ = ["InvalidLaunchFileError", "PythonLaunchDescriptionSource"]
__getattr__ = refuse_others(__name__)
