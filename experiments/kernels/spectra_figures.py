"""Figures of kernel spectra: histograms of eigenvalues, and leading eigenvectors against the samples."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import hntk.plot
from experiments.figures.style import WIDEST, caption_above, legend_handles
from hntk.spectra.comparison import Spectrum

# Panels in a row; further ones begin the next.
COLUMNS = 2


def spectra_figure(panels: Mapping[str, Mapping[str, Spectrum]], caption: str) -> Figure:
    """Draw histograms of eigenvalues, one panel a kernel; triangles mark those whose eigenvectors are known."""
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(WIDEST, 3.9 * rows + 0.4), squeeze=False)
    for a in grid.ravel()[len(panels) :]:
        a.set_axis_off()
    for a, (title, spectra) in zip(grid.ravel(), panels.items(), strict=False):
        hntk.plot.spectrum(spectra, ax=a)
        a.set_title(title, fontsize=10)
    return caption_above(figure, caption)


def eigenvector_figure(spectra: Mapping[str, Spectrum], labels: np.ndarray, caption: str) -> Figure:
    """Draw the leading eigenvectors of each kernel against the samples, those of one near-degenerate space aligned."""
    axes = hntk.plot.eigenvectors(spectra, labels)
    figure = axes[0].figure
    handles = legend_handles([axes[0]])
    axes[0].get_legend().remove()
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncol=len(handles))
    return caption_above(figure, caption)
