"""Compressed networks in other forms: C99 and ONNX."""
