# Targets run in the environment of ENGINE (tf1, tf1-mkl or tf2; default: the first set up).
.DEFAULT_GOAL := help
export ENGINE ?= $(shell readlink .venv/default)
PYTHON = .venv/$(or $(ENGINE),default)/bin/python

help: ## this list
	@awk -F ':.*## ' '/^[a-z_]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo '  ENGINE=tf1|tf1-mkl|tf2 chooses the TensorFlow; now: $(or $(ENGINE),none set up yet)'

setup: ## build the Python environment of ENGINE
	@tools/setup.sh $(ENGINE)

data: setup ## fetch CIFAR-10 and check it; goes on where it stopped
	@$(PYTHON) tools/get_data.py $(if $(filter data,$(MAKECMDGOALS)),$(ARGS))

test: data ## run the fast tests; SLOW=1 runs all, ARGS=... goes to pytest
	@$(PYTHON) -m pytest $(if $(SLOW),,-m 'not slow') $(ARGS)

lint: ## ruff, the oldest Python's syntax, shell scripts, Dockerfile and manifests
	@tools/setup.sh lint
	@.venv/lint/bin/ruff check .
	@[ -x .venv/lint/bin/hadolint ] || { \
	  echo 'lint: no Python 3.9, shell scripts, Dockerfile and manifests unchecked'; exit 0; }; \
	.venv/lint/bin/shellcheck --severity=warning *.sh */*.sh .ci/run && \
	.venv/lint/bin/hadolint Dockerfile && \
	.venv/lint/bin/python tools/check_manifests.py deploy/kubernetes/*.yaml
	@python=$$(tools/setup.sh --find 3.7) || { echo 'lint: no Python 3.7, syntax unchecked'; exit 0; }; \
	find . -name '*.py' -not -path './.*' | sort | xargs $$python -c \
	'import sys; [compile(open(path, encoding="utf-8").read(), path, "exec") for path in sys.argv[1:]]'

bench: data ## time the input pipeline and training
	@$(PYTHON) tools/benchmark.py $(ARGS)

readme: setup ## write results/*.json into README.md and docs/speed.md
	@$(PYTHON) tools/report.py $(ARGS)

label_image: ## build the C++ program (label_image.sh does so by itself)
	@$(MAKE) -C label_image

# tf1 unless ENGINE is given: that of the checkout is for its machine
image: engine = $(if $(filter file,$(origin ENGINE)),tf1,$(ENGINE))
image: ## build the container image; DOCKER=podman or buildah builds it too
	@$(or $(DOCKER),docker) build -t $(or $(IMAGE),permafrost) --build-arg ENGINE=$(engine) \
	  --build-arg BASE=$(or $(BASE),python:$(if $(filter tf2,$(engine)),3.13,3.7)-slim-bookworm) $(ARGS) .

doctor: ## say what is wrong with this machine's set-up and how to mend it
	@for python in .venv/lint/bin/python .venv/default/bin/python python3; do \
	  if $$python -c '' 2>/dev/null; then exec $$python tools/doctor.py; fi; \
	done; echo 'doctor: no python3 runs: install it (apt-get install python3)' >&2; exit 1

clean: ## remove environments' links and caches of this checkout; runs and data stay
	rm -rf .venv .pytest_cache .ruff_cache label_image/build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help setup data test lint bench readme label_image image doctor clean
