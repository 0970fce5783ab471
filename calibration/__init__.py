"""Hand-eye calibration: where the camera is, in the base frame of the robot, and how well that is known."""

from clar_calibration.result import CalibrationError, CalibrationResult, load_calibration, save_calibration

__all__ = ["CalibrationError", "CalibrationResult", "load_calibration", "save_calibration"]
