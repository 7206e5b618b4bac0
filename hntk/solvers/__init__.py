"""Large symmetric positive definite systems: block conjugate gradients, and preconditioners made of columns."""
