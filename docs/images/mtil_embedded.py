"""Draw the README's picture: the matrices of fine-tuning and ZSCL side by side.

python docs/images/mtil_embedded.py runs/demo/finetune runs/demo/zscl
"""

import sys
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmcl.evaluation.result_matrix import ResultMatrix
from mmcl.run_folder import RunFolder


def main(folders: list[str]) -> None:
    """Write ``mtil_embedded.png`` beside this file."""
    figure = Figure(figsize=(15, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, folder in zip(figure.subplots(1, len(folders)), folders, strict=True):
        results = RunFolder.open(Path(folder)).results
        ResultMatrix.from_dict(results).plot(axes)
        scores = "  ".join(f"{name} {results['summary'][name]:.1f}" for name in ("transfer", "avg", "last"))
        axes.set_title(f"{results['strategies'][0]['name']}, {results['edition']} edition: {scores}")
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=80)


if __name__ == "__main__":
    main(sys.argv[1:])
