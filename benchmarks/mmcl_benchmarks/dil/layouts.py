"""Writers of the official layouts of DomainNet, CORe50 and CDDB; for embedded data and tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from mmcl_benchmarks.glyphs.drawn import Drawn, Images, numbered, slug, write_jpeg, write_pickle


def write_domainnet(root: Path, domains: Mapping[str, Drawn]) -> None:
    """``DOMAIN/CLASS/*.jpg`` and two lists per domain; labels are ranks of class folders."""
    for domain, drawn in domains.items():
        rank = {name: label for label, name in enumerate(sorted(drawn.names))}
        number = 0
        for side, images in (("train", drawn.train), ("test", drawn.test)):
            lines = []
            for label, image in numbered(images):
                number += 1
                name = drawn.names[label]
                lines.append((rank[name], f"{domain}/{slug(name)}/{domain}_{number:06d}.jpg"))
                write_jpeg(image, root / lines[-1][1])
            text = "".join(f"{path} {label}\n" for label, path in sorted(lines))
            (root / f"{domain}_{side}.txt").write_text(text, encoding="utf-8")


def write_core50(
    root: Path, sessions: Mapping[int, Sequence[Sequence[Image.Image]]], order: Sequence[int], test: Sequence[int]
) -> None:
    """``core50_128x128/sS/oO/*.png``, the text lists of NI run 0, and the three pickles of plain lists.

    Args:
        root: the data root.
        sessions: number of the session -> frames of every object.
        order: the training sessions in order.
        test: the test sessions.
    """
    paths: list[str] = []
    for session, objects in sessions.items():
        for number, frames in enumerate(objects, 1):
            for frame, image in enumerate(frames):
                path = f"s{session}/o{number}/C_{session:02d}_{number:02d}_{frame:03d}.png"
                paths.append(path)
                place = root / "core50_128x128" / path
                place.parent.mkdir(parents=True, exist_ok=True)
                image.resize((128, 128)).save(place)
    label_of = {path: int(path.split("/")[1][1:]) - 1 for path in paths}
    batches = [[path for path in paths if path.startswith(f"s{session}/")] for session in order]
    batches.append([path for path in paths if int(path.split("/")[0][1:]) in test])
    lists = root / "batches_filelists" / "NI_inc" / "run0"
    lists.mkdir(parents=True)
    names = [f"train_batch_{number:02d}_filelist.txt" for number in range(len(order))] + ["test_filelist.txt"]
    for name, batch in zip(names, batches, strict=True):
        (lists / name).write_text("".join(f"{path} {label_of[path]}\n" for path in batch), encoding="utf-8")
    write_pickle(paths, root / "paths.pkl")
    write_pickle({"ni": [[[paths.index(path) for path in batch] for batch in batches]]}, root / "LUP.pkl")
    write_pickle({"ni": [[[label_of[path] for path in batch] for batch in batches]]}, root / "labels.pkl")


def write_cddb(root: Path, source: str, train: Images, val: Images, objects: Sequence[str] = ("",)) -> None:
    """``SOURCE/{train,val}/[OBJECT/]{0_real,1_fake}/*.png``; both sides hold real and fake images, in this order.

    Args:
        root: the data root.
        source: name of the source.
        train: real and fake images.
        val: the same.
        objects: the object folders that the images go to in turn; none by default.
    """
    for side, images in (("train", train), ("val", val)):
        for count, (label, image) in enumerate(numbered(images)):
            place = root / source / side / objects[count % len(objects)] / ("0_real", "1_fake")[label]
            place.mkdir(parents=True, exist_ok=True)
            image.save(place / f"{count:05d}.png")
