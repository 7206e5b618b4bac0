"""Figures of kernel spectra: histograms of eigenvalues, and leading eigenvectors against the samples."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.figures.style import COLOURS, STYLES, caption_above, line_style, plain_ticks

# Bins of histograms, and the share of the largest eigenvalue below which others are left out of them.
BINS, SMALLEST_SHARE = 70, 1e-6


def spectra_figure(panels: Mapping[str, Mapping[str, np.ndarray]], spikes: int, caption: str) -> Figure:
    """Draw histograms of eigenvalues, one panel a kernel; triangles mark the leading ones."""
    figure, axes = plt.subplots(1, len(panels), figsize=(4.9 * len(panels), 4.4), squeeze=False)
    for a, (title, spectra) in zip(axes[0], panels.items(), strict=True):
        _histogram(a, spectra, spikes, title)
    return caption_above(figure, caption)


def _histogram(axes: Axes, spectra: Mapping[str, np.ndarray], spikes: int, title: str) -> None:
    """Draw numbers of eigenvalues on logarithmic bins, the first spectrum filled."""
    positive = np.concatenate([v[v > SMALLEST_SHARE * v.max()] for v in spectra.values()])
    bins = np.geomspace(positive.min() * 0.95, positive.max() * 1.05, BINS)
    for i, (name, values) in enumerate(spectra.items()):
        if i == 0:
            axes.hist(values, bins=bins, color=COLOURS[0], alpha=0.3, label=name)
        else:
            axes.hist(values, bins=bins, histtype="step", lw=1.6, label=name, **line_style(i))
    for i, values in enumerate(spectra.values()):
        heights = np.full(spikes, 1.35 * 1.45**i)
        axes.plot(values[:spikes], heights, linestyle="none", marker="v", ms=6, color=COLOURS[i], mec="white", mew=0.5)
    axes.set(xscale="log", yscale="log", xlabel="eigenvalue", ylabel="number of eigenvalues", title=title)
    # Leave room for the legend above the bulk.
    axes.set_ylim(0.7, 8 * axes.get_ylim()[1])
    plain_ticks(axes.xaxis)
    axes.legend(loc="upper right")


def eigenvector_figure(vectors: Mapping[str, np.ndarray], labels: np.ndarray, caption: str) -> Figure:
    """Draw the leading eigenvectors (rows) of each kernel against the samples, ordered by class, with class means."""
    reference = next(iter(vectors.values()))
    count = reference.shape[1]
    figure, axes = plt.subplots(count, 1, figsize=(9, 1.9 * count + 0.6), sharex=True, squeeze=False)
    boundaries = np.flatnonzero(np.diff(labels)) + 1
    for k, a in enumerate(axes[:, 0]):
        for i, (name, v) in enumerate(vectors.items()):
            sign = np.sign(v[:, k] @ reference[:, k]) or 1.0
            a.plot(sign * v[:, k], color=COLOURS[i], lw=0.5, alpha=0.45 if i == 0 else 0.35)
            means = np.array([(sign * v[labels == c, k]).mean() for c in range(int(labels.max()) + 1)])
            a.plot(means[labels], color=COLOURS[i], linestyle=STYLES[i], lw=2.2, label=name)
        for b in boundaries:
            a.axvline(b, color="black", lw=0.8)
        a.set_ylabel(f"eigenvector {k + 1}")
    axes[-1, 0].set_xlabel("sample, class after class (line: class boundary)")
    axes[0, 0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=len(vectors))
    return caption_above(figure, caption)
