"""Whatever is handed over as a picture is shown as people see it, or refused in a sentence that names it."""

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from mmcl.data.pixels import as_picture, is_picture_name, open_image
from mmcl.errors import DataError

GREY = np.arange(30, dtype=np.uint8).reshape(6, 5) * 8  # [H, W], none of both could be channels
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], -1)
SIXTEEN = GREY.astype(np.uint16) * 257 + 3
ORIENTATION = ExifTags.Base.Orientation


def shown(value: Any) -> NDArray[np.uint8]:
    picture = as_picture(value, "sample x")
    assert (picture.mode, dict(picture.info)) == ("RGB", {})
    return np.asarray(picture)


def grey(values: NDArray[Any]) -> NDArray[Any]:
    return np.stack([values] * 3, -1)


# Modes of Pillow.

COLOURS = Image.fromarray(COLOUR)
MODES: dict[str, Image.Image] = {
    "L": Image.fromarray(GREY),
    "LA": Image.fromarray(GREY).convert("LA"),
    "La": Image.fromarray(GREY).convert("LA").convert("La"),
    "PA": Image.fromarray(GREY).convert("P").convert("PA"),
    "RGB": COLOURS,
    "RGBA": COLOURS.convert("RGBA"),
    "RGBa": COLOURS.convert("RGBA").convert("RGBa"),
    "RGBX": COLOURS.convert("RGBX"),
    "CMYK": COLOURS.convert("CMYK"),
    "I": Image.fromarray(GREY.astype(np.int32)),
    "F": Image.fromarray((GREY / 255).astype(np.float32)),
    "I;16": Image.fromarray(SIXTEEN),
    "I;16L": Image.frombytes("I;16L", (5, 6), SIXTEEN.astype("<u2").tobytes()),
    "I;16B": Image.frombytes("I;16B", (5, 6), SIXTEEN.astype(">u2").tobytes()),
    "I;16N": Image.frombytes("I;16N", (5, 6), SIXTEEN.tobytes()),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_shows_the_picture_that_was_put_in(mode: str) -> None:
    image = MODES[mode]
    assert image.mode == mode
    wanted = COLOUR if mode in ("RGB", "RGBA", "RGBa", "RGBX", "CMYK") else grey(GREY)
    assert (shown(image) == wanted).all()


@pytest.mark.parametrize("mode", ["1", "P", "YCbCr", "HSV", "LAB"])
def test_modes_that_lose_something_show_what_pillow_makes_of_them(mode: str) -> None:
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(COLOURS, *profiles, outputMode="LAB")
        assert image is not None
    else:
        image = COLOURS.convert(mode)
    assert image.mode == mode
    assert (shown(image) == np.asarray(image.convert("RGB"))).all()
    if mode not in ("1", "P"):
        assert np.abs(shown(image).astype(int) - COLOUR).mean() <= 6


@pytest.mark.parametrize("values", [SIXTEEN.astype(np.int32), np.full((5, 6), -1, np.int32)])
def test_a_picture_of_mode_i_with_other_values_than_pixels_is_refused(values: NDArray[Any]) -> None:
    with pytest.raises(DataError, match=r"sample x: an image of mode I, with values from"):
        shown(Image.fromarray(values))


@pytest.mark.parametrize("value", [255.0, -0.1, float("nan"), float("inf")])
def test_a_picture_of_floats_outside_0_to_1_is_refused(value: float) -> None:
    values = np.full((5, 6), value, np.float32)
    for picture in (Image.fromarray(values), values):
        with pytest.raises(DataError, match=r"sample x: an image .*with values from.*floats from 0 to 1"):
            shown(picture)


# Transparency.


def drawn(colour: tuple[int, int, int], behind: tuple[int, int, int]) -> Image.Image:
    """A square in front of nothing; ``behind`` is the colour that hides where it is transparent."""
    image = Image.new("RGBA", (8, 6), (*behind, 0))
    image.paste((*colour, 255), (2, 2, 5, 4))
    return image


@pytest.mark.parametrize("ink", [(0, 0, 0), (200, 30, 0), (255, 255, 255)])
@pytest.mark.parametrize("behind", [(0, 0, 0), (255, 255, 255), (9, 99, 199)])
def test_what_is_drawn_on_nothing_can_be_seen(ink: tuple[int, int, int], behind: tuple[int, int, int]) -> None:
    paper = 0 if ink == (255, 255, 255) else 255
    wanted = np.full((6, 8, 3), paper, np.uint8)
    wanted[2:4, 2:5] = ink
    image = drawn(ink, behind)
    assert (shown(image) == wanted).all()
    assert (shown(np.asarray(image)) == wanted).all()


def test_a_channel_of_transparency_that_is_empty_hides_nothing() -> None:
    image = COLOURS.convert("RGBA")
    image.putalpha(0)
    assert (shown(image) == COLOUR).all()


@pytest.mark.parametrize("kind", ["P index", "P bytes", "L", "RGB"])
def test_a_colour_that_stands_for_nothing_shows_white(tmp_path: Path, kind: str) -> None:
    mode, transparency = {
        "P index": ("P", 0),
        "P bytes": ("P", b"\x00\xff"),
        "L": ("L", 0),
        "RGB": ("RGB", (0, 0, 0)),
    }[kind]
    image = Image.new("RGB", (8, 6))
    image.paste((255, 255, 255), (0, 0, 4, 6))
    image = image.convert(mode) if mode != "P" else image.quantize(2)
    if mode == "P":
        image.putpalette([0, 0, 0, 99, 99, 99])
        image.putdata([0] * 24 + [1] * 24)
    else:
        image.putdata([0] * 24 + [(99, 99, 99) if mode == "RGB" else 99] * 24)
    image.save(tmp_path / "x.png", transparency=transparency)
    found = np.asarray(open_image(tmp_path / "x.png"))
    assert (found[:3] == 255).all()
    assert (found[3:] == 99).all()


# Files.


@pytest.mark.parametrize("suffix", ["png", "tif", "jp2", "pgm"])
def test_sixteen_bits_are_scaled_by_their_full_range(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(SIXTEEN).save(tmp_path / f"x.{suffix}", **({"irreversible": False} if suffix == "jp2" else {}))
    assert (np.asarray(open_image(tmp_path / f"x.{suffix}")) == grey(GREY)).all()


def test_twelve_bits_are_scaled_by_theirs(tmp_path: Path) -> None:
    values = np.asarray([0, 2048, 4095, 1000] * 4).reshape(4, 4)
    pairs = values.reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], 1)
    strip = packed.astype(np.uint8).tobytes()
    tags = [(256, 4), (257, 4), (258, 12), (259, 1), (262, 1), (273, 8 + 2 + 12 * 9 + 4), (277, 1), (278, 4), (279, 24)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    header = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags))
    (tmp_path / "x.tif").write_bytes(header + entries + bytes(4) + strip)
    assert np.asarray(open_image(tmp_path / "x.tif"))[0, :, 0].tolist() == [0, 128, 255, 62]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_a_picture_is_shown_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = Image.new("RGB", (32, 48), "white")
    upright.paste("red", (0, 0, 16, 16))
    stored = upright
    for step in {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }.get(orientation, []):
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored.save(tmp_path / f"x.{suffix}", exif=exif)
    for picture in (open_image(tmp_path / f"x.{suffix}"), as_picture(Image.open(tmp_path / f"x.{suffix}"), "x")):
        assert picture.size == (32, 48)
        assert np.abs(np.asarray(picture).astype(int) - np.asarray(upright)).mean() < 8
        assert picture.getexif().get(ORIENTATION) is None


