"""Kernels and what is computed with them."""
