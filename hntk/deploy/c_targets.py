"""The targets of a regressor as a C header describes them: fixed-point numbers and their precision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import frexp

from hntk.deploy.c_literals import whole_number
from hntk.networks.integer_regressor import IntegerRegressor


@dataclass(frozen=True)
class CTargets:
    """What a program says of the scores of its targets.

    Attributes
    ----------
    units : tuple of float
        A prediction is a score times this: one number for all targets, or one for each.
    rounding : tuple of float
        How far rounding the readout can move the prediction of each target; empty if that is not known.
    largest : int
        A bound of a score's magnitude.
    """

    units: tuple[float, ...]
    rounding: tuple[float, ...]
    largest: int

    @staticmethod
    def of(regressor: IntegerRegressor) -> CTargets:
        """Describe a regressor whose parts fit each other."""
        shared = not isinstance(regressor.unit, tuple)
        units = (regressor.unit,) if shared else regressor.unit
        return CTargets(tuple(map(float, units)), regressor.rounding, regressor.largest_score)  # type: ignore[arg-type]

    @property
    def unit_name(self) -> str:
        """How the macro's name ends that holds the units."""
        return "UNITS" if len(self.units) > 1 else "UNIT"

    def definitions(self, prefix: str) -> str:
        """Return the macros of a header, with what they mean."""
        whose = "the unit of its target" if len(self.units) > 1 else "this"
        lines = [
            f"/* A prediction is a score times {whose}, as a double. */",
            f"#define {prefix}_{self.unit_name} {_initialiser(map(repr, self.units))}",
        ]
        bits = [_fraction_bits(unit) for unit in self.units]
        if None not in bits:
            lines += [
                "/* That makes scores fixed-point numbers with so many bits behind the point. */",
                f"#define {prefix}_FRACTION_BITS {_initialiser(map(str, bits))}",
            ]
        if self.rounding:
            lines += [
                "/* Precision: rounding the readout moves no prediction by more than this, whatever the levels are. */",
                f"#define {prefix}_ROUNDING {_initialiser(map(repr, self.rounding))}",
            ]
        lines += [
            "/* No score is larger in magnitude. */",
            f"#define {prefix}_LARGEST_SCORE {whole_number(self.largest)}",
        ]
        return "\n".join(lines) + "\n"


def _initialiser(texts: Iterable[str]) -> str:
    """Return one constant, or several in the braces of an array's initialiser."""
    constants = list(texts)
    return constants[0] if len(constants) == 1 else f"{{{', '.join(constants)}}}"


def _fraction_bits(unit: float) -> int | None:
    """Return −log₂ of a power of two, or None for another number."""
    mantissa, exponent = frexp(unit)
    return 1 - exponent if mantissa == 0.5 else None
