"""Deployment of compressed networks: whole numbers, C99 and ONNX."""

from hntk.deploy.c import CProgram, to_c
from hntk.deploy.onnx import to_onnx, write_onnx

__all__ = ["CProgram", "to_c", "to_onnx", "write_onnx"]
