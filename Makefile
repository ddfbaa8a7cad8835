PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
COMPAT := .venv-compat
BENCH := .venv-bench
TORCH_ENV := .venv-torch-$(TORCH)
DOCS := .venv/docs
BROWSER := .venv/browser
RELEASE := .venv/release
# A set-up shows what it downloads; where nobody looks on, it does not.
PIP := -m pip $(if $(CI),--quiet) --disable-pip-version-check install --no-compile

.PHONY: help run test torch compat bench docs browser lab prepare release clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(READY)  ## Train with and without annealing, and compare; writes figures and results.csv to results/
	@$(BIN)/cosine_lr --out results $(ARGS)

test: $(READY)  ## Check the repository and run every notebook as a test
	@$(BIN)/python tools/test.py $(ARGS)

torch:  ## Run all tests with another torch, in an environment of its own (TORCH=x.y.z, which must be given)
	@test -n "$(TORCH)" || { echo "say which torch: make torch TORCH=2.12.0" >&2; exit 2; }
	@$(MAKE) --no-print-directory $(TORCH_ENV)/ready
	@$(TORCH_ENV)/bin/python tools/test.py $(or $(ARGS),pytest slow notebooks)

compat: $(COMPAT)/ready  ## Try the wheel in fastai, Lightning, ignite, Accelerate, transformers and nbdev 3
	@$(COMPAT)/bin/python tools/compat.py $(ARGS)

bench: $(BENCH)/ready  ## Measure cosine_lr beside its peers, for benchmarks/ (parts: ARGS="loops finders")
	@OMP_NUM_THREADS=2 $(BENCH)/bin/python -m benchmarks $(ARGS)

docs: $(DOCS)  ## Build the site, notebooks and reference, in _docs/; it needs no network
	@$(BIN)/python tools/docs.py

browser: $(BROWSER) docs  ## Run every notebook in JupyterLab in headless Chromium, and read the site there
	@$(BIN)/python tools/test.py in_browser
	@$(BIN)/python tools/browser.py $(ARGS)
	@$(BIN)/python tools/read_site.py

lab: $(READY)  ## Open the notebooks in JupyterLab
	@cd nbs && JUPYTER_CONFIG_PATH="$(CURDIR)/.venv/.jupyter" ../$(BIN)/jupyter lab $(ARGS)

prepare: $(READY)  ## For maintainers: export, run all notebooks in place, clean them, rebuild the rest
	$(BIN)/nbdev_export
	$(BIN)/python tools/facade.py
	$(BIN)/python tools/execute.py
	$(BIN)/nbdev_clean
	$(BIN)/python tools/readme.py
	@$(BIN)/python tools/reading.py

release: $(RELEASE)  ## For maintainers: set the version, date the changelog, build dist/ (VERSION=x.y.z)
	@$(BIN)/python tools/release.py "$(VERSION)"
	@rm -rf dist build
	@$(BIN)/python -m build --outdir dist . > /dev/null
	@$(BIN)/python -m twine check --strict dist/*
	@$(BIN)/python tools/llms.py dist

clean:  ## Delete environments, results, caches and build products, and what the set-up told git
	@test ! -d .git || { git config --local --unset include.path ^../.gitconfig$$; \
	  git config --local --remove-section merge.nbdev-merge; \
	  ! grep -qs nbdev_trust .git/hooks/post-merge || rm .git/hooks/post-merge; } 2> /dev/null; true
	rm -rf .venv .venv-* .gitconfig results build dist _docs _proc .quarto nbs/nbdev.yml *.egg-info
	rm -rf .pytest_cache .hypothesis .mypy_cache .ruff_cache .last_checked
	find . -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

# HOME is set so that JupyterLab's hook that cleans notebooks lands in .venv/, not in the user's own settings.
$(READY): constraints.txt settings.ini setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "cosine_lr needs Python 3.10 or newer, and $(PYTHON) is not:" \
	    "try make PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up .venv (once; a few minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python $(PIP) -c constraints.txt -e '.[dev]'
	@if [ -d .git ]; then \
	  HOME="$(CURDIR)/.venv" GIT_CONFIG_GLOBAL="$$HOME/.gitconfig" $(BIN)/nbdev_install_hooks && \
	  git config --local merge.nbdev-merge.driver '$(BIN)/nbdev_merge %O %A %B %P' && \
	  printf '%s\n' '#!/bin/sh' \
	    '# cosine_lr: notebooks that come with a merge are trusted; make clean removes this' \
	    '[ ! -x $(BIN)/nbdev_trust ] || $(BIN)/nbdev_trust' > .git/hooks/post-merge; fi
	@touch $@

# `.venv/docs`, `.venv/browser` and `.venv/release` say that the extra of that name is installed.
$(DOCS) $(BROWSER) $(RELEASE): $(READY)
	@$(BIN)/python $(PIP) -c constraints.txt -e '.[$(@F)]'
	@touch $@

# Other torches need other versions of some packages, and up to 7 GB, as they come with CUDA.
$(TORCH_ENV)/ready: constraints.txt settings.ini
	@echo "Setting up $(@D) (once; several minutes)"
	@rm -rf $(@D)
	@$(PYTHON) -m venv $(@D)
	@grep -vE '^(torch|sympy|setuptools)==' constraints.txt > $(@D)/constraints.txt
	@$(@D)/bin/python $(PIP) -c $(@D)/constraints.txt torch==$(TORCH) -e '.[dev]'
	@touch $@

# fastai brings torchvision, which has no build for a CPU-only torch; nothing here needs it.
$(COMPAT)/ready: constraints-compat.txt compat/requirements.txt
$(BENCH)/ready: constraints-compat.txt compat/requirements.txt benchmarks/requirements.txt
$(COMPAT)/ready $(BENCH)/ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(@D) needs Python 3.11 or newer, and $(PYTHON) is not: try make PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up $(@D) (once; a few minutes)"
	@rm -rf $(@D)
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python $(PIP) -c constraints-compat.txt \
	  -r $(if $(filter $(BENCH),$(@D)),benchmarks,compat)/requirements.txt
	@$(@D)/bin/python -m pip uninstall --quiet --yes torchvision
	@touch $@
