PYTHON ?= python3
setup:
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q --no-deps --require-hashes -r requirements/build.txt
	.venv/bin/python -m pip install -q --no-deps --require-hashes --no-build-isolation -r requirements/lock.txt
	.venv/bin/python -m pip install -q --no-deps --no-build-isolation -e .
