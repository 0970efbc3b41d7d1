"""What a writer writes is read back as the same rows; a mutated file is read right or refused, never as another format."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modeling_knowfree.data.formats import WRITERS, format_named, write_rows_as
from modeling_knowfree.data.readers import InputError, check_rows, read_file, read_rows
from tests.modeling_knowfree.data.formats import samples_json, samples_text, samples_tools
from tests.modeling_knowfree.data.formats.samples import Sample, span

SAMPLES = [*samples_json.SAMPLES, *samples_tools.SAMPLES, *samples_text.SAMPLES]
WORDS = (
    "Ada",
    "n't",
    "#",
    "-",
    "O",
    "B-PER",
    "1",
    "2",
    "3-1",
    "שלום",
    "مرحبا",
    "é",
    "👩‍🚀",
    "🚲",
    "서울시",
    "東京",
    '"',
    "a/b",
    "x|y",
    "\\",
)
CHARACTERS = "东京の市O1🚲 \u3000\xa0#אا\"'[]{}/_|\\"
LABELS = ("PER", "job title", "E-MAIL", "人名", "B-X", "LOC.NAM", "O", "خبر")


@st.composite
def rows_of(draw) -> list[dict]:
    by_characters = draw(st.booleans())
    unit = st.sampled_from(CHARACTERS) if by_characters else st.sampled_from((*WORDS, " ", "\u3000"))
    rows = []
    for number in range(draw(st.integers(1, 3))):
        tokens = draw(st.lists(unit, min_size=1, max_size=7))
        borders = st.tuples(st.integers(0, len(tokens) - 1), st.integers(1, len(tokens)), st.sampled_from(LABELS))
        spans = {span for span in draw(st.lists(borders, max_size=5)) if span[0] < span[1]}
        entities = [{"start": start, "end": end, "label": label} for start, end, label in sorted(spans)]
        row_id = draw(st.sampled_from(("r", "doc 1", "é", '"q"', "a\tb"))) + str(number)
        rows.append({"id": row_id, "tokens": tokens, "entities": entities})
    return rows


def as_sets(rows: list[dict]) -> list:
    return [
        (row["id"], row["tokens"], sorted((s["start"], s["end"], s["label"]) for s in row["entities"])) for row in rows
    ]


HASH_IN_AN_ENTITY = {"id": "r0", "tokens": ["Ada", "#"], "entities": [span(0, 1, "PER"), span(0, 2, "PER")]}


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=60)
@given(rows=rows_of(), number=st.integers())
@example(rows=[HASH_IN_AN_ENTITY], number=0)
def test_what_is_written_is_read(tmp_path_factory, name: str, rows: list[dict], number: int):
    if name == "spacy":
        pytest.importorskip("spacy")
    path = tmp_path_factory.mktemp("round") / f"rows{format_named(name).suffix}"
    write_rows_as(rows, name, path)
    by_name = read_file(path, format=name, quiet=True)
    assert as_sets(by_name.rows) == as_sets(rows)
    found = read_file(path, quiet=True)
    assert (found.format.name.removesuffix("-bioes"), as_sets(found.rows)) == (
        name.removesuffix("-bioes"),
        as_sets(rows),
    )


@pytest.mark.parametrize("name", WRITERS)
def test_what_an_augmented_row_has_is_kept_or_told(tmp_path: Path, name: str):
    if name == "spacy":
        pytest.importorskip("spacy")
    row = {
        "id": "1",
        "tokens": ["Ada", "came"],
        "entities": [{"start": 0, "end": 1, "label": "P", "weight": 0.5}],
        "extensions": [{"start": 1, "end": 2, "label": "POS:V", "source": "llm"}],
        "uncertain": [{"start": 1, "end": 2, "label": "P"}],
        "has_extensions": True,
        "synthetic": True,
        "source": "synthetic",
        "annotator": "llm",
        "parent_id": "0",
        "weight": 0.25,
    }
    path = tmp_path / f"rows{format_named(name).suffix}"
    told = write_rows_as([row, {**row, "id": "2", "weight": None}], name, path)
    if name in ("jsonl", "parquet"):
        assert not told and read_rows(path)[0] == row
    else:
        counts = {"extensions": 2, "uncertain": 2, "has_extensions": 2, "synthetic": 2, "source": 2}
        counts |= {"annotator": 2, "parent_id": 2, "weight": 1}
        counts["weight of an entity"] = 2
        assert told == [f"{count} {key} left out, which {name} does not hold" for key, count in counts.items()]


PIECES = (
    "\t",
    " ",
    "\n",
    '"',
    "[",
    "]",
    "{",
    "}",
    ",",
    "/",
    "|",
    "O",
    "B-",
    "0",
    "9",
    "_",
    "#",
    "米",
    "🚲",
    "\\",
    ";",
    "-",
    "\r",
)


def mutated(content: str, dice: random.Random) -> str:
    lines = content.split("\n")
    at = dice.randrange(len(lines))
    match dice.randrange(7):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[at])
        case 2:
            other = dice.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            return content[: dice.randrange(len(content))]
        case 4:
            lines[at] = lines[at].replace(dice.choice(PIECES), dice.choice(PIECES))
        case 5:
            place = dice.randrange(len(content))
            return content[:place] + dice.choice(PIECES) + content[place:]
        case 6:
            place = dice.randrange(len(content))
            return content[:place] + content[place + 1 :]
    return "\n".join(lines)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.format}-{sample.name}")
def test_a_mutated_file_is_read_right_or_refused(tmp_path: Path, sample: Sample):
    dice = random.Random(sample.name)
    for _ in range(60):
        content = sample.content
        for _ in range(dice.randrange(1, 3)):
            content = mutated(content, dice) or "x"
        changed = Sample(**{**vars(sample), "content": content})
        path = changed.write(tmp_path)
        for options in ({}, {"format": sample.format}):
            try:
                found = read_file(path, quiet=True, **{**sample.options, **options})
            except InputError as error:
                assert str(tmp_path) in str(error) or sample.name in str(error), content
                assert "; mend: " in str(error), str(error)
            else:
                # Without its header a TSV is columns.
                same = {sample.format, "conll"} if sample.format == "csv" else {sample.format}
                if sample.format == "slashed-bio" and "/o" not in content.lower():
                    same.add("pos")  # without an O each word has its tag
                if sample.format == "jsonl" and '"text"' in content and '"tokens"' not in content:
                    same.add("offsets")  # what is left is a text with spans
                assert found.format.name in same, content
                check_rows(found.rows, path="read")


@pytest.mark.parametrize("name", ["conll", "conll-bioes"])
@pytest.mark.parametrize("token", ["# scheme = bioes", "# scheme = io", "# global.columns = FORM NER", "# id = 7"])
def test_a_token_like_a_remark_is_read_as_a_token(tmp_path: Path, name: str, token: str):
    spans = [{"start": 0, "end": 2, "label": "PER"}, {"start": 0, "end": 1, "label": "E-MAIL"}]
    for entities in (spans, spans[:1]):
        rows = [{"id": "1", "tokens": [token, "b"], "entities": entities}]
        write_rows_as(rows, name, tmp_path / "out.conll")
        assert as_sets(read_rows(tmp_path / "out.conll")) == as_sets(rows)


def test_long_lines_take_no_long_time(tmp_path: Path):
    long = ["a" * 200_000, "[" * 200_000, " " * 200_000 + "x", "1 " * 100_000, "# id " * 50_000, "-B" * 100_000]
    long += [
        "T1\tA " + "1 2;" * 50_000,
        "x|||" + " " * 100_000 + "1",
        "#T_SP=" + "|" * 100_000,
        "1-1\t" * 50_000,
        "a/b" * 60_000,
    ]
    for content in long:
        for name in ("x.txt", "x.json", "x.ann", "x.csv", "x.conll"):
            path = tmp_path / name
            path.write_text(content + "\n" + content + "\n", encoding="utf-8")
            try:
                read_rows(path)
            except InputError:
                continue


@pytest.mark.parametrize("name", ["doccano", "label-studio", "brat"])
def test_a_text_beside_its_tokens_is_written_as_it_stands(tmp_path: Path, name: str):
    text = "\u00a0Ada  (Byron)\nleft\u200b."
    spans = [{"start": 0, "end": 4, "label": "PER"}, {"start": 4, "end": 5, "label": "B"}]
    row = {"id": "1", "text": text, "tokens": ["Ada", "(", "Byron", ")", "left", "."], "entities": spans}
    other = {**row, "id": "2", "text": "another text"}  # none of these tokens
    path = tmp_path / ("rows" if name == "brat" else f"rows{format_named(name).suffix}")
    write_rows_as([row, other], name, path)
    written = (path / "rows.txt" if name == "brat" else path).read_text(encoding="utf-8")
    for expected in (text, "Ada ( Byron ) left ."):
        assert (expected.replace("\n", " ") if name == "brat" else json.dumps(expected, ensure_ascii=False)) in written
    assert as_sets(read_rows(path, unit="word")) == as_sets([row, other])


@pytest.mark.parametrize(
    ("name", "tokens", "message"),
    [
        ("conll", ["a", "-DOCSTART-", "b"], "'-DOCSTART-' is the mark of a document"),
        ("conll-bioes", ["-DOCSTART-x"], "'-DOCSTART-x' is the mark of a document"),
        ("brat", ["\ufeff", "b"], r"row '1' begins with U\+FEFF"),
        ("conll", ["-docstart-"], "'-docstart-' is the mark of a document"),
        ("conll", ["a", "\ufeffb"], "is a byte order mark"),
        ("conll", ["a\tb"], "holds a tab"),
        ("conll", ["a\0b"], "holds NUL"),
    ],
)
def test_a_token_that_reading_would_drop_is_refused(tmp_path: Path, name: str, tokens: list[str], message: str):
    with pytest.raises(InputError, match=message):
        write_rows_as([{"id": "1", "tokens": tokens, "entities": []}], name, tmp_path / "out")
    assert not list(tmp_path.iterdir())
