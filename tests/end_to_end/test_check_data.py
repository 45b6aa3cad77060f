"""``mmcl check-data`` reads everything and names all that is wrong, not the first of it."""

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from mmcl.cli import app
from mmcl.errors import ConfigError, MMCLError


def check(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check-data", *words])
    if isinstance(result.exception, MMCLError):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture
def data(embedded_mtil: Path, tmp_path: Path) -> Path:
    shutil.copytree(embedded_mtil, tmp_path / "data", copy_function=os.link)
    return tmp_path / "data"


def test_all_bad_files_are_named_with_their_reasons_and_the_exit_code_is_1(data: Path) -> None:
    words = ("mtil", "--data", str(data), "--set", "benchmark.experiences=1")
    code, said = check(*words)
    assert (code, "all of them can be learned from" in said) == (0, True), said
    pictures = sorted(path for path in data.rglob("*.jpg") if "aircraft" in path.as_posix().lower())
    cut, odd = pictures[0], pictures[-1]
    half = cut.read_bytes()[:100]
    for path, content in ((cut, half), (odd, b"no picture")):
        path.unlink()
        path.write_bytes(content)
    code, said = check(*words)
    assert code == 1
    assert f"image {cut}: it cannot be read" in said
    assert f"image {odd}: it cannot be read" in said
    assert "2 of them cannot be learned from" in said
    code, said = check(*words, "--progress", "json")
    events = [json.loads(line) for line in said.splitlines()]
    assert (code, [event["event"] for event in events if event["event"] != "part"]) == (
        1,
        ["phase", "fault", "fault", "end"],
    )
    assert {event["what"] for event in events if event["event"] == "fault"} == {f"image {cut}", f"image {odd}"}
    assert events[-1]["bad"] == 2
    with pytest.raises(Exception, match="cannot"), Image.open(odd) as image:
        image.load()


def test_data_that_cannot_even_be_listed_are_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    code, said = check("mtil", "--data-root", str(tmp_path / "absent"))
    assert code == 1
    assert f"data root {tmp_path / 'absent'}: no such folder" in said


def test_what_is_no_matter_of_data_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--set lr=1: .*no option of the benchmark"):
        check("mtil", "--embedded", "--set", "lr=1")
    with pytest.raises(ConfigError, match="none is named"):
        check()
