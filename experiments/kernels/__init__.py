"""Studies of kernels: spectra, convergence, levels, matching, and regression with them on mixtures and data sets."""
