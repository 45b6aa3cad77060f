"""Every block of README.md and of docs/**/*.md does what it shows.

One test plays the reader of one page: in an empty folder, with one Python interpreter and one shell, from the first
block to the last. docs/contributing.md says how blocks are marked. A block that is not run is listed in ``NOT_RUN``.
"""

import ast
import os
import re
import shlex
import shutil
import site
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from glob import glob
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest
from markdown_it import MarkdownIt
from PIL import Image

from mmcl import cli, registry
from mmcl.cli import terminal

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_RUN = {
    ("README.md", "minutes; the demonstration and the suite have tests of their own"),
    ("README.md", "it needs the official data and the weights of ViT-B/16"),
    ("docs/benchmarks/xtail.md", "it needs the official data and the weights of ViT-B/16"),
    ("docs/benchmarks/cifar100.md", "it needs the official data and the weights of ViT-B/16"),
    ("docs/benchmarks/cub200.md", "it needs the official data and the weights of ViT-B/16"),
    ("docs/benchmarks/imagenet_r.md", "it needs the official data and the weights of ViT-B/16"),
    ("docs/benchmarks/miniimagenet.md", "it needs the official data and the weights of ViT-B/16"),
    ("docs/benchmarks/own.md", "shop/ and its kin are yours"),
    ("docs/benchmarks/mtil.md", "it needs the official data"),
    ("docs/benchmarks/p9d.md", "it needs the official data and the weights of a multilingual CLIP"),
    ("docs/benchmarks/validation.md", "two minutes"),
    ("docs/contributing.md", "it makes an environment and takes minutes"),
    ("docs/contributing.md", "the repository is the place for these, not an empty folder"),
    ("docs/defaults.md", "some forty runs of half a minute to four minutes"),
    ("docs/example_plugin/README.md", "minutes; tests/end_to_end/test_example_plugin.py runs them"),
    ("docs/performance.md", "it times the machine, in the repository, for minutes"),
    ("docs/performance.md", "three of a minute each"),
    ("docs/results.md", "18 runs of two to ten minutes"),
    ("docs/results.md", "15 runs of half a minute"),
    ("docs/results.md", "30 runs of half a minute"),
    ("docs/results.md", "33 runs of ten seconds to a minute and a half"),
    ("docs/results.md", "21 runs of half a minute to eight minutes"),
    ("docs/results.md", "24 runs of half a minute to seven minutes"),
    ("docs/results.md", "9 runs of one to eight minutes"),
    ("docs/results.md", "36 runs of one to seven minutes"),
    ("docs/spatial_disorder.md", "two runs of two to five minutes"),
    ("docs/strategies/cpe_clip.md", "it needs the official data and the weights of ViT-B/16"),
    ("docs/strategies/ddas.md", "it trains for half an hour"),
    ("docs/strategies/diki.md", "it needs the official data and the weights of ViT-B/16"),
    ("docs/strategies/rapf.md", "it needs the official data and the weights of ViT-B/16"),
    ("docs/strategies/s_iprompts.md", "it needs the official data and the weights of ViT-B/16"),
    ("docs/strategies/s_liprompts.md", "it needs the official data and the weights of ViT-B/16"),
    ("docs/strategies/s_liprompts.md", "two minutes"),
    ("docs/strategies/zero_shot_argmax.md", "it trains for minutes"),
    ("docs/strategies/zscl.md", "it needs the official data and a GPU"),
    ("docs/write_a_strategy.md", "it publishes"),
}
INSTRUCTIONS = {
    "python": {"", "file", "replaces", "not-run"},
    "sh": {"", "not-run"},
    "toml": {"file"},
    "output": {""},  # what the block before it prints
    "text": {""},  # no code
}
WIDTH = 100  # of tables on the command line


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the instruction behind it, and the number of its first line of content."""

    page: str
    line: int
    language: str
    instruction: str
    argument: str
    content: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    name = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
    for token in MarkdownIt().parse(page.read_text("utf-8")):
        assert token.type != "code_block", f"{name}:{token.map}: an indented block; put it between fences"
        if token.type == "fence":
            language, _, rest = token.info.strip().partition(" ")
            instruction, _, argument = (part.strip() for part in rest.partition(":"))
            assert token.map is not None
            yield Block(name, token.map[0] + 2, language, instruction, argument, token.content)


class Reader:
    """Does what a page says, in the working directory."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.folder = Path.cwd()
        self.interpreter = ModuleType("__main__")
        patch.setitem(sys.modules, "__main__", self.interpreter)
        patch.setattr(sys, "path", [str(self.folder), *sys.path])
        patch.setattr(terminal.output, "width", WIDTH)
        patch.setenv("PATH", os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
        patch.setenv("OMP_NUM_THREADS", "1")

    def follow(self, page: Path) -> None:
        printed = ""
        if (page.parent / "pyproject.toml").exists() and page.parent != ROOT:
            shutil.copytree(page.parent, self.folder, dirs_exist_ok=True)  # the page of a package is read beside it
        for block in blocks(page):
            assert block.instruction in INSTRUCTIONS.get(block.language, ()), f"{block.place}: unknown kind of block"
            if block.instruction == "not-run":
                assert block.argument, f"{block.place}: say why it is not run"
            elif block.instruction == "file":
                (self.folder / block.argument).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / block.argument).write_text(block.content, "utf-8")
            elif block.instruction == "replaces":
                replace_functions(self.folder / block.argument, block)
            elif block.language == "output":
                compare(block, printed)
            elif block.language in ("python", "sh"):
                printed = self.python(block) if block.language == "python" else self.shell(block)

    def python(self, block: Block) -> str:
        printed = StringIO()
        code = compile("\n" * (block.line - 1) + block.content, block.page, "exec")
        with redirect_stdout(printed):
            exec(code, vars(self.interpreter))
        return printed.getvalue()

    def shell(self, block: Block) -> str:
        """One command after the other; a failure shows as the line "error: ..." and ends the block."""
        printed = ""
        for command in re.sub(r"\\\n\s*", " ", block.content).splitlines():
            words = [name for word in shlex.split(command, comments=True) for name in sorted(glob(word)) or [word]]
            if words[:1] == ["mmcl"]:
                text, code = self.mmcl(words[1:])
            elif words[:3] == ["pip", "install", "--editable"]:
                text, code = self.install(words[3])
            else:
                done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=400, check=False)
                text, code = done.stdout + done.stderr, done.returncode
            printed += text
            assert code == (2 if text.startswith("error: ") else 0), f"{block.place}: {command}: {code}\n{text}"
        return printed

    def mmcl(self, arguments: list[str]) -> tuple[str, int]:
        """The entry point in this process, which saves the imports."""
        printed = StringIO()
        self.patch.setattr(sys, "argv", ["mmcl", *arguments])
        with redirect_stdout(printed), redirect_stderr(printed):
            try:
                cli.main()
            except SystemExit as stop:
                return printed.getvalue(), int(stop.code or 0)
        return printed.getvalue(), 0

    def install(self, package: str) -> tuple[str, int]:
        """Into an environment of its own, whose libraries are those of the tests: nothing is fetched."""
        environment = self.folder / ".environment"
        if not environment.exists():
            venv.create(environment, symlinks=True)
        (packages,) = environment.glob("lib/python*/site-packages")
        (packages / "libraries.pth").write_text(f"import site; site.addsitedir({site.getsitepackages()[0]!r})\n")
        options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
        python = environment / "bin" / "python"
        done = subprocess.run(
            [python, "-m", "pip", "install", *options, "--editable", package],
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        self.patch.setenv("PATH", os.pathsep.join((str(python.parent), os.environ["PATH"])))
        site.addsitedir(str(packages))
        registry.entries.cache_clear()
        return done.stdout + done.stderr, done.returncode

    def leave(self) -> None:
        """Forget what only this page has installed or imported."""
        registry.entries.cache_clear()
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(self.folder)):
                del sys.modules[name]