def test_a_picture_that_was_decoded_by_its_owner_is_turned_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.new("L", (8, 6)).save(tmp_path / "x.png", exif=exif)
    with Image.open(tmp_path / "x.png") as image:
        decoded = image.convert("RGB").resize((4, 3))
    assert as_picture(decoded, "x").size == (3, 4)
    assert decoded.size == (4, 3)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 60), byte=st.integers(0, 255))
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data|Possibly corrupt EXIF|Truncated:UserWarning")
def test_a_damaged_tag_costs_the_turn_and_never_the_picture(place: int, byte: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION], exif[ExifTags.Base.Make] = 6, "maker of cameras"
    damaged = bytearray(exif.tobytes())
    damaged[place % len(damaged)] = byte
    stored = io.BytesIO()
    COLOURS.save(stored, "PNG", exif=bytes(damaged))
    assert sorted(as_picture(stored.getvalue(), "x").size) == [5, 6]


def test_only_the_first_frame_counts(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 6), "red"), Image.new("RGB", (8, 6), "blue")
    for suffix in ("gif", "tif", "webp", "png"):
        options = {"lossless": True} if suffix == "webp" else {}
        first.save(tmp_path / f"x.{suffix}", save_all=True, append_images=[second], **options)
        assert open_image(tmp_path / f"x.{suffix}").getpixel((0, 0)) == (255, 0, 0)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(60_000, 60_000), (1, 10**8), (10**8, 1), (2**31 - 1, 2**31 - 1)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_that_claims_to_be_gigantic_is_refused_by_name(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "big.png").write_bytes(png_header(*size))
    with pytest.raises(DataError, match=r"big\.png: it claims to be gigantic.*Scale it down"):
        open_image(tmp_path / "big.png")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [a_pipe, a_socket, a_device, Path.mkdir])
