"""From a dense network to a small one: compress it, or plan the cheapest design that keeps its accuracy."""
