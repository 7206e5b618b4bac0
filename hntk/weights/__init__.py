"""Weights: their laws, encodings of few bits, and products computed from bit planes."""
