"""The entry point of the command line."""

import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

from rich.console import Console

from mmcl.cli.terminal import app
from mmcl.errors import MMCLError
from mmcl.remarks import Remark

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Entry point: user errors are one sentence on standard error and exit code 2."""
    # "python -c" puts the working directory first, where a file may bear the name of any optional module
    sys.path[:] = [place for place in sys.path if place]
    os.environ.setdefault("PYTHONSAFEPATH", "1")  # nor shall the processes that a run starts look there
    # avalanche imports qpsolvers, which misses solvers nobody here uses
    warnings.filterwarnings("ignore", message="no QP solver found")
    warnings.formatwarning = _warning_line(warnings.formatwarning)
    try:
        app()
    except MMCLError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {error}", markup=False)
        sys.exit(2)


def _warning_line(usual: "Callable[..., str]") -> "Callable[..., str]":
    """Remarks are sentences for the user, who need not know which line of which file said them."""

    def line(message: Warning | str, category: type[Warning], *place: Any) -> str:
        return f"note: {message}\n" if issubclass(category, Remark) else usual(message, category, *place)

    return line
