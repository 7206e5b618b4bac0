"""Tests and documented examples compute in float64; which pages of the documentation are run otherwise."""

import jax

jax.config.update("jax_enable_x64", True)

# the settings and tutorials of the site are run by its build, and docs/tutorial.md by tests/docs/test_tutorial.py
collect_ignore = ["docs/conf.py", "docs/tutorial.md"]
collect_ignore_glob = ["docs/tutorials/*.py", "docs/auto_tutorials/*", "docs/reference/generated/*"]
