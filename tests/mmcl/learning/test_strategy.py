"""The base class of strategies shows what they may override, and costs nothing that they do not need."""

import subprocess
import sys

from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.timeline import TIMELINE


def test_every_hook_is_there_with_a_sentence_in_the_order_of_time() -> None:
    written = [name for name in vars(StrategyPlugin) if name in TIMELINE]
    assert written == list(TIMELINE)
    assert all(len((getattr(StrategyPlugin, name).__doc__ or "").split()) > 3 for name in TIMELINE)


def test_importing_it_loads_neither_avalanche_nor_what_avalanche_loads() -> None:
    code = (
        "import sys\nimport mmcl.learning.strategy\n"
        "heavy = {'avalanche', 'jax', 'wandb', 'transformers', 'open_clip', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
