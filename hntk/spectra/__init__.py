"""Spectra of symmetric matrices and operators: leading eigenpairs, densities, and distances between two kernels."""
