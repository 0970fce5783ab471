"""Parameter descriptions, under the name that launch files import them by."""

from launch.subset import refuse_others
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue

__all__ = ["ParameterFile", "ParameterValue"]
__getattr__ = refuse_others(__name__)
