"""Accuracy in a given number of bytes, and everything one would pick instead."""
