r"""Shares of variance with which a centred network of a given depth has given final coefficients.

With equal linear shares p in all L layers, $x_l = q_l/p$ and $y_l = r_l^2/4p$, let $t_l = x_lp^{l-1}$ and $c_l =
x_ly_1\cdots y_{l-1}$. The recursions of :mod:`hntk.matching.variance_shares` are linear in them:

$$\frac{A_3}{A_1} = \sum_lt_l,\quad \frac{B_3}{A_1} = \sum_l(L + 1 + l)t_l,\quad
\frac{2A_2}{A_1} = \sum_lc_l,\quad \frac{2B_2}{A_1} = \sum_l(L + 1 - l)c_l,\qquad c_1 = t_1.$$

All of them are at least 0, so that a linear programme finds shares, or shows that no centred network of this depth has
coefficients in these proportions. It takes the point farthest from all bounds. Whether functions of few levels have
such shares is not known yet: they are where a search begins. As $B_1 = (L + 1)A_1$ always, the B of a network that is
not like that are reached up to one common factor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy
from jaxtyping import Float

from hntk.matching.joint_target import ZERO

# relative miss of a coefficient that is rounding
EXACT = 1e-11


def shares_reaching(final: Mapping[str, float], asked: Sequence[str], depth: int) -> Float[np.ndarray, "L 3"] | None:
    """Return shares (p, q, r) of every layer with which a network has the coefficients asked for; None if none has.

    Parameters
    ----------
    final : mapping of str to float
        A_1, …, B_3 by the names of the coefficients.
    asked : sequence of str
        Names of the coefficients to reach.
    depth : int
        Number of layers L.
    """
    if final["alpha1"] <= ZERO:
        return _even_shares(final, asked, depth)
    allocated = _allocation(final, asked, depth)
    if allocated is None:
        return None
    t, c = allocated
    p = final["alpha1"] ** (1 / depth)
    powers = p ** np.arange(depth)
    x = t / powers
    # Y_l = y_1 … y_l; where x is 0 any value does
    passed = np.where(x > 0, c / np.where(x > 0, x, 1.0), powers)
    y = np.append(passed[1:] / np.where(passed[:-1] > 0, passed[:-1], 1.0), p)
    return np.stack([np.full(depth, p), x * p, 2 * np.sqrt(p * y)], axis=1)


def _allocation(
    final: Mapping[str, float], asked: Sequence[str], depth: int
) -> tuple[Float[np.ndarray, " L"], Float[np.ndarray, " L"]] | None:
    """Return t and c."""
    layers, powers = np.arange(1, depth + 1), final["alpha1"] ** (np.arange(depth) / depth)
    weights = {
        "alpha3": (np.ones(depth), np.zeros(depth)),
        "beta3": (depth + 1.0 + layers, np.zeros(depth)),
        "alpha2": (np.zeros(depth), np.ones(depth)),
        "beta2": (np.zeros(depth), depth + 1.0 - layers),
    }
    names = [name for name in weights if name in asked]
    units = {"alpha": final["alpha1"], "beta": final["beta1"] / (depth + 1)}
    sizes = np.array([final[name] * (2 if name.endswith("2") else 1) / units[name[:-1]] for name in names])
    with_c = any(name.endswith("2") for name in names)
    # unknowns: t, then c without its first, which is that of t
    rows = np.array([np.concatenate([t + c * (layers == 1), c[1:]]) for t, c in (weights[name] for name in names)])
    unknowns, free = 2 * depth - 1, np.ones(2 * depth - 1, bool)
    for row, size in zip(rows, sizes, strict=True):
        free &= (row == 0) | (size > ZERO)
    if not with_c:
        free[depth:] = False
    unit = np.concatenate([powers, powers[1:]])
    solution = _inside(rows[:, free], sizes, unit[free])
    if solution is None:
        return None
    z = np.zeros(unknowns)
    z[free] = solution
    t = z[:depth]
    return t, np.append(t[:1], z[depth:]) if with_c else t


def _inside(
    rows: Float[np.ndarray, "m n"], sizes: Float[np.ndarray, " m"], unit: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"] | None:
    """Return z ≥ 0 with rows z = sizes and the largest least component in the given units; None if there is none."""
    scale = np.where(sizes > ZERO, sizes, 1.0)
    matrix, count = rows / scale[:, None], unit.size
    if not count:
        return np.zeros(0) if np.all(sizes <= ZERO) else None
    found = scipy.optimize.linprog(
        np.append(np.zeros(count), -1.0),
        A_ub=np.column_stack([-np.eye(count), unit]),
        b_ub=np.zeros(count),
        A_eq=np.column_stack([matrix, np.zeros(len(rows))]),
        b_eq=sizes / scale,
        bounds=[(0, None)] * (count + 1),
    )
    if found.x is None:
        return None
    z = np.maximum(found.x[:count], 0.0)
    used = z > 0
    # the programme stops at 1e-7 or so
    z[used] += np.linalg.lstsq(matrix[:, used], sizes / scale - matrix @ z, rcond=None)[0]
    reached = np.all(np.abs(matrix @ z - sizes / scale) <= EXACT)
    return z if reached and np.all(z >= 0) else None


def _even_shares(final: Mapping[str, float], asked: Sequence[str], depth: int) -> Float[np.ndarray, "L 3"] | None:
    """Return shares with one even layer m, the first one or else the second.

    There A_3 = q_m Π_{k<m} p_k² Π_{k>m} p_k, 2A_2/A_3 = Π_{k<m} r_k²/4p_k², B_3 = (L + 1 + m) A_3 and B_2 = (L + 1 -
    m) A_2.
    """
    if final["alpha3"] <= ZERO:
        return None
    for even in range(1, min(2, depth) + 1):
        ratios = {"alpha2": final["alpha2"] / final["alpha3"]}
        ratios["beta2"] = final["beta2"] / final["beta3"] * (depth + 1 + even) / (depth + 1 - even)
        wanted = [2 * ratios[name] for name in ratios if name in asked] or [1.0]
        if not np.allclose(wanted if even > 1 else [1.0, *wanted], wanted[0], rtol=EXACT, atol=0):
            continue
        equal = final["alpha3"] ** (1 / (depth + even - 1))
        p, q, r = np.full(depth, equal), np.zeros(depth), np.full(depth, 2 * equal)
        p[even - 1], q[even - 1] = 0.0, equal
        r[: even - 1] *= np.sqrt(wanted[0])
        return np.stack([p, q, r], axis=1)
    return None
