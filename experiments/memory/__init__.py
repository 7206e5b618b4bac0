"""The study of accuracy against memory: networks of every kind within a given number of bytes."""
