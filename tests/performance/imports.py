"""What do declaring, showing and explaining cost beyond ``import torch``, in CPU seconds?

    python tests/performance/imports.py

Each is done in a process of its own, five times in turn with a process that imports torch alone; printed are the
medians and ranges of the differences. Nothing is asserted; ``tests/architecture`` counts what is loaded.
"""

import statistics
import subprocess
import sys

TURNS = 5
DONE = {
    "import mmcl.learning.strategy": "import mmcl.learning.strategy",
    "import mmcl.learning.learner": "import mmcl.learning.learner",
    **{
        f"mmcl {line}": f"from mmcl.cli import app; app({line.split()!r}, standalone_mode=False)"
        for line in ("list", "show ewc", "explain ewc", "explain zscl --benchmark mtil")
    },
}


def seconds(code: str) -> float:
    """CPU time of a process that imports torch and runs ``code``."""
    timed = f"import sys, time, torch\n{code}\nprint('\\n', time.process_time(), file=sys.stderr)"
    child = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
    return float(child.stderr.split()[-1])


if __name__ == "__main__":
    for what, code in DONE.items():
        beyond = [seconds(code) - seconds("pass") for _ in range(TURNS)]
        print(f"{what:32} {statistics.median(beyond):5.2f} ({min(beyond):.2f} to {max(beyond):.2f})")