def replace_functions(file: Path, block: Block) -> None:
    """Put the functions of a block into the places of those of the same names."""
    for new in ast.parse(block.content).body:
        assert isinstance(new, ast.FunctionDef), f"{block.place}: only functions replace functions"
        lines = file.read_text("utf-8").splitlines()
        old = [node for node in ast.walk(ast.parse("\n".join(lines))) if getattr(node, "name", None) == new.name]
        assert len(old) == 1, f"{block.place}: {file.name} has {len(old)} functions {new.name}"
        (node,) = old
        assert isinstance(node, ast.FunctionDef)
        text = block.content.splitlines()[new.lineno - 1 : new.end_lineno]
        lines[node.lineno - 1 : node.end_lineno] = [(" " * node.col_offset + line).rstrip() for line in text]
        file.write_text("\n".join(lines) + "\n", "utf-8")


def compare(block: Block, printed: str) -> None:
    checker, flags = OutputChecker(), ELLIPSIS | NORMALIZE_WHITESPACE
    if not checker.check_output(block.content, printed, flags):
        raise AssertionError(
            f"{block.place}: the block before it prints\n{printed}\nbut the page says\n{block.content}"
        )


@pytest.fixture
def reader(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """In a folder with the data that pages take for the reader's own: a photo and a folder of two classes."""
    for number in range(10):
        for name, colour in (("mug", "white"), ("lamp", "black")):
            (tmp_path / "new_products" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40 + number, 40), colour).save(tmp_path / "new_products" / name / f"{number}.png")
    Image.new("RGB", (40, 40), "white").save(tmp_path / "image.jpg")
    monkeypatch.chdir(tmp_path)
    reader = Reader(monkeypatch)
    yield reader
    reader.leave()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page_does_what_it_shows(page: Path, embedded_mtil: Path, reader: Reader) -> None:
    reader.follow(page)


def test_blocks_that_are_not_run_are_known() -> None:
    found = {(block.page, block.argument) for page in PAGES for block in blocks(page) if block.instruction == "not-run"}
    assert found == NOT_RUN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```python\nprint(1)\n```\n```output\n2\n```\n", "the page says"),
        ("```python\nraise ValueError('broken')\n```\n", "broken"),
        ("```sh\nmmcl show nothing-of-that-name\n```\n```output\nall is well\n```\n", "the page says"),
        ("```sh\nfalse\n```\n", "false: 1"),
        ("```sh not-run:\nfalse\n```\n", "say why"),
        ("```python skip: never mind\nfalse\n```\n", "unknown kind of block"),
        ("```ruby\nputs 1\n```\n", "unknown kind of block"),
        ("text\n\n    mmcl list\n", "an indented block"),
    ],
)
def test_a_page_that_is_wrong_fails(text: str, message: str, tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "page.md").write_text(text)
    with pytest.raises(Exception, match=message):
        reader.follow(tmp_path / "page.md")


def test_a_function_in_a_block_takes_the_place_of_the_one_in_the_file(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "code.py").write_text("A = 1\n\n\ndef f():\n    return A\n\n\nB = f()\n")
    (tmp_path / "page.md").write_text("```python replaces: code.py\ndef f():\n    return A + 1\n```\n")
    reader.follow(tmp_path / "page.md")
    assert (tmp_path / "code.py").read_text() == "A = 1\n\n\ndef f():\n    return A + 1\n\n\nB = f()\n"
