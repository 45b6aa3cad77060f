"""Write docs/compatibility.md: ``python docs/compatibility.py``. A test says when that is due.

All pairs learn before the page is written; that takes minutes. ``compatibility.json`` beside it keeps the refusals that
no declaration foresees.
"""

import json
import warnings
from pathlib import Path

PAGE = Path(__file__).with_name("compatibility.md")


def main() -> None:
    """Try everything this distribution registers and write the page."""
    warnings.filterwarnings("ignore", message="no QP solver found")
    import torch

    from mmcl.testing.compatibility import Compatibility

    torch.set_num_threads(1)  # toy streams are too small for more
    tried = Compatibility.of("mmcl").tried()
    late = [[*trial, reason] for trial, reason in tried.late.items()]
    PAGE.with_suffix(".json").write_text(json.dumps(late, indent=1) + "\n", "utf-8")
    PAGE.write_text(tried.markdown(), "utf-8")


if __name__ == "__main__":
    main()
