"""Exact kernels of networks: of infinite width, and of one network with its weights."""

from hntk.kernels.empirical import empirical_kernels, empirical_parts
from hntk.kernels.empirical_operator import EmpiricalNTK
from hntk.kernels.exact import exact_kernels
from hntk.kernels.problem import Kernels
from hntk.kernels.sharded import sharded_kernels
from hntk.kernels.stax import stax_kernel_fn
from hntk.kernels.stored import store_kernels

__all__ = [
    "EmpiricalNTK",
    "Kernels",
    "empirical_kernels",
    "empirical_parts",
    "exact_kernels",
    "sharded_kernels",
    "stax_kernel_fn",
    "store_kernels",
]
