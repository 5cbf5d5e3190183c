# `make demo`, `make test` and `make docs` go from a bare checkout to done. They work in .venv, which
# belongs to this file, and reinstall only after pyproject.toml or constraints.txt has changed.

PYTHON ?= python3
PIP_ARGS ?=
PYTEST_ARGS ?=
SPHINX_ARGS ?=
# Figures go to files, so no screen is needed.
MPLBACKEND ?= Agg
export MPLBACKEND

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test docs quote lint format clean

# Install the package with $(EXTRAS). The mark .incomplete outlives an interruption, and
# the next call then starts from nothing: pip takes a half-written package for a whole one.
define install
	@if [ -e .venv/.incomplete ] || [ ! -x .venv/bin/python ]; then rm -rf .venv; fi
	@mkdir -p .venv && touch .venv/.incomplete && rm -f .venv/.installed-*
	@[ -x .venv/bin/python ] || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install $(PIP_ARGS) -c constraints.txt -e '.$(EXTRAS)'
endef

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' Makefile
	@echo 'Variables: PYTHON (interpreter for .venv), PIP_ARGS (of pip install), PYTEST_ARGS (of pytest),'
	@echo '  SPHINX_ARGS (of sphinx-build).'

demo: .venv/.installed-demo ## install the package, run the quickstart, draw a figure
	.venv/bin/python examples/plot_00_quickstart.py
	@for figure in figures/*.png; do [ ! -e "$$figure" ] || echo "Figure: $$figure"; done

test: .venv/.installed-test ## install everything, run all tests
	.venv/bin/python -m pytest $(PYTEST_ARGS)

# Warnings are errors, and so is a name without a page. No network is needed.
docs: .venv/.installed-test ## build the documentation into docs/_build/html
	.venv/bin/python -m sphinx -b html -W -n --keep-going $(SPHINX_ARGS) docs docs/_build/html
	.venv/bin/python docs/check_site.py docs/_build/html

quote: .venv/.installed-test ## write the reports, and what pages say of them, from the files in docs/benchmark
	.venv/bin/python docs/quote_results.py

lint: .venv/.installed-test ## check style and format
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .

format: .venv/.installed-test ## put style and format right
	.venv/bin/python -m ruff check --fix .
	.venv/bin/python -m ruff format .

clean: ## remove .venv and everything built
	rm -rf docs/_build docs/auto_examples docs/api/generated docs/api/backreferences
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed-demo: pyproject.toml constraints.txt
	$(install)
	@rm .venv/.incomplete && touch $@

# braindecode imports torchaudio, whose compiled libraries refuse a torch built for the CPU or for
# another CUDA. Without these libraries torchaudio falls back to Python code, which works.
.venv/.installed-test: EXTRAS := [benchmark,docs,pretrain,test]
.venv/.installed-test: pyproject.toml constraints.txt
	$(install)
	@.venv/bin/python -c 'import torchaudio' 2>/dev/null \
		|| rm -f .venv/lib/python*/site-packages/torchaudio/lib/*.so
	@rm .venv/.incomplete && touch .venv/.installed-demo $@
