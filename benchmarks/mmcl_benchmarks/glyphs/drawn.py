"""Drawn images on their way into an official layout: what writers of embedded editions have in common."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

Images = Sequence[Sequence[Image.Image]]  # of each class


@dataclass(frozen=True)
class Drawn:
    """Class names, and the training and test images of each class."""

    names: Sequence[str]
    train: Images
    test: Images


def numbered(images: Images) -> Iterator[tuple[int, Image.Image]]:
    """All images with their class, class by class."""
    for label, of_class in enumerate(images):
        for image in of_class:
            yield label, image


def slug(name: str) -> str:
    """A class name as a file or folder name."""
    return name.replace(" ", "_")


def write_jpeg(image: Image.Image, path: Path) -> None:
    """Into a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.convert("RGB").save(path, format="JPEG", quality=95)


def write_pickle(content: Any, path: Path) -> None:
    """Protocol 2, as the owners of CIFAR and CORe50 wrote theirs."""
    path.write_bytes(pickle.dumps(content, protocol=2))
