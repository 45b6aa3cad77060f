"""The data root of a benchmark: whose folder is read, and the checks that every copy of official data must pass."""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import ClassVar, NamedTuple, Protocol

from mmcl.data.cache import materialise
from mmcl.data.names import some
from mmcl.data.reference import ReferenceData
from mmcl.errors import ConfigError, DataError
from mmcl_benchmarks.copies.edition import Edition, read_edition
from mmcl_benchmarks.glyphs.split import TEST, VALIDATION, Split

# what reading raises over data that are missing, incomplete or something else; torchvision says RuntimeError. What a
# fault in a program raises (AttributeError, TypeError, ImportError) is none of the data's
_UNREADABLE = (OSError, RuntimeError, LookupError, ValueError, EOFError)


class OnDisk(Protocol):
    """The options of a benchmark that reads official files, or the embedded edition in their layout.

    Attributes:
        name: of the benchmark.
        data_root: the folder with the official files.
        embedded: whether the edition that comes with MMCL is read instead.
        validation: whether it is the one to choose settings on.
    """

    name: ClassVar[str]
    data_root: str | None
    embedded: bool
    validation: bool


class Opened(NamedTuple):
    """A data root.

    Attributes:
        root: the folder.
        edition: what it says of itself.
        who: the benchmark, as sentences call it.
    """

    root: Path
    edition: Edition
    who: str


def opened(
    plugin: OnDisk,
    write: Callable[[Path, Split], None],
    version: str,
    contents: str,
    *,
    data_sets: Collection[str] | None = None,
    download: bool | None = None,
) -> Opened:
    """The folder a benchmark reads: the user's, or the embedded edition in the cache, written on first use.

    Args:
        plugin: the benchmark.
        write: writes the embedded edition of a split.
        version: of what ``write`` writes.
        contents: what the folder must hold, for the error message.
        data_sets: what the folder's ``edition.json`` may speak of; by default the benchmark.
        download: whether missing data will be fetched into the folder; ``None`` where nothing can be fetched.

    Raises:
        ConfigError: if neither or both of ``embedded`` and ``data_root`` are given, or ``validation`` without
            ``embedded``.
        DataError: if there is no such folder, or its ``edition.json`` is wrong.
    """
    name, who = plugin.name, f"benchmark {plugin.name!r}"
    if plugin.embedded == (plugin.data_root is not None):
        raise ConfigError(
            who,
            found="both --embedded and --data-root" if plugin.embedded else "neither --embedded nor --data-root",
            allowed="one of them",
            remedy=f"Use 'mmcl run {name} --embedded' for the small edition that comes with MMCL, or "
            f"'mmcl run {name} --data-root DIR' with {contents} in DIR.",
        )
    if plugin.validation and not plugin.embedded:
        raise ConfigError(
            f"{name}.validation",
            found="true, of data of your own disk",
            allowed="true together with --embedded",
            remedy="Leave it out: only embedded editions have a validation split.",
        )
    if plugin.data_root is None:
        split = VALIDATION if plugin.validation else TEST
        root = materialise(f"{name}-{version}{split.suffix}", lambda draft: write(draft, split))
    else:
        root = Path(plugin.data_root)
        if not root.is_dir() and not download:
            raise DataError(
                f"data root {root}",
                found="no such folder",
                allowed=f"a folder with {contents}",
                remedy=f"Correct --data-root{'' if download is None else ', add --download'}, or use --embedded.",
            )
    return Opened(root, read_edition(root, (name,) if data_sets is None else data_sets), who)


def reference_below(root: Path) -> ReferenceData | None:
    """What lies in the folder ``reference``, for strategies that need data outside the stream.

    Raises:
        DataError: if the folder is there and holds no images or no captions.
    """
    folder = root / "reference"
    return ReferenceData.from_folder(folder) if folder.is_dir() else None


def require(root: Path, place: str, who: str, owner: str, remedy: str = "") -> Path:
    """``root/place``, which must exist.

    Raises:
        DataError: naming the place, what lies there instead, and the owner.
    """
    path = root / place
    if not path.exists():
        inside = root.resolve().name == PurePosixPath(place).parts[0]
        above = f"Name the folder above, {root.resolve().parent}: {place} is looked for in it."
        raise DataError(
            who,
            found=f"no {place} below {root}, {_content(root)}",
            allowed="the official files in that place",
            remedy=above if inside else remedy or f"Get them from {owner}.",
        )
    return path


def _content(folder: Path) -> str:
    """What a folder holds instead, in words."""
    try:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        return f"which cannot be read ({error})"
    return f"which holds {some(names, 4)}" if names else "which is empty"


def require_count(name: str, wanted: int | None, available: int | None = None) -> None:
    """Check the option ``experiences``.

    Raises:
        ConfigError: if it is not between 1 and the number of experiences of the stream, as far as that is known.
    """
    if wanted is None or (wanted >= 1 and (available is None or wanted <= available)):
        return
    raise ConfigError(
        f"{name}.experiences",
        found=f"{wanted}",
        allowed="1 or more" if available is None else f"1 to {available}",
        remedy="Choose how many experiences of the stream to learn.",
    )


@contextmanager
def reading(who: str, what: str, owner: str) -> Iterator[None]:
    """Turn what readers raise over damaged files into a sentence about the data set.

    Raises:
        DataError: naming the data set, the place and the owner.
    """
    try:
        yield
    except _UNREADABLE as error:
        raise DataError(
            who,
            found=f"{what} cannot be read ({type(error).__name__}: {error})",
            allowed="the official files, complete",
            remedy=f"Compare the folder with the copy from {owner}.",
        ) from error


def check_size(who: str, found: Mapping[str, int], official: Mapping[str, int], strict: bool) -> None:
    """Compare numbers with the official ones, by kind such as ``test samples``; kinds not listed are not known.

    Raises:
        DataError: with ``strict``, if they differ. Otherwise a warning says so.
    """
    if all(found[kind] == number for kind, number in official.items()):
        return
    seen = " and ".join(f"{found[kind]} {kind}" for kind in official)
    allowed = " and ".join(str(number) for number in official.values())
    if strict:
        raise DataError(
            who,
            found=seen,
            allowed=allowed,
            remedy="Get a complete copy, or leave out --set benchmark.strict=true.",
        )
    warnings.warn(f"{who}: {seen} instead of {allowed}; scores are not comparable with published ones.", stacklevel=3)
