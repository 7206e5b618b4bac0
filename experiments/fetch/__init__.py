"""Data sets from the internet."""
