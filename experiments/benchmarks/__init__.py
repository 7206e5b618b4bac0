"""Benchmarks: time and memory of hntk beside its peers, each measured in a process of its own."""
