"""Versions of everything a number depends on."""

import platform
from functools import cache
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
    packages = {package: version_of(package) for package in _PACKAGES}
    return {"python": platform.python_version(), "platform": platform.platform(), "packages": packages}


@cache
def version_of(package: str) -> str:
    """The version of an installed distribution."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
