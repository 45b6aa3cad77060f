"""Draw the picture of docs/spatial_disorder.md: the curves of several runs below each other.

python docs/images/spatial_disorder.py runs/disorder/finetune runs/disorder/zscl
"""

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from mmcl.evaluation.disorder_curves import DisorderCurves
from mmcl.evaluation.report import strategies_label
from mmcl.run_folder import RunFolder


def main(folders: list[str]) -> None:
    """Write ``spatial_disorder.png`` beside this file."""
    figure = Figure(figsize=(11, 4 * len(folders)), dpi=75, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for part, folder in zip(figure.subfigures(len(folders), 1, squeeze=False)[:, 0], folders, strict=True):
        run = Path(folder)
        results = RunFolder.open(run).results
        DisorderCurves.from_dict(json.loads((run / "disorder.json").read_text("utf-8"))).plot(part)
        part.suptitle(f"{results['benchmark']}, {results['edition']} edition: {strategies_label(results)}")
    top = max(axes.get_ylim()[1] for axes in figure.axes)
    for axes in figure.axes:
        axes.set_ylim(0, top)
    canvas.draw()
    # few colours make a small file
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(48).save(
        Path(__file__).with_suffix(".png"), optimize=True
    )


if __name__ == "__main__":
    main(sys.argv[1:])
