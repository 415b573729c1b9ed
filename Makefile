# Every target sets up what it needs: a virtual environment in $(VENV), filled to the level it asks for and
# refreshed when pyproject.toml changes. Nothing is installed twice, and a half install is never taken for a whole one.
#
#   make demo             the golden sets, replayed and gated: no model, no network while it runs
#   make demo-regression  the same sets with a worse prompt: goes red, and only where it should
#   make demo-drift       five recordings of one set against its baseline: red only where something got worse
#   make demo-live        the same sets against the real local model, recorded nowhere
#   make test             the whole test suite
#   make matrix           the capture tests under openai 1 and 2, and the lowest pytest and vcrpy
#   make frameworks       LangChain, pydantic-ai, litellm and other vendors' SDKs, driven for real
#   make adapters        metrics of deepeval, ragas, autoevals and pydantic-evals, run by the tools themselves
#   make phoenix          the demo's spans, sent to a real Arize Phoenix and read back (850 MB to install)
#   make lint             ruff and mypy --strict
#   make docs             fill the generated parts of docs/reference/ from the code
#   make bench            start-up of an idle plugin against pytest without it
#   make record           record the golden sets again from the local model

SHELL := /bin/sh
VENV ?= .venv
BIN = $(VENV)/bin
WORKERS ?= 2
PYTEST_ARGS ?=
BENCH_ARGS ?=
MODEL = $(BIN)/python golden_sets/local_model.py
GATE = $(BIN)/python -m pytest golden_sets --llm-budget=budget.toml

export PIP_DISABLE_PIP_VERSION_CHECK = 1
# the suite starts some hundred Pythons, and each would compile the package anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo demo-regression demo-drift demo-live record test matrix frameworks adapters phoenix lint docs bench core live dev clean
.NOTPARALLEL:

help:
	@sed -n 's/^#   //p' Makefile

core live dev:
	@sh .ci/venv "$(VENV)" $@

demo: core
	@$(GATE) --llm-record=none; code=$$?; echo; \
	if [ -f llmwatch-report/report.html ]; then echo "The report: $(CURDIR)/llmwatch-report/report.html (open it in a browser)"; fi; \
	exit $$code

demo-regression: core
	@$(BIN)/python golden_sets/check_regression.py

demo-drift: core
	@$(BIN)/python golden_sets/check_drift.py

demo-live: live
	@$(MODEL) -- $(GATE) --llm-record=off --llm-concurrency=1

# one call at a time: the recorded times are the model's, not those of a queue; the fixed port keeps the diff small
RECORD = $(BIN)/python -m pytest golden_sets --llm-record=all --llm-concurrency=1

record: live
	@$(MODEL) --port 8917 -- sh -c "$(RECORD) --llm-report=llmwatch-report/recorded && \
	$(RECORD) --llm-variant=careless --llm-report=llmwatch-report/recorded-careless"

test: dev
	@$(BIN)/python -m pytest tests -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

matrix: dev
	@.ci/matrix "$(VENV)"

frameworks: dev
	@.ci/frameworks "$(VENV)"

adapters: dev
	@.ci/adapters "$(VENV)"

phoenix: dev
	@.ci/phoenix "$(VENV)"

lint: dev
	@$(BIN)/ruff check .
	@$(BIN)/mypy

docs: dev
	@$(BIN)/python docs/generate.py

bench: core
	@$(BIN)/python bench/startup/run.py $(BENCH_ARGS)

clean:
	rm -rf "$(VENV)" build dist llmwatch-report .pytest_cache .mypy_cache .ruff_cache
