# Every target works from a bare clone: what it needs is installed into .venv first.
# Paths are relative, so that the clone's own path may hold spaces.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-quick test-image chaos lint docs format bench lock clean

BIN := .venv/bin
PACKAGES := pipeline components serving
# Two at a time; the tests of a file share what is slow to make. tests/conftest.py has the order.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s%s\n", $$1, $$2 }' Makefile

setup: ## Make .venv with everything, tests and lint included
	@scripts/setup.sh dev

demo: ## Run the pipeline on sample data, then predict a click
	@scripts/setup.sh runtime
	@test -e demo/data || $(BIN)/twotower sample campaign --rows 60000 --ads 200 --seed 1 demo/data
	@$(BIN)/twotower run --config pipeline/configs/demo.yaml
	@$(BIN)/twotower predict --models demo/serving \
	  --attributes att_age=25-34 --text "Fresh pasta delivered to your door tonight"

test: ## Run every test
	@scripts/setup.sh dev
	@$(PYTEST)

test-quick: ## Run the tests that take seconds, not the end-to-end ones
	@scripts/setup.sh dev
	@$(PYTEST) -m "not e2e"

chaos: ## Kill, fill and break for an hour or more, print the figures; SHARE=0.1 for a tenth
	@scripts/setup.sh dev
	@$(BIN)/python -m pytest tests/chaos --chaos=$(or $(SHARE),1) --timeout=0

test-image: ## Build the Dockerfile and run a node and the worker pool in the image
	@scripts/test_image.sh

lint: ## Check style, types and the links of the documentation, change nothing
	@scripts/setup.sh dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy $(PACKAGES)
	@$(SITE)

# Strict: a link that leads nowhere fails.
SITE := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

docs: ## Write the documentation as a site
	@scripts/setup.sh dev
	@$(BIN)/python scripts/settings_page.py > docs/settings.md
	@$(SITE)
	@echo "Open build/docs/index.html"

format: ## Rewrite the code in the project's style
	@scripts/setup.sh dev
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: ## Measure ours beside its rivals on the same work
	@scripts/setup.sh dev
	@$(BIN)/python -m benchmarks

# Pins that still fit pyproject.toml stay as they are: to renew them, `make lock UPGRADE=--upgrade`.
COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url \
  --no-emit-find-links --custom-compile-command "make lock" \
  --python-version 3.11 --python-platform x86_64-manylinux_2_40 $(UPGRADE)

lock: ## Rebuild the locks after a change of dependencies in pyproject.toml
	@scripts/setup.sh dev
	@$(COMPILE) --group setup -o requirements-setup.lock
	@$(COMPILE) pyproject.toml -o requirements.lock
	@$(COMPILE) pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock

clean: ## Remove .venv and what tools left; your data, runs and models stay
	@rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +
