"""What comes from data is shown as it is: it is no code to a terminal, Markdown, LaTeX or matplotlib."""

import io
import re
import unicodedata
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from rich.console import Console

from mmcl.console import say_on
from mmcl.escaping import latex, markdown, plain, plain_lines
from mmcl.evaluation.markdown_table import markdown_table
from mmcl.evaluation.result_matrix import ResultMatrix

SIGNS = st.sampled_from("\x1b\x07\x9b\r\n\t\x00\u202e\u2028[]()/|\\`*_<>&$%#{}~^:!ab 1é字")
TEXTS = st.text(SIGNS | st.characters(), max_size=30)


@given(TEXTS)
def test_nothing_but_what_can_be_seen_reaches_a_terminal(text: str) -> None:
    for colours in (None, "truecolor"):
        console = Console(file=io.StringIO(), force_terminal=colours is not None, color_system=colours, width=40)  # type: ignore[arg-type]
        say_on(console, text)
        written = console.file.getvalue()  # type: ignore[attr-defined]
        assert written == plain_lines(text) + "\n"
        assert not [c for c in written if unicodedata.category(c) in ("Cc", "Cs", "Zl") and c != "\n"]


@pytest.mark.parametrize("text", ["[bold]a[/bold]", ":smile:", "[link=http://x]y[/link]", "[/]"])
def test_markup_and_names_of_pictures_are_printed_as_they_are(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    say_on(Console(), text)
    assert capsys.readouterr().out == f"{text}\n"


@given(TEXTS)
def test_text_in_one_line_stays_in_one_and_can_be_read_back(text: str) -> None:
    assert len(plain(text).splitlines()) <= 1
    if "\\" not in text:
        assert (
            re.sub(r"\\x..|\\u....|\\U.{8}|\\[nrt]", lambda c: c[0].encode().decode("unicode_escape"), plain(text))
            == text
        )


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_a_row_in_markdown_has_as_many_cells_as_it_was_given_and_no_code(cells: list[str]) -> None:
    (line,) = markdown_table(cells, [])[:1]
    assert "\n" not in line
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == len(cells) + 1
    unescaped = re.sub(r"\\[\\`|*~$\]<&_]", " ", line)
    assert not re.search(r"[`*$~]|\][(\[:]|<[A-Za-z/!?]|&#?\w+;", unescaped)


def test_what_is_no_code_in_markdown_is_left_alone() -> None:
    for text in ("fwt_zeroshot", "p < 0.001", "60.0 ± 1.2", "ewc:strength=3, lr=1e-4", "[new] birds"):
        assert markdown(text) == text
    assert markdown("[a](b)") == r"[a\](b)"
    assert markdown("a|b\n<img>_x_") == r"a\|b\\n\<img>\_x\_"


@given(TEXTS)
def test_text_in_latex_is_neither_command_nor_comment_nor_cell(text: str) -> None:
    known = r"\\textbackslash\{\}|\\textasciitilde\{\}|\\textasciicircum\{\}|\$\\pm\$|\$[<>]\$|\\[&%$#_{}]"
    rest = re.sub(known, "", latex(text))
    assert not set(rest) & set("\\&%$#_{}~^\n")


def test_names_are_drawn_as_they_are() -> None:
    names = ["$5 and $6", "a\x1b\nb", r"$\frac{"]
    matrix = ResultMatrix(names, metric="$x$")
    matrix.set_zero_shot([10.0, 20.0, 30.0])
    figure = Figure()
    axes = figure.subplots()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matrix.plot(axes)
        figure.savefig(io.BytesIO())
    assert [label.get_text() for label in axes.get_xticklabels()] == [names[0], r"a\x1b\nb", names[2]]
