"""Readouts on a network's features: ridge, softmax, and ridge regression with the equivalent kernel."""
