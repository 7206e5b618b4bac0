"""Readers of models that other frameworks have trained, one module a framework."""
