"""Versions of everything a number depends on."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = (
    "mmcl",
    "torch",
    "torchvision",
    "avalanche-lib",
    "open_clip_torch",
    "transformers",
    "peft",
    "accelerate",
    "numpy",
    "pillow",
    "matplotlib",
)


def environment() -> dict[str, Any]:
    """Python, platform and package versions."""
    packages = {}
    for package in _PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            packages[package] = "not installed"
    return {"python": platform.python_version(), "platform": platform.platform(), "packages": packages}
