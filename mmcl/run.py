"""run: where version 0.1 kept ``mmcl.run`` and its kin; scripts that import them from here go on as they are.

The function takes the place of this module: ``mmcl.run`` can be called, whoever has imported from it.
"""

import sys

from mmcl.experiment import Experiment
from mmcl.results import RunResult
from mmcl.running import extend, resume, run, run_config

for _former in (Experiment, RunResult, extend, resume, run, run_config):
    setattr(run, _former.__name__, _former)
sys.modules[__name__] = run  # type: ignore[assignment]
