"""Limits from random matrix theory beside simulations."""
