"""Compression of dense networks: draw a ternary one, plan the cheapest design, and check whether the theory applies."""
