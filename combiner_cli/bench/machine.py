"""What the figures of a benchmark were measured on, and with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

from .. import __version__


def processor() -> str:
    """The model of the processor, as the system calls it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "this machine"


def description() -> str:
    """Processor, cores and system in one line."""
    return f"{os.cpu_count()} cores of {processor()}, {platform.system()} {platform.machine()}"


def versions() -> dict[str, str]:
    """Of this program, of Python, and of the packages that figures depend on."""
    packages = ("numpy", "torch", "pillow", "soundfile", "pytorch-msssim", "pystoi", "bjontegaard")
    known = {"combiner": __version__, "Python": platform.python_version()}
    return known | {name: importlib.metadata.version(name) for name in packages}
