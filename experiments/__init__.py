"""Experiments with hntk: `python -m experiments.run` lists them."""
