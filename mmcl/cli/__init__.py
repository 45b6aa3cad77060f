"""The command line. Importing it loads neither torch nor avalanche: heavy work is imported where it is done."""

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmcl.cli.commands import app

__all__ = ["app", "main"]


def main() -> None:
    """The command ``mmcl``, as its entry point calls it."""
    # "python -c" puts the working directory first, where a file may bear the name of any optional module
    sys.path[:] = [place for place in sys.path if place]
    os.environ.setdefault("PYTHONSAFEPATH", "1")  # nor shall the processes that a run starts look there
    try:
        from mmcl.cli.entry import run_app  # half a second, in which Ctrl-C is as likely as later

        run_app()
    except KeyboardInterrupt:
        print("interrupted before the command began")
        sys.exit(130)


def __getattr__(name: str) -> Any:
    if name == "app":
        from mmcl.cli.commands import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
