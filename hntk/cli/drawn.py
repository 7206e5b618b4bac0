"""Draw hidden layers of a number of kilobytes, and fit their readout: nothing but that is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Real

from hntk._utils.labels import as_labels, is_regression
from hntk.asymptotics import MixtureLaw, estimate_law
from hntk.asymptotics.finite_width import RandomFeatures
from hntk.cli.data_files import DataFile
from hntk.cli.fitted import FACTOR_BYTES, Candidate, Fitted, Program, Standardization
from hntk.data.normalization import Normalization
from hntk.data.scaling import scale_samples
from hntk.deploy.rounding import on_grid, to_integers
from hntk.matching import Match, match
from hntk.networks.classifier import Classifier
from hntk.networks.drawing import draw_network
from hntk.networks.network import Network
from hntk.networks.regressor import Regressor
from hntk.readouts.ridge import RidgeClassifier, RidgeRegressor, fit_ridge
from hntk.training.table_size import table_bytes
from hntk.weights.laws import WeightLaw

# More zeros would save no byte of orthogonal blocks.
LAW = WeightLaw("orthogonal", sparsity=0.5)
ORIGINAL = ("relu", "relu")
LEVELS = (4, 8)
# Widths of the first layer, as multiples of the last one's.
RATIOS = (1, 2)
WIDEST = 4096
# How often a network is measured at most.
TRIES = 8
# An accuracy that is so far from the predicted one contradicts it.
FAR = 0.05
# A network that takes this share of the budget fills it.
FULL = 0.995
READOUT_BITS = 8
# Samples that networks are compared on, and those by which a network whose size alone matters is rounded.
COMPARED, FEW = 10_000, 64
# The theory's law needs so many samples of every class.
LEAST_PER_CLASS = 8


@dataclass(frozen=True, eq=False)
class ScaledData:
    """Training samples as drawn networks take them.

    Attributes
    ----------
    x : (n, p) array of float32
        Samples of root mean square norm 1.
    y : (n,) array
        Their labels.
    pixels : bool
        Whether raw samples are bytes.
    normalization : Normalization
        What brings raw samples, or standardised ones, to x.
    """

    x: Float[np.ndarray, "n p"]
    y: np.ndarray
    pixels: bool
    normalization: Normalization

    @classmethod
    def of(cls, x: Real[np.ndarray, "n p"], y: np.ndarray) -> ScaledData:
        """Centre and scale samples."""
        scaled = scale_samples(x, x[:1], "scale")
        normalization = Normalization(scaled.centre.astype(np.float32), scaled.scale)
        return cls(scaled.x_train, y, x.dtype == np.uint8, normalization)

    @property
    def regression(self) -> bool:
        """Whether labels are quantities."""
        return is_regression(self.y)

    @property
    def classes(self) -> np.ndarray:
        """The labels, sorted; empty for quantities."""
        return np.empty(0) if self.regression else np.unique(self.y)

    @property
    def tau0(self) -> float:
        """Root mean square norm of the samples."""
        return float(np.sqrt(np.mean(np.sum(self.x.astype(np.float64) ** 2, axis=1))))


class Design(NamedTuple):
    """Widths and activations of a network that fits."""

    widths: tuple[int, ...]
    match: Match
    bytes: int


def fit_drawn(
    data: DataFile,
    kilobytes: float,
    *,
    levels: int | None = None,
    seed: int = 0,
    columns: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Fitted:
    """Draw networks that fill a budget, choose one by validation samples, and fit its readout on all.

    Parameters
    ----------
    data : DataFile
        The samples.
    kilobytes : float
        Largest size of the C program's tables, in thousand bytes.
    levels : int, optional
        Levels of the activations; by default 4 and 8 are tried.
    seed : int
        Seed of the random weights.
    columns : bool
        Whether each coordinate is brought to the same size.
    progress : callable, optional
        Called with what is being done.

    Returns
    -------
    Fitted
        The program of raw samples. For classes the theory's accuracy is the prediction, for a Gaussian mixture of the
        same means and covariances; for quantities it is R² on validation samples.

    Raises
    ------
    ValueError
        If nothing fits into so many kilobytes.
    """
    tell = progress or (lambda _: None)
    standard = Standardization.of(data.x_train) if columns and not data.pixels else None
    x = data.x_train if standard is None else standard(data.x_train)
    samples = ScaledData.of(x, data.y_train)
    factors = 0 if standard is None else FACTOR_BYTES * x.shape[1]
    limit = 1000 * kilobytes - factors
    tell("matching activations")
    matches = [match(ORIGINAL, samples.tau0, count, alpha2=False) for count in ([levels] if levels else LEVELS)]
    designs = [_within(samples, matched, ratio, limit, seed) for matched in matches for ratio in RATIOS]
    fitting = [design for design in designs if design is not None]
    if not fitting:
        least = (min(_bytes(samples, matched, (1, 1), seed) for matched in matches) + factors) / 1000
        raise ValueError(f"no drawn layers fit into {kilobytes:g} kB: give --kilobytes {1.05 * least:.3g} or more.")
    rows = _compared(samples, fitting, seed, tell)
    chosen = max(range(len(rows)), key=lambda place: rows[place].validation or 0.0)
    best = fitting[chosen]
    tell(f"fitting the readout of {'-'.join(map(str, best.widths))} neurons")
    readout = fit_ridge(
        _draw(samples, best.match, best.widths, seed), samples.x, samples.y, normalization=samples.normalization
    )
    program = _in_integers(readout, samples, samples.x)
    program = program if standard is None else standard.undone(program)
    table = tuple(row._replace(bytes=row.bytes + factors, chosen=place == chosen) for place, row in enumerate(rows))
    validation = _validated(readout)
    if data.regression:
        return Fitted(program, table, validation, "on a tenth of the training samples", validation)
    predicted, by = rows[chosen].predicted, "by theory, for a Gaussian mixture of the same means and covariances"
    if predicted is not None and validation is not None and abs(predicted - validation) > FAR:
        by += "; validation samples say otherwise: this data is no such mixture (see hntk check)"
    return Fitted(program, table, predicted, by, validation)


def _validated(readout: RidgeClassifier | RidgeRegressor) -> float | None:
    """Return the accuracy or R² on validation samples, by which the ridge was chosen."""
    return readout.validation_accuracy if isinstance(readout, RidgeClassifier) else readout.validation_r2


def _in_integers(readout: Classifier | Regressor, samples: ScaledData, x: Float[np.ndarray, "n p"]) -> Program:
    """Return the program of a readout; x gives the unit of the input."""
    # One target is all that a regressor predicts, and few bits would be its resolution.
    bits = READOUT_BITS if isinstance(readout, Classifier) else 2 * READOUT_BITS
    program = to_integers(readout, x=x, pixels=samples.pixels, readout_bits=bits)
    assert isinstance(program, Program)
    return program


def _draw(samples: ScaledData, matched: Match, widths: Sequence[int], seed: int) -> Network:
    p = samples.x.shape[1]
    return on_grid(draw_network(matched.activations, widths, p, tau0=samples.tau0, law=LAW, key=jax.random.key(seed)))


def _bytes(samples: ScaledData, matched: Match, widths: Sequence[int], seed: int) -> int:
    """Return the bytes of the C tables of a network with some readout."""
    network, normalization = _draw(samples, matched, widths, seed), samples.normalization
    scores = 1 if samples.regression else samples.classes.size
    weights, offset = np.random.default_rng(0).normal(size=(widths[-1], scores)), np.zeros(scores)
    readout = (
        Regressor(network, weights, offset, normalization=normalization)
        if samples.regression
        else Classifier(network, samples.classes, weights, offset, normalization=normalization)
    )
    return table_bytes(_in_integers(readout, samples, samples.x[:FEW]))


def _within(samples: ScaledData, matched: Match, ratio: int, limit: float, seed: int) -> Design | None:
    """Return the widest network whose tables fit, or None if none does.

    Bytes grow with the last width almost along a line, which is followed from two widths.
    """

    def widths(last: int) -> tuple[int, int]:
        return min(WIDEST, ratio * last), last

    low, size = 1, _bytes(samples, matched, widths(1), seed)
    if size > limit:
        return None
    high, slope = WIDEST, float(max(2, samples.classes.size))
    best = Design(widths(low), matched, size)
    for _ in range(TRIES):
        last = min(high, low + int((limit - best.bytes) / slope))
        if last <= low:
            break
        size = _bytes(samples, matched, widths(last), seed)
        if size > limit:
            high = last - 1
            slope = (size - best.bytes) / (last - low)
            continue
        slope = max(1.0, (size - best.bytes) / (last - low))
        low, best = last, Design(widths(last), matched, size)
        if size > FULL * limit:
            break
    return best


def _law(samples: ScaledData) -> MixtureLaw | None:
    """Return the law of a Gaussian mixture like the samples; None without classes, or where one has too few samples."""
    if samples.regression:
        return None
    _, index = as_labels(samples.y, len(samples.y))
    if np.bincount(index).min() < LEAST_PER_CLASS:
        return None
    try:
        return estimate_law(samples.x, index)
    except (ValueError, ArithmeticError):
        return None


def _compared(
    samples: ScaledData, designs: Sequence[Design], seed: int, tell: Callable[[str], None]
) -> list[Candidate]:
    """Return the designs with their predicted accuracy, and that on validation samples, fitted on at most 10,000."""
    tell("estimating means and covariances")
    law = _law(samples)
    rows = np.sort(np.random.default_rng(seed).permutation(len(samples.x))[:COMPARED])
    few = replace(samples, x=samples.x[rows], y=samples.y[rows])
    found = []
    for design in designs:
        levels = design.match.level_counts
        tell(f"trying {'-'.join(map(str, design.widths))} neurons of {levels[0]} levels")
        readout = fit_ridge(_draw(samples, design.match, design.widths, seed), few.x, few.y)
        zeros, theory = (LAW.sparsity,) * len(levels), _predicted(law, len(samples.x), design)
        found.append(
            Candidate(design.widths, levels, zeros, (), None, design.bytes, theory, _validated(readout), chosen=False)
        )
    return found


def _predicted(law: MixtureLaw | None, n: int, design: Design) -> float | None:
    """Return the accuracy that theory predicts for a design that is fitted on n samples of a law."""
    if law is None:
        return None
    best = RandomFeatures(law, n, design.match.coefficients, LAW).best(np.array(design.widths, float))
    return None if best is None else best.accuracy
