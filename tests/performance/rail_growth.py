"""What does an experience of RAIL cost after ten, a hundred and three hundred of them?

    python tests/performance/rail_growth.py [UNITS]

A miniature CLIP learns 300 experiences of two new classes with two samples each, in both forms. Printed are the CPU
time of an experience and of an answer to one test set, medians of the last nine, and the bytes that are kept, all after
10, 100 and 300 experiences; and what an experience adds. One thread; nothing is asserted.
"""

import sys
import time
import warnings
from statistics import median

import torch
from mmcl_strategies.parameter_efficient.analytic_head import AnalyticHead
from mmcl_strategies.parameter_efficient.rail import RAIL

from mmcl.backbones.openclip import tiny_clip
from mmcl.evaluation.metric import Accuracy
from mmcl.learning.learner import Learner
from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.scenario import CIL
from mmcl.testing.toy import toy_benchmark

AFTER = (10, 100, 300)


def main(units: int) -> None:
    """Both forms, one after the other."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    benchmark = toy_benchmark(CIL, AFTER[-1], per_class=2)
    print(f"{'form':8}{'experiences':>12}{'experience ms':>15}{'answer ms':>11}{'kept MB':>9}{'last adds kB':>14}")
    for form in ("primal", "dual"):
        strategy = RAIL(form=form, expansion=units)
        learner = Learner(
            model=MultimodalModel(tiny_clip()), scenario=CIL, strategies={"rail": strategy}, training={"device": "cpu"}
        )
        head, metric = learner.model.head, Accuracy()
        assert isinstance(head, AnalyticHead)
        learning, answering, kept = [], [], [0]
        for count, experience in enumerate(benchmark.train, start=1):
            began = time.process_time()
            learner.train(experience)
            learning.append(time.process_time() - began)
            began = time.process_time()
            learner.evaluate(benchmark.test[0], metric)
            answering.append(time.process_time() - began)
            kept.append(sum(buffer.nbytes for buffer in head.regression.buffers()))
            if count in AFTER:
                times = [1000 * median(seconds[-9:]) for seconds in (learning, answering)]
                print(
                    f"{form:8}{count:12}{times[0]:15.1f}{times[1]:11.1f}{kept[-1] / 1e6:9.2f}"
                    f"{(kept[-1] - kept[-2]) / 1e3:14.2f}"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
