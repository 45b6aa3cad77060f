"""Write docs/compatibility.md: ``python docs/compatibility.py``. A test says when that is due."""

import warnings
from pathlib import Path

PAGE = Path(__file__).with_name("compatibility.md")


def main() -> None:
    """Try everything this distribution registers and write the page."""
    warnings.filterwarnings("ignore", message="no QP solver found")
    from mmcl.testing.compatibility import Compatibility

    PAGE.write_text(Compatibility.of("mmcl").markdown(), "utf-8")


if __name__ == "__main__":
    main()
