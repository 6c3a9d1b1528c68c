"""Draws the panels that it reads as JSON from standard input, and writes the SVG file of its argument.

A program of its own, because matplotlib is in an environment of its own.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
# Text stays text, and the same numbers give the same file.
matplotlib.rcParams.update(
    {"svg.fonttype": "none", "svg.hashsalt": "mindo", "font.family": "sans-serif", "font.size": 10}
)

from matplotlib import pyplot  # noqa: E402 - after the backend is chosen

# Okabe and Ito's blue for ours, greys for the others: told apart by lightness as well.
OURS, FLOOR, PEER = "#0072B2", "#4D4D4D", "#B3B3B3"
COLOURS = {"ours": OURS, "floor": FLOOR}


def draw(chart, file):
    panels = chart["panels"]
    bars = max(len(panel["bars"]) for panel in panels)
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.2 * len(panels), 1.3 + 0.5 * bars), sharey=True)
    for axis, panel in zip(axes, panels, strict=True):
        places = range(len(panel["bars"]))
        for place, bar in zip(places, panel["bars"], strict=True):
            value = bar["value"] or 0
            hatch = "////" if bar["smaller"] else None
            colour = COLOURS.get(bar["contender"], PEER)
            axis.barh(place, value, color=colour, edgecolor="white", hatch=hatch, linewidth=0.5, height=0.66)
            axis.annotate(bar["label"], (value, place), xytext=(4, 0), textcoords="offset points", va="center")
        axis.set_title(panel["title"], loc="left", fontsize=11, fontweight="bold")
        axis.set_yticks(list(places), [bar["title"] for bar in panel["bars"]])
        axis.invert_yaxis() if axis is axes[0] else None
        axis.margins(x=0.42)
        axis.set_xlim(left=0)
        axis.xaxis.set_visible(False)
        axis.tick_params(left=False)
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.spines["left"].set_color("#CCCCCC")
    figure.suptitle(chart["title"], x=0.01, ha="left", fontsize=12)
    figure.text(0.01, 0.01, chart["note"], fontsize=9, color="#4D4D4D")
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(file, format="svg", metadata={"Date": None, "Title": chart["title"]})


draw(json.load(sys.stdin), Path(sys.argv[1]))
