r"""Laws of random weights: entries of mean 0, variance 1 and finite fourth moment, independent or in orthogonal blocks.

The limits of the kernels depend on no other property of the law. The error at finite width depends on the fourth
moment, and is smaller where rows are orthogonal.

* Ternary weights are $\{0, \pm1\}/\sqrt{1-\varepsilon}$ with $P(0) = \varepsilon$.
* Sparse Gaussian weights keep a random share $1-\varepsilon$ of a Gaussian matrix.
* Pruned Gaussian weights keep the largest: $|w| > t = \Phi^{-1}(1 - \tfrac{1-\varepsilon}{2})$. With the standard
  normal density φ, their moments before scaling are $E[w^2; |w| > t] = 1 - \varepsilon + 2t\varphi(t)$ and
  $E[w^4; |w| > t] = 3(1-\varepsilon) + 2(t^3 + 3t)\varphi(t)$.
* Orthogonal ternary weights are blocks of Hadamard matrices (:mod:`hntk.weights.orthogonal`), with ε = 1 − 2⁻ᵏ.
* Orthogonal Gaussian weights are blocks $\sqrt{p}\,Q$ with orthogonal p × p matrices Q of the Haar law; where there
  are fewer rows than p in the last block, they are its first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, log2, sqrt

from jax import Array

from hntk._utils.arguments import as_choice, as_count, as_key, as_number
from hntk._utils.arrays import brief
from hntk._utils.float64 import float64
from hntk._utils.memory import check_room
from hntk.weights import draws
from hntk.weights.orthogonal import MOST_GROUPS, ORDERS
from hntk.weights.orthogonal_drawing import draw_orthogonal
from hntk.weights.orthogonal_layout import BlockLayout
from hntk.weights.weight_matrix import Kind, Weights

# bytes a weight that drawing needs temporarily, at most: random bits and uniforms in float64
TRANSIENT_BYTES = 16
# the same of a square block of orthogonal Gaussian weights: float64 and its factors
TRANSIENT_BLOCK_BYTES = 36
LAWS_WITH_ZEROS = ("ternary", "orthogonal", "sparse_gaussian", "pruned_gaussian")
ORTHOGONAL_LAWS = ("orthogonal", "orthogonal_gaussian")


@dataclass(frozen=True)
class WeightLaw:
    """A law of random weights.

    Attributes
    ----------
    name : str
        ``"gaussian"``, ``"ternary"``, ``"student_t"``, ``"bernoulli"`` (±1), ``"int8_gaussian"`` (rounded to 8 bits),
        ``"sparse_gaussian"`` (a random share set to 0), ``"pruned_gaussian"`` (the smallest set to 0),
        ``"orthogonal"`` (ternary, in orthogonal blocks) or ``"orthogonal_gaussian"`` (dense orthogonal blocks). With
        one key, those that round or set to 0 do so to the very matrix that ``"gaussian"`` draws.
    sparsity : float
        Probability ε of 0 in the ternary and the sparse laws, in [0, 1). Orthogonal ternary weights have ε = 1 − 2⁻ᵏ.
    degrees : float
        Degrees of freedom of Student's t, above 4 so that the fourth moment is finite.
    order : str
        Order of the inputs of orthogonal ternary weights that see raw data: ``"random"``, which is stored;
        ``"generated"`` by a few instructions; or ``"none"``, for data whose neighbouring coordinates are not alike.
        Weights that see the outputs of a random layer need none.

    Raises
    ------
    ValueError
        If the name is unknown or a parameter is out of range.
    """

    name: str = "gaussian"
    sparsity: float = 0.5
    degrees: float = 5.0
    order: str = "random"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in _DRAW:
            raise ValueError(f"unknown weight law {brief(self.name)}; known are {', '.join(sorted(_DRAW))}.")
        sparsity, degrees = as_number(self.sparsity), as_number(self.degrees)
        for name, value in (("sparsity", sparsity), ("degrees", degrees)):
            if isfinite(value):
                object.__setattr__(self, name, value)
        if self.name in LAWS_WITH_ZEROS and not 0.0 <= sparsity < 1.0:
            raise ValueError(f"sparsity is the share of zeros and must lie in [0, 1), got {brief(self.sparsity)}.")
        if self.name == "orthogonal":
            _check_groups(sparsity)
        as_choice(self.order, "order", ORDERS)
        if self.name == "student_t" and not 4.0 < degrees < inf:
            raise ValueError(
                f"Student's t has a finite fourth moment, which the theory needs, only above 4 degrees of freedom, and "
                f"at infinitely many it is 'gaussian'; got degrees={brief(self.degrees)}."
            )

    @property
    def fourth_moment(self) -> float:
        """Fourth moment E[W⁴] at E[W²] = 1, which sets the error at finite width."""
        nu, kept = self.degrees, 1.0 - self.sparsity
        second, fourth = draws.tail_moments(self.sparsity)
        return {
            "gaussian": 3.0,
            "int8_gaussian": 3.0,
            "sparse_gaussian": 3.0 / kept,
            "pruned_gaussian": fourth / second**2,
            "bernoulli": 1.0,
            "ternary": 1.0 / kept,
            "orthogonal": 1.0 / kept,
            "orthogonal_gaussian": 3.0,
            "student_t": 3.0 * (nu - 2.0) / (nu - 4.0),
        }[self.name]

    @property
    def zeros(self) -> float:
        """Probability that a weight is 0."""
        return self.sparsity if self.name in LAWS_WITH_ZEROS else 0.0

    @property
    def kind(self) -> Kind:
        """Kind of the matrices that the law draws."""
        kinds: dict[str, Kind] = {"bernoulli": "sign", "int8_gaussian": "int8"}
        kinds |= {"ternary": "ternary", "orthogonal": "ternary"}
        return kinds.get(self.name, "float32")

    @property
    def orthogonal(self) -> bool:
        """Whether rows are orthogonal within blocks."""
        return self.name in ORTHOGONAL_LAWS

    @property
    def groups(self) -> int:
        """Number 1/(1 − ε) of groups of an orthogonal ternary block; 1 of other laws."""
        return round(1.0 / (1.0 - self.sparsity)) if self.name == "orthogonal" else 1

    @property
    def behind_a_layer(self) -> WeightLaw:
        """The law of weights that see the outputs of a random layer, which have no order of their own."""
        return replace(self, order="none")

    def block_bits(self, shape: tuple[int, int]) -> int:
        """Return the bits of orthogonal ternary blocks of a shape."""
        return BlockLayout(shape, self.groups).stored_bits(self.order)

    def draw(self, key: Array, shape: tuple[int, int]) -> Weights:
        """Draw a matrix, the same whatever precision JAX is set to.

        Parameters
        ----------
        key : jax.Array
            JAX random key.
        shape : (int, int)
            Outputs and inputs.

        Returns
        -------
        WeightMatrix or OrthogonalMatrix
            The matrix.

        Raises
        ------
        ValueError
            If ``key`` is no random key, or ``shape`` is not two positive whole numbers.
        MemoryError
            If the matrix does not fit into memory; nothing is drawn then.
        """
        size = as_shape(shape)
        self.check_room([size])
        key = as_key(key)
        # JAX draws other random bits in other precisions
        with float64():
            return _DRAW[self.name](self, key, size)

    def check_room(self, shapes: Sequence[tuple[int, int]]) -> None:
        """Check that matrices of these shapes fit into memory together.

        Parameters
        ----------
        shapes : sequence of (int, int)
            Outputs and inputs of each matrix.

        Raises
        ------
        MemoryError
            If they do not; the message says how much they would take.
        """
        bytes_each = 1 if self.kind != "float32" else 4
        sizes = [outputs * inputs for outputs, inputs in shapes]
        if self.name == "orthogonal":
            sizes = [self.block_bits(shape) for shape in shapes]
        transient = TRANSIENT_BLOCK_BYTES if self.name == "orthogonal_gaussian" else TRANSIENT_BYTES
        check_room(
            bytes_each * sum(sizes) + transient * max(sizes, default=0),
            f"drawing weights of shapes {', '.join(map(str, shapes))}",
            "Make the network narrower, or the samples shorter.",
        )


def as_shape(shape: object) -> tuple[int, int]:
    """Return ``shape`` as (outputs, inputs).

    Raises
    ------
    ValueError
        If it is not two positive whole numbers.
    """
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise ValueError(f"shape must be (outputs, inputs), two positive whole numbers; got {brief(shape)}.")
    return as_count(shape[0], "shape[0]"), as_count(shape[1], "shape[1]")


def is_orthogonal_sparsity(sparsity: float) -> bool:
    """Return whether orthogonal ternary weights can have a share ``sparsity`` in [0, 1) of zeros."""
    groups = 1.0 / (1.0 - sparsity)
    return groups <= MOST_GROUPS and abs(groups - 2 ** round(log2(groups))) <= 1e-9 * groups


def _check_groups(sparsity: float) -> None:
    """Refuse a sparsity other than 1 − 2⁻ᵏ, and name its neighbours."""
    if not is_orthogonal_sparsity(sparsity):
        below = min(2 ** int(log2(1.0 / (1.0 - sparsity))), MOST_GROUPS // 2)
        raise ValueError(
            f"orthogonal ternary weights have a sparsity of 1 - 1/g for a power of two g up to {MOST_GROUPS}, got "
            f"{brief(sparsity)}: its neighbours are {1 - 1 / below} and {1 - 0.5 / below}. Independent weights "
            "('ternary') take any sparsity."
        )


_DRAW: dict[str, Callable[[WeightLaw, Array, tuple[int, int]], Weights]] = {
    "gaussian": lambda law, key, shape: draws.gaussian(key, shape),
    "int8_gaussian": lambda law, key, shape: draws.int8_gaussian(key, shape),
    "sparse_gaussian": lambda law, key, shape: draws.sparse_gaussian(key, shape, law.sparsity),
    "pruned_gaussian": lambda law, key, shape: draws.pruned_gaussian(key, shape, law.sparsity),
    "student_t": lambda law, key, shape: draws.student_t(key, shape, law.degrees),
    "bernoulli": lambda law, key, shape: draws.bernoulli(key, shape),
    "ternary": lambda law, key, shape: draws.ternary(key, shape, law.sparsity),
    "orthogonal": lambda law, key, shape: draw_orthogonal(key, shape, law.groups, law.order, sqrt(law.groups)),
    "orthogonal_gaussian": lambda law, key, shape: draws.orthogonal_gaussian(key, shape),
}


def weight_law(law: str | WeightLaw, **parameters: float | str) -> WeightLaw:
    """Return a law of random weights.

    Parameters
    ----------
    law : str or WeightLaw
        The name of a law, see :class:`WeightLaw`, or a law, which is returned as it is.
    **parameters : float or str
        ``sparsity``, ``degrees`` or ``order`` of the law.

    Returns
    -------
    WeightLaw
        The law.

    Raises
    ------
    ValueError
        If the name is unknown, a parameter is out of range, or parameters are given beside a law.

    Examples
    --------
    >>> import hntk
    >>> hntk.weight_law("ternary", sparsity=2 / 3).fourth_moment
    3.0
    """
    if isinstance(law, WeightLaw):
        if parameters:
            raise ValueError(f"{', '.join(parameters)} cannot be given beside a law: it has its own, {law}.")
        return law
    unknown = [name for name in parameters if name not in ("sparsity", "degrees", "order")]
    if unknown:
        raise ValueError(f"a weight law has sparsity=, degrees= and order=, not {', '.join(unknown)}.")
    return WeightLaw(law, **parameters)  # type: ignore[arg-type]