def test_what_is_no_regular_file_is_refused_without_being_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket may not be long
    make(Path("x.png"))
    with pytest.raises(DataError, match=r"image x\.png: a (pipe, socket or device|folder)\. Allowed: a regular file"):
        open_image(Path("x.png"))


@pytest.mark.parametrize(
    "content",
    [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", png_header(8, 8), b"\x89HDF\r\n\x1a\n"],
)
def test_a_file_that_is_no_complete_picture_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    for value in (tmp_path / "x.png", str(tmp_path / "x.png")):
        with pytest.raises(DataError, match=r"x\.png.*cannot be read"):
            as_picture(value, "sample x")


@pytest.mark.parametrize("path", ["missing.png", "a\0b.png", "x" * 5000 + ".png"])
def test_a_path_that_leads_nowhere_is_refused(path: str) -> None:
    with pytest.raises(DataError, match=r"cannot be read"):
        as_picture(path, "sample x")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_a_mutated_file_is_a_picture_or_refused(data: st.DataObject) -> None:
    suffix, mode = data.draw(
        st.sampled_from([("PNG", "P"), ("GIF", "P"), ("TIFF", "I;16"), ("JPEG", "CMYK"), ("BMP", "RGB")])
    )
    stored = io.BytesIO()
    MODES.get(mode, COLOURS.quantize(8)).save(stored, suffix)
    content = bytearray(stored.getvalue())
    for place, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=6)
    ):
        content[place] = byte
    with suppress(DataError):
        assert as_picture(bytes(content[: data.draw(st.integers(1, len(content)))]), "sample x").mode == "RGB"


@pytest.mark.parametrize(
    "name", ["x.png", "X.JPG", "a.b.jfif", "x.gif", "x.PGM", "x.tiff", "x.webp", "x.avif", "x.jp2"]
)
def test_pictures_are_known_by_their_names(name: str) -> None:
    assert is_picture_name(name)


@pytest.mark.parametrize("name", ["png", ".png", "x", "x.txt", "x.png.part", "x.eps", "x.ps", "x.h5", "x.mpg", "x.svg"])
def test_other_files_are_known_by_theirs(name: str) -> None:
    assert not is_picture_name(name)


# Arrays.

