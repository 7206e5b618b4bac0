"""Random weights: their laws, their encodings as bytes, and products computed from bit planes."""
