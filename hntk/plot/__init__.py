"""Figures of the library's own objects with matplotlib; each function is one call that returns Axes.

Functions draw on the Axes they are given as ``ax``, or make a new figure. None shows a figure, and none changes
matplotlib's settings beyond its own call. Functions of one panel return Axes, those of several an array of them.

Colours are those of Okabe and Ito, with a purple and a gray: readers tell them apart with every common kind of colour
vision, and lines and marks differ in shape too. Figures are made to be read at a width of 800 pixels.
"""

import hntk.plot._requirement  # noqa: F401  first, so that a missing matplotlib is an error that names the extra
from hntk.plot.activation_shares import activation
from hntk.plot.densities import density
from hntk.plot.eigenspaces import eigenvectors
from hntk.plot.error_curves import convergence, learning_curve
from hntk.plot.match_quality import match
from hntk.plot.network_sizes import layers
from hntk.plot.spectra import spectrum

__all__ = [
    "activation",
    "convergence",
    "density",
    "eigenvectors",
    "layers",
    "learning_curve",
    "match",
    "spectrum",
]
