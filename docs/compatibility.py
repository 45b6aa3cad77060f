"""Write docs/compatibility.md: ``python docs/compatibility.py``. A test says when that is due."""

import warnings
from pathlib import Path

from mmcl.registry import BACKBONES, STRATEGIES, entries

PAGE = Path(__file__).with_name("compatibility.md")


def main() -> None:
    """Try everything this distribution registers and write the page."""
    warnings.filterwarnings("ignore", message="no QP solver found")
    from mmcl.testing.compatibility import Compatibility

    own = {group: [e.name for e in entries(group) if e.distribution == "mmcl"] for group in (STRATEGIES, BACKBONES)}
    PAGE.write_text(Compatibility(own[STRATEGIES], own[BACKBONES]).markdown(), "utf-8")


if __name__ == "__main__":
    main()
