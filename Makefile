# Targets run in the environment of ENGINE (tf1, tf1-mkl or tf2). Default: the first one set up.
.DEFAULT_GOAL := help
export ENGINE ?= $(shell readlink .venv/default)
PYTHON = .venv/$(or $(ENGINE),default)/bin/python
LINT = .venv/lint/bin
unexport PYTHONHOME  # of another Python: none of ours would start

help: ## list the targets
	@awk -F '[ :].*## ' '/^[a-z_]+[ :].*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo '  ENGINE=tf1|tf1-mkl|tf2 selects the TensorFlow. Current: $(or $(ENGINE),none set up yet)'

setup install: ## build the Python environment of ENGINE
	@tools/setup.sh $(ENGINE)

data: setup ## download and check CIFAR-10; continues an interrupted download
	@$(PYTHON) tools/get_data.py $(if $(filter data,$(MAKECMDGOALS)),$(ARGS))

# worksteal: each process starts with half of the files, in order, so few fixtures are made twice.
test tests: data ## run the fast tests; SLOW=1 for all, JOBS=N for N processes, ARGS=... for pytest
	@env -u PYTHONPATH $(PYTHON) -m pytest -n $(or $(JOBS),2) --dist worksteal $(if $(SLOW),,-m 'not slow') $(ARGS)

lint: ## check Python (ruff, mypy, 3.7 syntax), shell scripts, Dockerfile and manifests
	@tools/setup.sh lint
	@$(LINT)/ruff check .
	@[ -x $(LINT)/mypy ] || { echo 'lint: no Python 3.10 found, so only ruff ran'; exit 0; }; \
	$(LINT)/mypy && \
	$(LINT)/shellcheck --severity=warning *.sh */*.sh */*/*.sh bin/permafrost .ci/run && \
	$(LINT)/hadolint Dockerfile && \
	$(LINT)/python tools/dev/check_manifests.py deploy/kubernetes/*.yaml
	@python=$$(tools/setup.sh --find tf1) || { echo 'lint: syntax of 3.7 not checked'; exit 0; }; \
	find . -name '*.py' -not -path './.*' -print0 | sort -z | xargs -0 "$$python" -c \
	'import sys; [compile(open(path, encoding="utf-8").read(), path, "exec") for path in sys.argv[1:]]'

bench: data ## time the input pipeline and training
	@$(PYTHON) -m benchmarks $(ARGS)

readme: setup ## update the tables and pictures of README.md and docs/ from results/
	@$(PYTHON) tools/report.py $(ARGS)

label_image: ## build the C++ program (label_image.sh also does it)
	@flock label_image $(MAKE) -C label_image

# The image has tf1, or tf2 where there is no tf1, unless the command line names ENGINE: the default
# above is for this machine.
image: engine = $(if $(filter file,$(origin ENGINE)),$(if $(filter x86_64,$(shell uname -m)),tf1,tf2),$(ENGINE))
image: ## build the container image; DOCKER=podman or DOCKER=buildah also work
	@$(or $(DOCKER),docker) build -t $(or $(IMAGE),permafrost) --build-arg ENGINE=$(engine) \
	  --build-arg BASE=$(or $(BASE),python:$(if $(filter tf2,$(engine)),3.13,3.7)-slim-bookworm) $(ARGS) .

doctor: ## check this machine and explain how to fix what it finds
	@PYTHONHOME='$(PYTHONHOME)' bin/permafrost doctor

train eval freeze label sweep compare info pack cluster tensorboard:
	@echo 'make: this is a command of bin/permafrost: bin/permafrost $@ --help' >&2; exit 2

clean: ## remove this checkout's links to environments and its caches; keeps runs and data
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache label_image/build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help setup install data test tests lint bench readme label_image image doctor clean \
  train eval freeze label sweep compare info pack cluster tensorboard
