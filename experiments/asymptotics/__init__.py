"""Studies that compare limits of random matrix theory with simulations."""
