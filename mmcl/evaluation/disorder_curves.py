"""DisorderCurves: the spatial disorder of a run after each experience, against the one before and against the start."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcl.escaping import plain
from mmcl.evaluation.markdown_table import markdown_table
from mmcl.evaluation.spatial_disorder import Bins, Disorder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

# what is drawn: label, line, value in degrees
_CURVES: tuple[tuple[str, str, Callable[[Disorder], float]], ...] = (
    ("rotation of images", "C0-o", lambda d: d.image.rotation),
    ("rotation of texts", "C1-o", lambda d: d.text.rotation),
    ("inter-modal deviation", "C3-s", lambda d: d.deviation),
    ("topology change of images", "C0:", lambda d: d.image.topology_change),
    ("topology change of texts", "C1:", lambda d: d.text.topology_change),
)

# what else a report shows, in the order of ``_cells``
_FURTHER = ("pair angle change", "forgotten", "learned", "residual of images", "residual of texts")


@dataclass
class DisorderCurves:
    """Two curves over the experiences of a run.

    Attributes:
        experiences: names, in the order of learning.
        consecutive: from the model before each experience to the one after it.
        cumulative: from the model before any training to the one after each experience.
        bins: of all histograms.
    """

    experiences: list[str] = field(default_factory=list)
    consecutive: list[Disorder] = field(default_factory=list)
    cumulative: list[Disorder] = field(default_factory=list)
    bins: Bins = field(default_factory=Bins)

    def put(self, position: int, experience: str, consecutive: Disorder, cumulative: Disorder) -> None:
        """The values after the experience at a position; those behind it, if any, are dropped."""
        self.experiences[position:] = [experience]
        self.consecutive[position:] = [consecutive]
        self.cumulative[position:] = [cumulative]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = zip(self.experiences, self.consecutive, self.cumulative, strict=True)
        return {
            "unit": "degrees",
            "rotation_bins": list(self.bins.rotation),
            "topology_bins": list(self.bins.topology),
            "rows": [
                {"experience": name, "consecutive": step.to_dict(), "cumulative": total.to_dict()}
                for name, step, total in rows
            ],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "DisorderCurves":
        """The inverse of ``to_dict``."""
        rows = stored["rows"]
        return cls(
            [row["experience"] for row in rows],
            [Disorder.from_dict(row["consecutive"]) for row in rows],
            [Disorder.from_dict(row["cumulative"]) for row in rows],
            Bins(tuple(stored["rotation_bins"]), tuple(stored["topology_bins"])),
        )

    def markdown(self, picture: str) -> str:
        """A section of a report.

        Args:
            picture: file name of what ``plot`` has drawn.
        """
        header = ["after learning", *(label for label, _, _ in _CURVES), *_FURTHER]
        lines = ["## Spatial disorder", "", f"![spatial disorder]({picture})", ""]
        for since, disorders in (("the experience before", self.consecutive), ("the start", self.cumulative)):
            rows = [[name, *_cells(disorder)] for name, disorder in zip(self.experiences, disorders, strict=True)]
            lines += [f"Since {since}; angles in degrees, means over the probe:", "", *markdown_table(header, rows), ""]
        return "\n".join(lines)

    def plot(self, target: "Path | str | FigureBase") -> None:
        """Draw both curves side by side, on a matplotlib figure or into an image file."""
        if not isinstance(target, (str, Path)):
            self._draw_both(target)
            return
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6 + 0.7 * len(self.experiences), 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        self._draw_both(figure)
        figure.savefig(target)

    def _draw_both(self, figure: "FigureBase") -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        self._draw(left, self.consecutive, "since the experience before")
        self._draw(right, self.cumulative, "since the start")
        left.set_ylim(bottom=0)  # only now: it fixes the upper end for both
        left.set_ylabel("degrees, mean over the probe")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)

    def _draw(self, axes: "Axes", disorders: Sequence[Disorder], title: str) -> None:
        for label, line, value in _CURVES:
            axes.plot([value(disorder) for disorder in disorders], line, label=label, markersize=3)
        axes.set_xticks(
            range(len(self.experiences)), list(map(plain, self.experiences)), rotation=45, ha="right", parse_math=False
        )
        axes.set_xlabel("after")
        axes.set_title(title)


def _cells(disorder: Disorder) -> list[str]:
    degrees = [value(disorder) for _, _, value in _CURVES]
    rates = [disorder.forgotten, disorder.learned]
    residuals = [disorder.image.residual, disorder.text.residual]
    return [
        *(f"{value:.1f}" for value in degrees),
        f"{disorder.pair_angle_change:+.1f}",
        *(f"{100 * value:.1f} %" for value in rates),
        *(f"{value:.3f}" for value in residuals),
    ]
