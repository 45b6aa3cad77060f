"""``python -m mmcl`` is the command ``mmcl``."""

import sys


def _main() -> None:
    # Python has put the working directory first; everything that is imported from here on is installed
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        del sys.path[0]
    from mmcl.cli import main

    main()


if __name__ == "__main__":
    _main()
