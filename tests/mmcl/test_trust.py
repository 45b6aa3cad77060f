"""Trust: what a file names runs only if it is registered, loaded, typed by the user or trusted."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mmcl.claim import claimed
from mmcl.config import PluginConfig, RunConfig, write_toml
from mmcl.errors import PluginError
from mmcl.run_folder import RunFolder
from mmcl.trust import note_trust, require_trusted, trusted_toml

REGISTERED = RunConfig(benchmark=PluginConfig("mtil", {"embedded": True}), strategies=(PluginConfig("ewc"),))
EVIL = PluginConfig("evil_module:X")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a module whose import leaves a trace, and a cache of its own."""
    monkeypatch.setenv("MMCL_CACHE", str(tmp_path / "cache"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / "evil_module.py").write_text("open('ran', 'w')\nclass X: pass\n")
    return tmp_path / "cache"


def folder_with(config: RunConfig, path: Path) -> Path:
    path.mkdir()
    write_toml(config, path / "config.toml")
    return path


@pytest.mark.parametrize(
    "foreign",
    [
        replace(REGISTERED, strategies=(PluginConfig("ewc"), EVIL)),
        replace(REGISTERED, backbone=EVIL),
        replace(REGISTERED, benchmark=EVIL),
        replace(REGISTERED, strategies=(PluginConfig("dgr", {"generator": "evil_module:X"}),)),
        replace(REGISTERED, strategies=(PluginConfig("mmcl:dgr", {"generator": "evil_module:X"}),)),
        replace(REGISTERED, backbone=PluginConfig("composite", {"towers": ("glyph-clip", "evil_module:X")})),
        replace(REGISTERED, backbone=PluginConfig("composite", {"towers": ("evil_module:X:width=3",)})),
        replace(REGISTERED, backbone=PluginConfig("composite", {"towers": ('composite:towers=["evil_module:X"]',)})),
    ],
)
def test_a_foreign_folder_imports_nothing_and_the_sentence_names_module_and_folder(
    tmp_path: Path, foreign: RunConfig
) -> None:
    folder = folder_with(foreign, tmp_path / "foreign")
    with pytest.raises(PluginError) as refusal:
        _ = RunFolder.open(folder).config
    for said in ("evil_module:X", str(tmp_path / "work" / "evil_module.py"), str(folder), "--trust"):
        assert said in str(refusal.value)
    assert not Path("ran").exists()
    assert "evil_module" not in sys.modules


def test_what_is_trusted_once_need_not_be_trusted_again_there_but_elsewhere(tmp_path: Path, cache: Path) -> None:
    foreign = replace(REGISTERED, backbone=EVIL)
    folder = folder_with(foreign, tmp_path / "foreign")
    assert RunFolder.open(folder, trust=True).config == foreign
    assert RunFolder.open(folder).config == foreign
    with pytest.raises(PluginError):
        _ = RunFolder.open(folder_with(foreign, tmp_path / "copy")).config
    other = replace(foreign, backbone=PluginConfig("evil_module:Y"))
    write_toml(other, folder / "config.toml")
    with pytest.raises(PluginError, match="evil_module:Y"):
        _ = RunFolder.open(folder).config


def test_another_file_of_that_name_is_not_what_was_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = replace(REGISTERED, backbone=EVIL)
    folder = folder_with(foreign, tmp_path / "foreign")
    note_trust(foreign, folder)
    require_trusted(foreign, "it", folder)
    monkeypatch.chdir(folder)
    (folder / "evil_module.py").write_text("")
    with pytest.raises(PluginError, match="evil_module"):
        require_trusted(foreign, "it", folder)


def test_a_run_that_names_it_when_it_begins_may_go_on(tmp_path: Path) -> None:
    own = replace(REGISTERED, backbone=EVIL)
    with claimed(tmp_path / "run") as folder:
        folder.begin(own, [], {})
    assert RunFolder.open(tmp_path / "run").config == own


def test_registered_names_loaded_modules_and_streams_made_in_python_need_no_trust(tmp_path: Path) -> None:
    for config in (
        REGISTERED,
        replace(REGISTERED, strategies=(PluginConfig("mmcl:ewc"),)),
        replace(REGISTERED, backbone=PluginConfig(f"{__name__}:X")),
        replace(REGISTERED, benchmark=PluginConfig("in-memory:pictures")),
        replace(REGISTERED, backbone=PluginConfig("openclip", {"weights": "local-dir/C:/models"})),
        replace(
            REGISTERED, backbone=PluginConfig("composite", {"towers": ("openclip:ViT-B-16/openai", "mmcl:openclip")})
        ),
    ):
        require_trusted(config, "it", tmp_path)


def test_a_cache_that_cannot_be_written_only_means_to_be_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MMCL_CACHE", str(tmp_path / "file"))
    foreign = replace(REGISTERED, backbone=EVIL)
    note_trust(foreign, tmp_path)
    with pytest.raises(PluginError):
        require_trusted(foreign, "it", tmp_path)
    with pytest.raises(PluginError, match="--trust"):
        require_trusted(foreign, "it", tmp_path)


def test_a_configuration_file_is_asked_like_a_folder(tmp_path: Path) -> None:
    path = folder_with(replace(REGISTERED, backbone=EVIL), tmp_path / "foreign") / "config.toml"
    with pytest.raises(PluginError, match=f"configuration {path}: it names 'evil_module:X'"):
        trusted_toml(path)
    assert trusted_toml(path, trust=True).backbone == EVIL
