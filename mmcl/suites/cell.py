"""Cell: one run of a suite, in a process of its own that ends when the suite does."""

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import torch

from mmcl.config import RunConfig
from mmcl.errors import MMCLError
from mmcl.remarks import show_as_sentences

with warnings.catch_warnings():
    # avalanche imports qpsolvers, which misses solvers nobody here uses
    warnings.filterwarnings("ignore", message="no QP solver found")
    from mmcl.running import resume, run_config

REFUSED = 2  # exit code of a run that ended with a sentence
STOPPED = 130

_GRACE = 5.0  # seconds to close files and loggers in after the suite has gone


def learn(config: RunConfig, threads: int, log: str) -> None:
    """Run or continue a cell, and say everything in a file.

    Args:
        config: with its folder in ``out``.
        threads: of the processor, for tensors.
        log: the file, to which is added; its folder is there.
    """
    _write_to(log)
    show_as_sentences()
    # Ctrl-C in a terminal reaches every process; the suite alone decides, and says so by SIGTERM
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_end_with_suite, daemon=True).start()
    torch.set_num_threads(threads)
    assert config.out is not None
    try:
        if (Path(config.out) / "config.toml").exists():
            resume(config.out, data_root=config.benchmark.options.get("data_root"))
        else:
            run_config(config)
    except MMCLError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(REFUSED)


def _write_to(log: str) -> None:
    """Whatever is printed goes there, also by libraries that are not written in Python."""
    with open(log, "a", encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    faulthandler.enable(2)


def _stop(*_: Any) -> None:
    sys.exit(STOPPED)


def _end_with_suite() -> None:
    suite = multiprocessing.parent_process()
    assert suite is not None
    suite.join()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE)
    os._exit(STOPPED)
