# make demo: the main job on the demo corpus, offline after installation.  make test: the whole suite, offline.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
DEMO := runs/demo

.PHONY: demo test soak check docs bench clean

# torch comes first: later packages would pull another build of it.
.venv/torch: constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(PIP) torch
	touch $@

.venv/test: .venv/torch setup.py
	$(PIP) --editable ".[test]"
	$(PIP) --no-deps "text-generation==0.7.0"
	touch $@

.venv/docs: .venv/torch setup.py
	$(PIP) --editable ".[docs]"
	touch $@

.venv/demo: .venv/torch setup.py
	$(PIP) --editable ".[demo]"
	touch $@

# Two processes of one thread each: the machine that CI has.
test: .venv/test
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

# The long loops (kills, fault storms), which the suite leaves out: minutes, not seconds.
soak: .venv/test
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist load -m soak --timeout 1500 $(ARGS)

check: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	.ci/audit

demo: export HF_HUB_OFFLINE = 1
demo: .venv/demo
	rm -rf $(DEMO)
	$(BIN)/knowfree run --config examples/runs/demo.yaml --output_dir $(DEMO)
	$(BIN)/knowfree report $(DEMO) --markdown
	printf '%s\n' \
		"we lost the blazes near harrow creek , and my trekking poles snapped on the ice at dusk" \
		"a black bear and two cubs crossed the ridge trail on 4 july" \
		| $(BIN)/knowfree predict --model $(DEMO)/model --input - --text

# The pages of docs/ and the API reference, offline, into build/docs; a warning (a dead link too) is an error.
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/docs/index.html"

bench: .venv/test
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv runs build dist *.egg-info
