"""Runs of streams that were made in Python: the command line says truly how to go on with them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import mmcl
from mmcl.cli import app
from mmcl.errors import ConfigError
from mmcl.testing.toy import toy_benchmark


def test_every_command_that_needs_the_stream_says_that_python_has_it(tmp_path: Path) -> None:
    out = tmp_path / "run"
    mmcl.run(benchmark=toy_benchmark(experiences=1), training={"iterations": 1}, out=out, quiet=True)
    (tmp_path / "new" / "cat").mkdir(parents=True)
    for words in (
        ["resume", str(out)],
        ["extend", str(out)],
        ["extend", str(out), "--data", str(tmp_path / "new")],
        ["run", "--config", str(out / "config.toml"), "--out", str(tmp_path / "again")],
        ["check-data", "--config", str(out / "config.toml")],
    ):
        with pytest.raises(ConfigError, match=r"made in Python.*benchmark=stream.*mmcl run own --data"):
            CliRunner().invoke(app, words, catch_exceptions=False)
    assert not (tmp_path / "again").exists()
    longer = mmcl.extend(out, benchmark=toy_benchmark(experiences=2), quiet=True)
    assert longer.results["columns"] == ["toy0", "toy1"]
