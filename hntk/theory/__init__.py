"""The coefficients of a network in the theory's equivalents, and the equivalent kernels that they give."""
