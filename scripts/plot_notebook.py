#!/usr/bin/env python3
"""Draws the figures of `actium notebook` from its JSON: plot_notebook.py NOTEBOOK.json FOLDER.

Sections that the JSON lacks are left out. Exit status 3 says that matplotlib is missing.
"""
import json
import os
import sys

try:
    import matplotlib
except ImportError:
    sys.exit(3)
matplotlib.use("Agg")
import matplotlib.pyplot as plt

BLUE, ORANGE, TEAL, PINK, RED, GREY = "#0077BB", "#EE7733", "#009988", "#EE3377", "#CC3311", "#555555"
CURVE_COLOURS = [BLUE, ORANGE, TEAL, PINK, RED]

plt.rcParams.update({
    "figure.figsize": (8, 5), "savefig.dpi": 150, "savefig.bbox": "tight",
    "font.size": 12, "axes.titlesize": 14, "legend.framealpha": 0.9, "legend.edgecolor": "none", "lines.linewidth": 2,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.8, "axes.axisbelow": True,
})


def draw_lines(ax, values, title, ylabel):
    """One line for each list in `values` but x."""
    for colour, (label, y) in zip(CURVE_COLOURS, ((k, v) for k, v in values.items() if k != "x")):
        ax.plot(values["x"], y, label=label, color=colour)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.set(title=title, xlabel="Input $x$", ylabel=ylabel, xlim=(values["x"][0], values["x"][-1]))
    ax.legend(loc="upper left")


def curves(ax, values):
    draw_lines(ax, values, "Activation function curves", "Activation")


def derivatives(ax, values):
    draw_lines(ax, values, "Activation derivatives", "Derivative")


def temperature(ax, values):
    """Grouped bars: the probabilities of each class at each temperature."""
    rows, width = values["rows"], 0.26
    for i, (row, colour) in enumerate(zip(rows, CURVE_COLOURS)):
        places = [k + (i - (len(rows) - 1) / 2) * width for k in range(len(row["probs"]))]
        label = f"$\\tau$ = {row['tau']:g}, entropy {row['entropy']:.2f} nats"
        bars = ax.bar(places, row["probs"], width * 0.94, label=label, color=colour)
        ax.bar_label(bars, fmt="%.3f", fontsize=9, padding=2)
    ax.set(title="Softmax of [2, 1, $-$1]: temperature flattens", xlabel="Class", ylabel="Probability",
           xticks=range(len(rows[0]["probs"])), ylim=(0, 1))
    ax.grid(axis="x", visible=False)
    ax.legend()


def jacobian(ax, values):
    """The matrix as a heat map, each entry written in its cell."""
    matrix = values["jacobian"]
    largest = max(abs(entry) for row in matrix for entry in row)
    image = ax.imshow(matrix, cmap="RdBu_r", vmin=-largest, vmax=largest)
    for i, row in enumerate(matrix):
        for j, entry in enumerate(row):
            ax.text(j, i, f"{entry:.4f}", ha="center", va="center",
                    color="white" if abs(entry) > 0.6 * largest else "black")
    classes = range(len(matrix))
    ax.set(title="Softmax Jacobian", xlabel="Logit $j$", ylabel="Probability $i$", xticks=classes,
           yticks=classes)
    ax.grid(visible=False)
    ax.figure.colorbar(image, label=r"$\partial p_i / \partial z_j$")


def compare(ax, values, measured, expected, title, xlabel):
    """Bars for what was measured, black marks for what theory says."""
    labels = list(values)
    bars = ax.bar(labels, [values[k][measured] for k in labels], 0.5, color=BLUE, label="measured")
    ax.bar_label(bars, fmt="%.4f", padding=4)
    ax.plot(labels, [values[k][expected] for k in labels], "_", color="black", markersize=48,
            markeredgewidth=2, label="expected")
    ax.set(title=title, xlabel=xlabel, ylabel="Variance of the output")
    ax.margins(y=0.15)
    ax.grid(axis="x", visible=False)
    handles = ax.get_legend_handles_labels()
    ax.legend(*handles, handlelength=1, markerscale=0.3)


def activation_variance(ax, values):
    compare(ax, values, "var", "expected_var", "Output variance under a standard normal input", "Activation")


def one_layer(ax, values):
    compare(ax, values, "var", "predicted_var", "Output variance after one layer, 256 to 128", "Layer")


FIGURES = {1: ("01_curves", curves), 4: ("04_derivatives", derivatives), 17: ("17_temperature", temperature),
           18: ("18_jacobian", jacobian), 20: ("20_activation_variance", activation_variance),
           22: ("22_one_layer", one_layer)}


def main():
    json_file, folder = sys.argv[1:3]
    with open(json_file, encoding="utf-8") as file:
        sections = json.load(file)["sections"]
    for section in sections:
        if section["section"] not in FIGURES:
            continue
        name, draw = FIGURES[section["section"]]
        figure, ax = plt.subplots()
        draw(ax, section["values"])
        figure.savefig(os.path.join(folder, name + ".png"))
        plt.close(figure)


if __name__ == "__main__":
    main()
