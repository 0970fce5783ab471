"""The computer: kernel, priorities, processor, clock, memory, disk, graphics card."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import subprocess
from pathlib import Path

from clar_core.doctor.finding import Finding, fail, ok, skip, warn

_REALTIME = Path("/sys/kernel/realtime")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_SHARED_MEMORY = Path("/dev/shm")
_GIB = 2**30
_CLOCK_UNSYNCHRONISED = 5


def realtime(path: Path = _REALTIME) -> list[Finding]:
    """The kernel and the right to real-time priority, which the robot's 1 kHz loop needs."""
    release = os.uname().release
    kernel = (
        ok("real-time kernel", release)
        if path.exists() and path.read_text().strip() == "1"
        else fail(
            "real-time kernel",
            f"{release} is none",
            "install a PREEMPT_RT kernel (Ubuntu: `sudo pro enable realtime-kernel`); a simulated cell needs none",
        )
    )
    allowed = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    if os.geteuid() == 0 or allowed in (resource.RLIM_INFINITY, 99):
        return [kernel, ok("real-time priority", "allowed")]
    fix = "add `@realtime - rtprio 99` and `@realtime - memlock unlimited` to /etc/security/limits.conf, join the group"
    return [kernel, fail("real-time priority", f"{allowed} allowed, 99 needed", f"{fix} `realtime`, log in again")]


def processor(path: Path = _GOVERNOR) -> list[Finding]:
    """Cores, and whether they save power while the robot waits."""
    cores = len(os.sched_getaffinity(0))
    findings = [
        ok("processor", f"{cores} cores")
        if cores >= 4
        else warn("processor", f"{cores} cores", "camera, cloud, policy and arm want 4 or more")
    ]
    if not path.exists():
        return [*findings, skip("frequency governor", "not told by this machine")]
    governor = path.read_text().strip()
    if governor == "performance":
        return [*findings, ok("frequency governor", governor)]
    fix = "sudo cpupower frequency-set -g performance (it costs milliseconds to wake a sleeping core)"
    return [*findings, warn("frequency governor", governor, fix)]


def clock() -> list[Finding]:
    """Whether the wall clock is disciplined: stamps of several machines are compared with it."""
    buffer = ctypes.create_string_buffer(512)  # struct timex, all zero: asks without setting anything
    state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    if state < 0:
        return [skip("clock", "not told by this machine")]
    if state == _CLOCK_UNSYNCHRONISED:
        return [warn("clock", "not synchronised", "sudo apt install chrony; `chronyc tracking` tells how well it does")]
    return [ok("clock", "synchronised")]


def storage(folder: Path, needed_gib: float = 20.0) -> list[Finding]:
    """Room for recordings, and for images between processes."""
    findings = []
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free_gib = shutil.disk_usage(existing).free / _GIB
    text = f"{free_gib:.0f} GiB free at {existing}"
    fix = "a minute of recording takes about 0.5 GiB: delete old bags, or record to another disk"
    findings.append(ok("disk", text) if free_gib >= needed_gib else warn("disk", text, fix))
    if _SHARED_MEMORY.exists():
        free_mib = shutil.disk_usage(_SHARED_MEMORY).free / 2**20
        text = f"{free_mib:.0f} MiB free"
        fix = "images go through it: sudo mount -o remount,size=1G /dev/shm (docker: ipc: host)"
        findings.append(ok("shared memory", text) if free_mib >= 256 else fail("shared memory", text, fix))
    return findings


def graphics() -> list[Finding]:
    """The graphics card, as its driver and as torch see it."""
    findings = []
    tool = shutil.which("nvidia-smi")
    if tool is None:
        findings.append(skip("GPU", "no NVIDIA driver", "policies run on the CPU too, point encoders at about 10 Hz"))
    else:
        query = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        result = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False)
        text = result.stdout.strip().replace("\n", "; ")
        fix = "reboot after a driver update; `nvidia-smi` must list the card"
        findings.append(ok("GPU", text) if result.returncode == 0 and text else warn("GPU", "no card answers", fix))
    try:
        import torch
    except ImportError as error:
        return [*findings, fail("torch", f"cannot be imported ({error})", "run `make setup`")]
    if torch.cuda.is_available():
        findings.append(ok("CUDA in torch", f"torch {torch.__version__}, {torch.cuda.get_device_name()}"))
    elif tool is not None:
        fix = "install the CUDA build of the same torch version; see docs/setup.md"
        findings.append(warn("CUDA in torch", f"torch {torch.__version__} sees no GPU", fix))
    else:
        findings.append(skip("CUDA in torch", f"torch {torch.__version__}, CPU"))
    return findings
