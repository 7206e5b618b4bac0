"""Deployment of compressed networks: whole numbers, C99 and ONNX."""

from hntk.deploy.c import CProgram, to_c
from hntk.deploy.compiled import CLibrary, CompilerError, c_library
from hntk.deploy.onnx import to_onnx, write_onnx

__all__ = ["CLibrary", "CProgram", "CompilerError", "c_library", "to_c", "to_onnx", "write_onnx"]
