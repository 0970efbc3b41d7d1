# make demo: the main job on both demo corpora, offline after installation.  make test: the whole suite, offline.
PYTHON ?= python3
BIN := .venv/bin
# Compiling all of 60 packages takes over a minute; Python compiles what it imports, and keeps it.
export PYTHONDONTWRITEBYTECODE =
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
DEMO := runs/demo
SENTENCES_zh := 周末跟外婆去昆明的菜市场买了两斤豌豆尖，晚上用砂锅炖了土豆牛腩。
SENTENCES_en := we lost the blazes near harrow creek , and my trekking poles snapped on the ice at dusk

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

# Ray is large, and only the soak tests start a cluster.
.venv/soak: .venv/test
	$(PIP) --editable ".[ray]"
	touch $@

.venv/docs: .venv/torch setup.py
	$(PIP) --editable ".[docs]"
	touch $@

.venv/demo: .venv/torch setup.py
	$(PIP) --editable ".[demo]"
	touch $@

# Two processes of one thread each: the machine that CI has. Files in their order: the last ones are short.
test: .venv/test
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# The long loops (kills, fault storms), which the suite leaves out: minutes, not seconds.
soak: .venv/soak
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist load -m soak --timeout 1500 $(ARGS)

check: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	.ci/audit

demo: export HF_HUB_OFFLINE = 1
demo: .venv/demo
	rm -rf $(DEMO)-zh $(DEMO)-en
	for language in zh en; do \
		$(BIN)/knowfree run --config examples/runs/demo_$$language.yaml --output_dir $(DEMO)-$$language || exit; \
	done
	echo "$(SENTENCES_zh)" | $(BIN)/knowfree predict --model $(DEMO)-zh/model --input - --text
	echo "$(SENTENCES_en)" | $(BIN)/knowfree predict --model $(DEMO)-en/model --input - --text

# The pages of docs/ and the API reference, offline, into build/docs; a warning (a dead link too) is an error.
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/docs/index.html"

bench: .venv/test
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv runs build dist *.egg-info
