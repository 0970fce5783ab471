"""The RealSense cameras that are plugged in: USB speed and firmware."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clar_core.doctor.finding import Finding, fail, ok, skip, warn

_SIMULATED = "simulated"


def cameras(serial: str = "", make_context: Callable[[], Any] | None = None) -> list[Finding]:
    """Every camera's USB speed and firmware, and whether the one that the cell file names is there.

    Args:
        serial: that the cell file names; empty for any.
        make_context: makes the ``rs.context`` to look in; librealsense's own by default.
    """
    try:
        import pyrealsense2 as rs
    except ImportError as error:
        return [fail("camera driver", f"pyrealsense2: {error}", "sudo apt install libusb-1.0-0, then `make setup`")]
    devices = list((make_context or rs.context)().query_devices())

    def tell(device: Any, field: Any) -> str:
        return str(device.get_info(field)) if device.supports(field) else ""

    findings: list[Finding] = []
    serials = []
    for device in devices:
        serials.append(tell(device, rs.camera_info.serial_number))
        name = f"camera {serials[-1]}"
        usb, firmware = tell(device, rs.camera_info.usb_type_descriptor), tell(device, rs.camera_info.firmware_version)
        text = f"{tell(device, rs.camera_info.name)}, USB {usb or 'unknown'}, firmware {firmware or 'unknown'}"
        recommended = tell(device, rs.camera_info.recommended_firmware_version)
        if usb.startswith(("1", "2")):
            findings.append(fail(name, text, "use its own cable and a USB 3 port (blue or USB-C), without a hub"))
        elif recommended and _version(firmware) < _version(recommended):
            findings.append(warn(name, text, f"update to {recommended} with realsense-viewer (More, Update Firmware)"))
        else:
            findings.append(ok(name, text))
    if serial == _SIMULATED:
        findings.append(skip("camera of the cell", "simulated"))
    elif serial and serial not in serials:
        step = "plug it in, or correct camera.serial in the cell file"
        findings.append(fail("camera of the cell", f"{serial} is not connected", step))
    elif not devices:
        findings.append(skip("camera", "no RealSense camera is connected", "plug it into a USB 3 port"))
    elif not serial and len(devices) > 1:
        step = "name one in the cell file (camera.serial)"
        findings.append(fail("camera of the cell", f"{len(devices)} cameras and none is named", step))
    return findings


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
