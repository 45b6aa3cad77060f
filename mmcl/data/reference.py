"""Reference data: unlabelled images and captions outside the stream, as ZSCL and its kin need them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from mmcl.data.modality import IMAGE
from mmcl.data.sample import Sample, SampleDataset
from mmcl.errors import DataError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".tif", ".tiff"})


class ImageFiles:
    """Image files as samples; the target is the position in the list."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample:
        return replace(self.outline(index), inputs={IMAGE: open_image(self.path(index))})

    def outline(self, index: int) -> Sample:
        """The sample with the path of its image in place of the image."""
        return Sample({IMAGE: self.paths[index]}, index, self.paths[index].name, -1)

    def path(self, index: int) -> Path:
        """The file of a sample."""
        return self.paths[index]


@dataclass(frozen=True)
class ReferenceData:
    """Images and texts that need not belong together.

    Attributes:
        images: samples with an image and no meaning of their own; the target is the position.
        texts: captions.
    """

    images: SampleDataset
    texts: Sequence[str]

    @classmethod
    def from_folder(cls, folder: Path) -> "ReferenceData":
        """Read ``folder/images/**`` (any image files) and ``folder/captions.txt`` (one caption a line, UTF-8).

        Raises:
            DataError: if either is missing or empty.
        """
        images = sorted(p for p in (folder / "images").rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        captions = folder / "captions.txt"
        texts = [line.strip() for line in captions.read_text("utf-8").splitlines()] if captions.is_file() else []
        texts = [line for line in texts if line]
        if not images or not texts:
            raise DataError(
                f"reference data {folder}",
                found=f"{len(images)} images in images/ and {len(texts)} captions in captions.txt",
                allowed="at least one image and one caption",
                remedy="Put image files below images/ and one caption a line into captions.txt.",
            )
        return cls(ImageFiles(images), texts)


def open_image(path: Path) -> Image.Image:
    """Decode an image file completely, as RGB.

    Raises:
        DataError: if the file is missing, truncated or not an image; the sentence names the path.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"image {path}",
            found=f"it cannot be read ({error})",
            allowed="a complete image file that Pillow can decode",
            remedy="Replace or remove the file; nothing has been trained on it.",
        ) from error
