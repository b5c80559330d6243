"""Figures as SVG, by matplotlib where it is installed."""

from __future__ import annotations

import importlib.util
import io
import re

from section import Figure

WIDTH, HEIGHT = 7.2, 4.2                # inches
COLOURS = ("#0b6e99", "#c1440e", "#3a7d44", "#7b4fa3", "#b8860b", "#444444", "#d6336c", "#2f9e9e")
MARKERS = "osD^vP*X"


def available() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def svg(figure: Figure) -> str:
    """The figure as an SVG element, the same for the same figure. The paper's own points are open and dashed."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    settings = {"svg.hashsalt": figure.title, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10,
                "axes.spines.top": False, "axes.spines.right": False}
    with plt.rc_context(settings):
        canvas, axes = plt.subplots(figsize=(WIDTH, HEIGHT), layout="constrained")
        measured = paper = 0
        for line in figure.series:
            index = paper if line.paper else measured
            measured, paper = measured + (not line.paper), paper + line.paper
            style = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)], "markersize": 5}
            if line.paper:
                style |= {"linestyle": "--", "markerfacecolor": "white", "linewidth": 1, "alpha": 0.8}
            axes.errorbar(line.x, line.y, line.errors or None, label=line.label, capsize=3, **style)
        axes.set(title=figure.title, xlabel=figure.x_label, ylabel=figure.y_label)
        for log, name in ((figure.log_x, "x"), (figure.log_y, "y")):
            if log:
                axes.set(**{f"{name}scale": "log"})
                axis = getattr(axes, f"{name}axis")
                axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
                axis.set_minor_formatter(NullFormatter())
        if not figure.log_x and all(x == int(x) for line in figure.series for x in line.x):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        if len(figure.series) > 1:
            axes.legend(frameon=False, fontsize=8.5)
        sink = io.StringIO()
        canvas.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(canvas)
    return _small(sink.getvalue())


def _small(text: str) -> str:
    """The svg element alone, coordinates of two decimals."""
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"(\d+\.\d{2})\d+", r"\1", text)
    return re.sub(r"\n\s*", "\n", text)
