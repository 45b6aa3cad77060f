"""Reference data: unlabelled images and captions outside the stream, as ZSCL and its kin need them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmcl.data.modality import IMAGE
from mmcl.data.picture_files import left_out_remark, pictures_below
from mmcl.data.pixels import open_image
from mmcl.data.sample import Sample, SampleDataset
from mmcl.errors import DataError
from mmcl.remarks import Remarks


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
    def from_folder(cls, folder: str | Path) -> "ReferenceData":
        """Read ``folder/images/**`` (any image files) and ``folder/captions.txt`` (one caption a line, UTF-8).

        Raises:
            DataError: if either is missing or empty, or the captions cannot be read.
        """
        folder = Path(folder)
        listing = pictures_below(folder / "images")
        for sentence in left_out_remark(f"reference data {folder}", listing.left_out, folder):
            Remarks().add(sentence)
        captions = folder / "captions.txt"
        texts = _lines(captions) if captions.is_file() else []
        if not listing.files or not texts:
            raise DataError(
                f"reference data {folder}",
                found=f"{len(listing.files)} images in images/ and {len(texts)} captions in captions.txt",
                allowed="at least one image and one caption",
                remedy="Put image files below images/ and one caption a line into captions.txt.",
            )
        return cls(ImageFiles(listing.files), texts)


def _lines(path: Path) -> list[str]:
    """The lines of a text, without blank ones."""
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(
            f"captions {path}",
            found=f"they cannot be read ({error})",
            allowed="a text file in UTF-8 with one caption a line",
            remedy="Save it as UTF-8.",
        ) from error
