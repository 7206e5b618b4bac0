"""What estimators with a network share that a C program can run: the program, and a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from hntk.deploy.c import CProgram, to_c
from hntk.deploy.c_choice import Choice
from hntk.deploy.c_values import Layout
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.networks.saving import save


class ProgramWriter(BaseEstimator):
    """An estimator whose other base has a network of whole numbers, and a model of hntk that files hold."""

    model_: Any
    to_integers: Callable[[], IntegerClassifier | IntegerRegressor]

    def to_c(self, name: str = "hntk_net", *, layouts: Choice | Sequence[Layout] | None = None) -> CProgram:
        """Return a C99 program that takes raw samples and predicts without floating point.

        Parameters
        ----------
        name : str, default="hntk_net"
            An identifier of C: the files' name, and the prefix of what they declare.
        layouts : str or sequence of str, optional
            How weights are stored, see :func:`hntk.deploy.to_c`.

        Returns
        -------
        CProgram
            The program; its method ``write`` writes the files to a folder.

        Raises
        ------
        NotIntegerError
            If sums could pass 2²⁴.
        ValueError
            If samples were whitened or brought to unit norm, or the name or a layout cannot be written in C.
        """
        return to_c(self.to_integers(), name, layouts=layouts)

    def save(self, path: str | os.PathLike[str]) -> int:
        """Write the network, its readout and its normalisation to a file that :func:`hntk.load` reads.

        The file holds ``model_`` and not this estimator's parameters: use pickle or joblib to keep these.

        Parameters
        ----------
        path : str or path-like
            Name of the file, which is replaced as a whole or not at all.

        Returns
        -------
        int
            Bytes of the file.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        check_is_fitted(self)
        return save(self.model_, path)
