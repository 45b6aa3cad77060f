"""A command as a process: its warnings, its signs, its errors."""

import codecs
import io
import sys
import warnings

from mmcl.cli.commands import app
from mmcl.console import make_console, say_on
from mmcl.errors import MMCLError
from mmcl.remarks import show_as_sentences

_SPELLED = "mmcl.spelled"  # how standard output and standard error write what their encoding does not have


def run_app() -> None:
    """Run a command: user errors are one sentence on standard error and exit code 2."""
    # avalanche imports qpsolvers, which misses solvers nobody here uses
    warnings.filterwarnings("ignore", message="no QP solver found")
    show_as_sentences()
    codecs.register_error(_SPELLED, _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_SPELLED)
    try:
        app()
    except MMCLError as error:
        say_on(make_console(stderr=True), f"error: {error}")
        sys.exit(2)


def _spelled(error: UnicodeError) -> tuple[str | bytes, int]:
    """Signs that everybody can read where there are some, else what Python would write."""
    if isinstance(error, UnicodeEncodeError) and error.object[error.start] == "±":
        return "+-", error.start + 1
    return codecs.backslashreplace_errors(error)