TYPES: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    **{
        name: lambda values, name=name: values.astype(name)
        for name in ("u1", "i2", "i4", "i8", "u4", "u8", ">i4", ">u8")
    },  # type: ignore[misc]
    **{name: lambda values, name=name: (values / 255).astype(name) for name in ("f2", "f4", "f8", ">f4", "g")},  # type: ignore[misc]
    **{name: lambda values, name=name: (values.astype(int) * 257).astype(name) for name in ("<u2", ">u2")},  # type: ignore[misc]
}
LAYOUTS: dict[str, Callable[[NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]] = {
    "HW": lambda grey_: (grey_, grey(GREY)),
    "HW1": lambda grey_: (grey_[..., None], grey(GREY)),
    "1HW": lambda grey_: (grey_[None], grey(GREY)),
    "HW3": lambda grey_: (np.stack([grey_, grey_[::-1], grey_[:, ::-1]], -1), COLOUR),
    "3HW": lambda grey_: (np.stack([grey_, grey_[::-1], grey_[:, ::-1]]), COLOUR),
    "turned": lambda grey_: (np.asfortranarray(np.stack([grey_] * 3, -1))[::-1], grey(GREY)[::-1]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", TYPES)
def test_arrays_of_every_usual_type_and_layout_show_their_picture(dtype: str, layout: str) -> None:
    values, wanted = LAYOUTS[layout](TYPES[dtype](GREY))
    assert (shown(values) == wanted).all()


def test_nested_lists_are_pictures_of_whole_numbers_or_floats() -> None:
    for values in (COLOUR, COLOUR / 255):
        assert (shown(values.tolist()) == COLOUR).all()


@pytest.mark.parametrize("ends", ["first", "last"])
@pytest.mark.parametrize("channels", [2, 4])
def test_the_last_of_two_or_four_channels_is_transparency(channels: int, ends: str) -> None:
    alpha = np.full_like(GREY, 255)
    alpha[0] = 0
    colours = [GREY] if channels == 2 else [COLOUR[..., i] for i in range(3)]
    wanted = (grey(GREY) if channels == 2 else COLOUR).copy()
    wanted[0] = 255
    assert (shown(np.stack([*colours, alpha], 0 if ends == "first" else -1)) == wanted).all()


def test_truth_values_are_black_and_white() -> None:
    assert (shown(GREY > 100) == grey(np.where(GREY > 100, 255, 0))).all()


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int64, torch.uint16, torch.bool])
@pytest.mark.parametrize("layout", [(), (1,), (3,)])
def test_tensors_of_whole_numbers_are_pictures(kind: torch.dtype, layout: tuple[int, ...]) -> None:
    values = torch.as_tensor(GREY > 100 if kind is torch.bool else GREY.astype(int)).to(torch.int64)
    scaled = values * 257 if kind is torch.uint16 else values
    wanted = grey(values.numpy() * (255 if kind is torch.bool else 1))
    tensor = scaled.expand(*layout, 6, 5).to(kind)
    assert (shown(tensor) == wanted).all()
    assert (shown(tensor.movedim(0, -1) if layout else tensor) == wanted).all()


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.zeros((6, 5, 5), np.uint8), r"an image that is an array, uint8\[6, 5, 5\]"),
        (np.zeros((3, 6, 3), np.uint8), r"uint8\[3, 6, 3\]"),
        (np.zeros((1, 6, 4), np.uint8), r"uint8\[1, 6, 4\]"),
        (np.zeros((5, 4, 4), np.uint8), r"uint8\[5, 4, 4\]"),
        (np.zeros((6, 1, 3), np.uint8), r"uint8\[6, 1, 3\]"),
        (np.zeros((2, 3, 6, 5), np.uint8), r"uint8\[2, 3, 6, 5\]"),
        (np.zeros(784, np.uint8), r"uint8\[784\]"),
        (np.zeros((0, 5, 3), np.uint8), r"uint8\[0, 5, 3\]"),
        (np.zeros((0, 5), np.uint8), r"uint8\[0, 5\]"),
        (np.full((6, 5), 256), r"int64\[6, 5\], with values from 256 to 256"),
        (np.full((6, 5), -1, np.int8), r"int8\[6, 5\], with values from -1 to -1"),
        (np.full((6, 5), 1j), r"complex128\[6, 5\], with values that are no numbers"),
        (np.full((6, 5), "x"), r"<U1\[6, 5\], with values that are no numbers"),
        (np.full((6, 5), None), r"object\[6, 5\], with values that are no numbers"),
        ([[1, 2], [3]], "ragged list"),
        (torch.zeros(3, 6, 5), r"an image that is a tensor, float32\[3, 6, 5\].*ready=True"),
        (torch.zeros(6, 5, dtype=torch.bfloat16), r"bfloat16\[6, 5\].*ready=True"),
        (torch.zeros(6, 5, dtype=torch.uint8).to_sparse(), r"an image that is a tensor, uint8\[6, 5\]"),
        (torch.full((6, 5), 300), r"int64\[6, 5\], with values from 300 to 300"),
        (None, "type NoneType"),
        (3, "type int"),
        (object(), "type object"),
        ({"x": 1}, "type dict"),
        (b"no image", "cannot be read"),
    ],
)
def test_what_cannot_be_decided_is_refused_in_one_sentence(value: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=rf"^sample x.*{sentence}"):
        shown(value)


@settings(deadline=None)
@given(
    hnp.arrays(
        hnp.integer_dtypes() | hnp.unsigned_integer_dtypes() | hnp.floating_dtypes() | hnp.boolean_dtypes(),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7),
    )
)
def test_any_array_is_a_picture_of_its_size_or_refused(values: NDArray[Any]) -> None:
    with suppress(DataError):
        assert set(as_picture(values, "sample x").size) <= set(values.shape)


def test_files_in_memory_are_pictures_as_hugging_face_hands_them_over(tmp_path: Path) -> None:
    COLOURS.save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    for value in (content, {"bytes": content, "path": "x.png"}, {"bytes": None, "path": str(tmp_path / "x.png")}):
        assert (shown(value) == COLOUR).all()
