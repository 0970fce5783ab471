"""The calibration of the simulated cell: exact, because there the camera's pose is known.

Written to its file by ``python -m clar_calibration.simulated calibration/cells/sim/calibration.yaml``.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from clar_calibration.result import CalibrationResult, save_calibration
from clar_core.simulation.camera import T_BASE_DEPTH, T_LINK_DEPTH

# A fixed date keeps the hash a function of the camera's pose alone.
_DATE = datetime(2026, 1, 1, tzinfo=UTC)


def simulated_calibration() -> CalibrationResult:
    """Calibration of the simulated D455."""
    return CalibrationResult(
        T_base_optical=T_BASE_DEPTH,
        T_link_optical=T_LINK_DEPTH,
        base_frame="fr3_link0",
        link_frame="camera_link",
        optical_frame="camera_depth_optical_frame",
        date=_DATE,
        camera_serial="simulated",
        method="simulated",
        holdout_translation_mm=0.0,
        holdout_rotation_deg=0.0,
        holdout_samples=0,
    )


if __name__ == "__main__":
    save_calibration(simulated_calibration(), sys.argv[1])
