"""What the README and the benchmarks' page say was measured is what `benchmarks/results/runs` holds."""

import json
import re
from functools import cache
from pathlib import Path
from statistics import mean, stdev

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")})
FEW_SHOTS = {
    "weibo, 20-shot (zh)": ("weibo_k20", "k20"),
    "weibo, 10-shot (zh)": ("weibo_k20", "k10"),
    "weibo, 5-shot (zh)": ("weibo_k20", "k5"),
    "youku, 20-shot (zh)": ("youku_k20", "k20"),
    "stockmark, 10-shot (ja)": ("stockmark_ja_k10", "k10"),
    "klue, 20-shot (ko)": ("klue_ko_k20", "k20"),
    "cmeee, 10-shot, nested (zh)": ("cmeee_k10", "k10"),
    "mit-movie, 20-shot (en)": ("mit_movie_k20", "k20"),
    "mit-movie, 10-shot (en)": ("mit_movie_k20", "k10"),
    "mit-movie, 5-shot (en)": ("mit_movie_k20", "k5"),
}
SIZES = {
    "weibo (zh)": "weibo_sizes",
    "youku (zh)": "youku_sizes",
    "cmeee, nested (zh)": "cmeee_sizes",
    'cmeee, nested (zh), as in "The other systems"': "systems_cmeee",
    "stockmark-ja": "stockmark_ja_sizes",
    "klue-ko": "klue_ko_sizes",
    "ud-zh, parts of speech": "ud_zh_sizes",
    "mit-movie (en)": "systems_mit_movie",
}
SYSTEMS = {
    "mit-movie k20": ("systems_mit_movie", "k20"),
    "mit-movie k5": ("systems_mit_movie", "k5"),
    "mit-movie, 250": ("systems_mit_movie", "train_250"),
    "weibo k20": ("systems_weibo", "k20"),
    "weibo k5": ("systems_weibo", "k5"),
    "weibo, 250": ("systems_weibo", "train_250"),
    "cmeee k20, nested": ("systems_cmeee", "k20"),
    "cmeee k5": ("systems_cmeee", "k5"),
    "cmeee, 250": ("systems_cmeee", "train_250"),
}
F1 = r"\*{0,2}(\d+\.\d)\*{0,2}"
DIFFERENCE = r"([+−]\d+\.\d)"


@cache
def scores(name: str, subset: str, variant: str, key: str = "f1") -> dict[int, float]:
    """In percent by seed. Raises LookupError where nothing was measured."""
    lines = map(json.loads, (ROOT / f"benchmarks/results/runs/{name}.jsonl").read_text("utf-8").splitlines())
    found = {line["seed"]: 100 * line[key] for line in lines if (line["subset"], line["variant"]) == (subset, variant)}
    if not found:
        raise LookupError(name, subset, variant)
    return found


def told(value: float) -> str:
    return f"{value:.1f}"


def difference(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−").replace("+0.0", "0.0").replace("−0.0", "0.0")


def tables(page: str, first: str) -> list[list[list[str]]]:
    """The cells of each table of a page whose head begins with `first`, head first."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    cells = [[[cell.strip() for cell in line[1:-1].split("|")] for line in one.splitlines()] for one in found]
    return [[head, *rows[1:]] for head, *rows in cells if head[0] == first]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_section_of_a_page_stands_once(page):
    if page.name == "CHANGELOG.md":  # `### Added` of each version
        return
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ .*", text, re.MULTILINE)
    assert len(heads) == len(set(heads))


def test_the_readme_s_few_shot_figures_are_those_of_the_results():
    [table] = (one for one in tables("README.md", "") if "(`u`)" in one[0][-1])
    rows = {row[0]: row[1:] for row in table[1:]}
    assert set(FEW_SHOTS) <= set(rows)
    for name, (file, subset) in FEW_SHOTS.items():
        for variant, cell in zip(("base", "f", "fs"), rows[name], strict=False):
            if not cell:
                continue
            measured = scores(file, subset, variant)
            spread = f" ± {told(stdev(measured.values()))}" if len(measured) > 1 else ""
            assert cell == told(mean(measured.values())) + spread, (name, variant)


def test_the_figures_of_every_seed_are_those_of_the_results():
    [table] = tables("benchmarks/README.md", "set")[:1]
    assert table[0][1:4] == ["base", "f", "fs"]
    for row in table[1:]:
        file = re.fullmatch(r"`runs/(\w+)\.jsonl`", row[4])[1]
        subset = (re.search(r"\bk\d+", row[0]) or ["all"])[0]
        base = mean(scores(file, subset, "base").values())
        for variant, cell in zip(("base", "f", "fs"), row[1:4], strict=True):
            if not cell:
                continue
            measured = scores(file, subset, variant)
            seeds, *average = cell.split(" (")[0].split(": ")
            assert seeds == ", ".join(told(measured[seed]) for seed in sorted(measured)), (row[0], variant)
            assert average in ([], [told(mean(measured.values()))]), (row[0], variant)
            if variant != "base":
                assert re.search(rf"\({DIFFERENCE}", cell)[1] == difference(mean(measured.values()) - base), row[0]


@pytest.mark.parametrize("variant", ["bio_crf", "cnn"])
def test_the_figures_of_every_size_are_those_of_the_results(variant):
    of_sizes = [one for one in tables("benchmarks/README.md", "set") if one[0][1:] == ["250", "500", "1,000"]]
    table = of_sizes[("bio_crf", "cnn").index(variant)]
    assert {row[0] for row in table[1:]} <= set(SIZES)
    for row in table[1:]:
        for size, cell in zip(("250", "500", "1000"), row[1:], strict=True):
            if not cell:
                continue
            base, measured = (scores(SIZES[row[0]], f"train_{size}", each) for each in ("base", variant))
            value = measured[0]
            known = [told(base[0]), told(value)] if variant == "bio_crf" else [told(value)]
            assert re.findall(F1, cell.split("(")[0].split(", −")[0].split(", +")[0]) == known, (row[0], size)
            assert re.search(DIFFERENCE, cell)[1] == difference(value - base[0]), (row[0], size)


def test_the_figures_of_every_system_are_those_of_the_results():
    [table] = tables("benchmarks/README.md", "row")
    for row in table[1:]:
        variant = re.match(r"`(\w+)`", row[0])[1]
        for column, cell in zip(table[0][1:], row[1:], strict=True):
            if not cell or "²" in cell:
                continue
            measured, base = (scores(*SYSTEMS[column], each)[0] for each in (variant, "base"))
            assert re.match(F1, cell)[1] == told(measured), (column, variant)
            if found := re.search(rf"\({DIFFERENCE}", cell):
                assert found[1] == difference(measured - base), (column, variant)
