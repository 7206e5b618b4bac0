"""Theorems 1 and 2: the coefficients of a network, and the equivalent kernels that they give."""
