"""Spectra of matrices and operators: Lanczos, densities, comparisons of kernels."""
