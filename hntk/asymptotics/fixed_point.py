r"""The solution of the fixed point that the self-energies of a bulk satisfy, on and off the spectrum.

The equation, $u = \text{map}(u)$ with the Jacobian J, is stated in :mod:`hntk.asymptotics.bulk`. Several u solve it,
but only one is the limit:

* for z in the upper half plane, or real and inside the spectrum, the solution with $\mathrm{Im}\,u \le 0$;
* for real z outside the spectrum, the real solution at which J has spectral radius below 1.

In the half plane the map takes $\{\mathrm{Im}\,u \le 0\}$ into its inside, so by the theorem of Earle and Hamilton
(1970) it has exactly one fixed point there (docs/theory.md, "The fixed point"). Newton's method may therefore start
anywhere, if its result is checked. Where the check fails, it starts again from the solution at a point further up in
the half plane, and from ever lower ones.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Complex

from hntk.asymptotics.bulk import Bulk
from hntk.asymptotics.covariances import Numbers

# The residual at which the equation counts as solved, relative to |u|.
RESIDUAL = 1e-11
# The last step must be this small too, relative to |u|: beside an edge, a small residual is not a small error.
LAST_STEP = 1e-9
# Steps of Newton's method, and of the damped iteration that helps it off a bad start.
NEWTON_STEPS, DAMPED_STEPS = 30, 200
# The way down from the upper half plane: each height is this part of the one before.
DESCENT, HEIGHTS = 0.25, 20
# Complex numbers in the largest array of one batch of points.
BATCH = 4_000_000


def solve_self_energies(bulk: Bulk, z: Complex[np.ndarray, " Z"]) -> Complex[np.ndarray, "Z u"]:
    """Return the self-energies at points of the closed upper half plane other than 0, cK flat numbers a point.

    On the real axis inside the spectrum, they are the limit from above.

    Raises
    ------
    ArithmeticError
        Where no right solution is found, as at an edge of the spectrum.
    """
    width = max(1, BATCH // bulk.numbers_per_point)
    solution = np.zeros((len(z), bulk.unknowns), complex)
    previous = None
    for low in range(0, len(z), width):
        batch = slice(low, low + width)
        solution[batch] = _solve_batch(bulk, z[batch], previous)
        # Where one point fills a batch, its neighbour's solution is a good start.
        previous = solution[batch] if width == 1 else None
    return solution


def _solve_batch(bulk: Bulk, z: Numbers, start: Numbers | None) -> Complex[np.ndarray, "Z u"]:
    """Return the solutions at z by Newton's method, started from solutions at points ever nearer to z."""
    z = z.astype(complex)
    above = np.zeros((len(z), bulk.unknowns), complex)
    above[:] = bulk.starting_self_energies.ravel()
    solution, unsolved = above.copy(), np.arange(len(z))
    if start is not None:
        solution, right = _newton(bulk, z, start)
        unsolved = unsolved[~right]
    for k in range(HEIGHTS):
        if unsolved.size == 0:
            return solution
        above[unsolved] = _solve_above(bulk, z[unsolved] + 1j * bulk.scale * DESCENT**k, above[unsolved])
        solution[unsolved], right = _newton(bulk, z[unsolved], above[unsolved])
        unsolved = unsolved[~right]
    if unsolved.size:
        raise ArithmeticError(
            f"the fixed point of the resolvent is not found at z = {z[unsolved[0]]:.6g}, as at an edge of the "
            "spectrum: move z off it."
        )
    return solution


def _solve_above(bulk: Bulk, z: Numbers, start: Numbers) -> Numbers:
    """Return solutions in the upper half plane; where Newton's method fails, the damped iteration comes first."""
    solution, right = _newton(bulk, z, start)
    wrong = ~right
    if np.any(wrong):
        damped, points = start[wrong], z[wrong]
        for _ in range(DAMPED_STEPS):
            image = bulk.self_energy_map(_by_class(bulk, damped), points)
            damped = 0.5 * (damped + image.reshape(damped.shape))
        solution[wrong], _ = _newton(bulk, points, damped)
        diverged = ~np.all(np.isfinite(solution), axis=1)
        solution[diverged] = start[diverged]
    return solution


def _by_class(bulk: Bulk, self_energy: Numbers) -> Numbers:
    """Return flat self-energies (Z, cK) in the shape (Z, c, K)."""
    return self_energy.reshape(len(self_energy), *bulk.shape)


def _newton(bulk: Bulk, z: Numbers, start: Numbers) -> tuple[Numbers, Bool[np.ndarray, " Z"]]:
    """Return what Newton's method reaches, and where that is the right solution."""
    identity = np.eye(start.shape[1])
    solution, right = start.astype(complex), np.zeros(len(z), bool)
    active = np.arange(len(z))
    with np.errstate(all="ignore"):
        for k in range(NEWTON_STEPS):
            current, points = solution[active], z[active]
            image, jacobian = bulk.map_and_jacobian(_by_class(bulk, current), points)
            residual = current - image.reshape(current.shape)
            step = _newton_steps(identity - jacobian, residual)
            solution[active] = current = current - step
            solved = np.all(np.abs(residual) <= RESIDUAL * np.abs(current), axis=1)
            settled = np.all(np.abs(step) <= LAST_STEP * np.abs(current), axis=1)
            done = solved & (settled | (k + 1 == NEWTON_STEPS))
            solution[active[done]], right[active[done]] = _checked(points[done], current[done], jacobian[done])
            active = active[~done & np.all(np.isfinite(current), axis=1)]
            if active.size == 0:
                break
    return solution, right


def _newton_steps(matrices: Numbers, residuals: Numbers) -> Numbers:
    """Return the solutions of the linear systems, by least squares if one is singular; NaN where not finite."""
    finite = np.all(np.isfinite(matrices), axis=(1, 2))
    steps = np.full_like(residuals, np.nan)
    try:
        steps[finite] = np.linalg.solve(matrices[finite], residuals[finite][..., None])[..., 0]
    except np.linalg.LinAlgError:
        steps[finite] = np.einsum("zij,zj->zi", np.linalg.pinv(matrices[finite]), residuals[finite])
    return steps


def _checked(z: Numbers, self_energy: Numbers, jacobian: Numbers) -> tuple[Numbers, Bool[np.ndarray, " Z"]]:
    """Return self-energies, real where they are complex by rounding only, and whether each is the right solution."""
    real = np.all(np.abs(np.imag(self_energy)) <= 1e-9 * np.abs(self_energy), axis=1) & (np.imag(z) == 0)
    radius = np.max(np.abs(np.linalg.eigvals(np.where(real[:, None, None], jacobian, 0.0))), axis=1)
    right = np.where(real, radius < 1 + 1e-6, np.all(np.imag(self_energy) <= 0, axis=1))
    return np.where(real[:, None], np.real(self_energy), self_energy), right
