"""Bad input, one small function a case: it writes files into a folder and says what the error must name.

The readers' tests feed them to `read_rows` and `read_labels`, the command line's tests to `knowfree`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GOOD_ROWS = [
    {"id": "good-1", "tokens": ["Ada", "lives", "in", "Rome"], "entities": [{"start": 0, "end": 1, "label": "PER"}]},
    {"id": "good-2", "tokens": ["Rome", "sleeps"], "entities": [{"start": 0, "end": 1, "label": "LOC"}]},
]


@dataclass
class BadInput:
    """`fragments` are all in the error: file, line, value, mend. `role` says which option `path` is given to."""

    path: Path
    fragments: tuple[str, ...]
    role: str = "train_file"  # or "label_file"
    task: str = "ner"


Case = Callable[[Path], BadInput]
CASES: list[Case] = []


def case(function: Case) -> Case:
    CASES.append(function)
    return function


def row(**changes: Any) -> dict[str, Any]:
    """A good row of four tokens with changes; a key changed to None is left out."""
    whole = {"id": "x", "tokens": ["Ada", "met", "Bob", "Lee"], "entities": [span(0, 1)], **changes}
    return {key: value for key, value in whole.items() if value is not None}


def span(start: Any, end: Any, label: Any = "PER", **more: Any) -> dict[str, Any]:
    return {"start": start, "end": end, "label": label, **more}


def json_lines(folder: Path, *rows: Any, name: str = "train.jsonl") -> Path:
    """GOOD_ROWS on lines 1 and 2, `rows` from line 3 on."""
    path = folder / name
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in [*GOOD_ROWS, *rows]), encoding="utf-8")
    return path


def text(folder: Path, content: str, name: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def bad_row(folder: Path, changed: dict[str, Any], *fragments: str) -> BadInput:
    return BadInput(json_lines(folder, changed), ("train.jsonl, line 3", *fragments))


# ------------------------------------------------------------------ spans


@case
def overlapping_flat_gold(folder: Path) -> BadInput:
    changed = row(entities=[span(2, 4), span(1, 3, "LOC")])
    return bad_row(folder, changed, "(id 'x')", "[1, 3) 'LOC' ['met', 'Bob'] and [2, 4) 'PER'", "--task nested_ner")


@case
def nested_flat_gold(folder: Path) -> BadInput:
    changed = row(entities=[span(0, 4), span(0, 1, "LOC"), span(1, 2, "LOC")])
    return bad_row(folder, changed, "(id 'x')", "[0, 1) 'LOC' ['Ada'] and [0, 4)", "overlap", "drop one of the two")


@case
def gold_and_left_out_of_the_loss(folder: Path) -> BadInput:
    changed = row(uncertain=[span(2, 4), span(0, 1)])
    return bad_row(
        folder, changed, "(id 'x')", "[0, 1) 'PER'", "in entities and in uncertain", "drop it from the other"
    )


@case
def end_before_start(folder: Path) -> BadInput:
    return bad_row(
        folder, row(entities=[span(3, 1)]), "(id 'x')", "[3, 1) 'PER' ends before", "0 <= start < end <= 4", "exclusive"
    )


@case
def empty_span(folder: Path) -> BadInput:
    return bad_row(folder, row(entities=[span(2, 2)]), "(id 'x')", "[2, 2) 'PER' is empty", "start i and end i + 1")


@case
def span_past_the_end(folder: Path) -> BadInput:
    changed = row(entities=[span(3, 5)])
    return bad_row(
        folder, changed, "(id 'x')", "[3, 5) 'PER' leaves the sentence of 4 tokens", "end <= 4", "count tokens"
    )


@case
def negative_start(folder: Path) -> BadInput:
    return bad_row(folder, row(entities=[span(-1, 2)]), "(id 'x')", "[-1, 2) 'PER' leaves", "0 <= start", "from 0")


@case
def boolean_start(folder: Path) -> BadInput:
    return bad_row(
        folder, row(entities=[span(True, 2)]), "(id 'x')", "start is True", "integer from 0 to 4", "write start"
    )


@case
def fractional_end(folder: Path) -> BadInput:
    return bad_row(folder, row(entities=[span(0, 1.0)]), "(id 'x')", "end is 1.0", "integer from 0 to 4", "decimals")


@case
def quoted_start(folder: Path) -> BadInput:
    return bad_row(folder, row(entities=[span("0", 1)]), "(id 'x')", "start is '0'", "integer", "without quotes")


@case
def doubled_span(folder: Path) -> BadInput:
    changed = row(entities=[span(0, 1), span(0, 1)])
    return bad_row(folder, changed, "(id 'x')", "[0, 1) 'PER' twice", "once", "drop one of the two")


@case
def span_without_label(folder: Path) -> BadInput:
    changed = row(entities=[{"start": 0, "end": 1}])
    return bad_row(folder, changed, "(id 'x')", "{'start': 0, 'end': 1}", '"label": str', "these three keys")


@case
def entities_no_list(folder: Path) -> BadInput:
    return bad_row(folder, row(entities={}), "(id 'x')", "entities is {}", "a list of spans", '"entities": []')


# ------------------------------------------------------------------ labels


@case
def target_label_in_a_namespace(folder: Path) -> BadInput:
    changed = row(entities=[span(0, 1, "ENT:person")])
    return bad_row(folder, changed, "(id 'x')", "'ENT:person'", "ENT:, POS: or SEG:", "move the span to extensions")


@case
def target_label_in_the_pos_namespace(folder: Path) -> BadInput:
    return bad_row(folder, row(entities=[span(0, 1, "POS:NOUN")]), "(id 'x')", "'POS:NOUN'", "rename the label")


@case
def extension_label_without_namespace(folder: Path) -> BadInput:
    changed = row(extensions=[span(0, 1, "person", source="llm")])
    return bad_row(folder, changed, "(id 'x')", "'person' has no namespace", "SEG:...", "'ENT:person'")


@case
def extension_past_the_end(folder: Path) -> BadInput:
    changed = row(extensions=[span(0, 9, "ENT:person", source="llm")])
    return bad_row(folder, changed, "(id 'x')", "[0, 9) 'ENT:person' leaves the sentence of 4 tokens", "count tokens")


@case
def numeric_label(folder: Path) -> BadInput:
    return bad_row(folder, row(entities=[span(0, 1, 3)]), "(id 'x')", "label is 3", "a string", "name the label")


@case
def blank_label(folder: Path) -> BadInput:
    return bad_row(folder, row(entities=[span(0, 1, " ")]), "(id 'x')", "label is ' '", "not blank", "name the label")


# ------------------------------------------------------------------ rows


@case
def empty_tokens(folder: Path) -> BadInput:
    return bad_row(
        folder, row(tokens=[], entities=[]), "(id 'x')", "tokens is empty, []", "one token", "remove the row"
    )


@case
def token_no_string(folder: Path) -> BadInput:
    return bad_row(folder, row(tokens=["Ada", 7]), "(id 'x')", "token 1 is 7", "a string", "in quotes")


@case
def token_empty_string(folder: Path) -> BadInput:
    return bad_row(folder, row(tokens=["Ada", ""]), "(id 'x')", "token 1 is ''", "not empty", "take it out")


@case
def token_half_a_surrogate_pair(folder: Path) -> BadInput:
    line = json.dumps({"id": "x", "tokens": ["\ud83d"], "entities": []})
    path = text(folder, json.dumps(GOOD_ROWS[0]) + "\n" + line + "\n", "train.jsonl")
    return BadInput(path, ("train.jsonl, line 2", "'\\ud83d'", "UTF-8", "write the whole character"))


@case
def tokens_one_string(folder: Path) -> BadInput:
    return bad_row(folder, row(tokens="Ada met Bob"), "(id 'x')", "tokens is 'Ada met Bob'", "a list", "split the")


@case
def wrong_key(folder: Path) -> BadInput:
    changed = {"id": "x", "tokens": ["Ada"], "entitys": []}
    return bad_row(folder, changed, "'entities' is missing", "'id', 'tokens', 'entitys'", "rename or add it")


@case
def wrong_key_in_the_first_row(folder: Path) -> BadInput:
    path = text(folder, '{"phrase": "Ada", "entities": []}\n', "train.jsonl")
    return BadInput(path, ("train.jsonl, line 1", "'tokens' is missing", "'phrase'", "rename or add it"))


@case
def row_no_object(folder: Path) -> BadInput:
    return BadInput(json_lines(folder, "Ada met Bob"), ("train.jsonl, line 3", "'Ada met Bob'", "JSON object", "write"))


@case
def id_no_string(folder: Path) -> BadInput:
    return bad_row(folder, row(id=["x"]), "id is ['x']", "a string", "put the id in quotes")


@case
def synthetic_no_boolean(folder: Path) -> BadInput:
    return bad_row(
        folder, row(synthetic="yes"), "(id 'x')", "synthetic is 'yes'", "true or false", "write synthetic as"
    )


@case
def more_tokens_than_tags(folder: Path) -> BadInput:
    path = text(folder, '{"tokens": ["Ada", "met", "Bob"], "ner_tags": ["B-PER", "O"]}\n', "train.jsonl")
    return BadInput(path, ("train.jsonl, line 1", "2 ner_tags for 3 tokens", "['Bob']", "one tag"))


@case
def tag_of_no_scheme(folder: Path) -> BadInput:
    path = text(folder, '{"tokens": ["Ada"], "ner_tags": ["PER"]}\n', "train.jsonl")
    return BadInput(path, ("train.jsonl, line 1", "tag 'PER'", "B-, I-, E-, M- or S-", "such as B-PER"))


# ------------------------------------------------------------------ files


@case
def not_json(folder: Path) -> BadInput:
    path = text(folder, json.dumps(GOOD_ROWS[0]) + '\n{"id": "x", "tokens": [,]}\n', "train.jsonl")
    return BadInput(path, ("train.jsonl, line 2", "not JSON at ',]}'", "column 24", "write one JSON object a line"))


@case
def json_cut_off(folder: Path) -> BadInput:
    path = text(folder, json.dumps(GOOD_ROWS[0]) + '\n{"id": "x", "tokens": ["A', "train.jsonl")
    return BadInput(path, ("train.jsonl, line 2", "not JSON", "Unterminated string", "write one JSON object a line"))


@case
def json_nested_too_deep(folder: Path) -> BadInput:
    path = text(folder, json.dumps(GOOD_ROWS[0]) + "\n" + "[" * 100_000 + "\n", "train.jsonl")
    return BadInput(path, ("train.jsonl, line 2", "'[[[", "sane depth", "write one JSON object a line"))


@case
def json_array_cut_off(folder: Path) -> BadInput:
    path = text(folder, '[\n{"tokens": ["Ada"], "entities": []},\n', "train.json")
    return BadInput(path, ("train.json, line 2", "not JSON at the end", "one JSON array, closed by ]"))


@case
def empty_file(folder: Path) -> BadInput:
    return BadInput(
        text(folder, "", "train.jsonl"), ("train.jsonl: no rows", "at least one row", "one sentence a line")
    )


@case
def blank_file(folder: Path) -> BadInput:
    return BadInput(text(folder, "\n \r\n\n", "train.jsonl"), ("train.jsonl: no rows", "at least one row", '"tokens"'))


@case
def empty_array(folder: Path) -> BadInput:
    return BadInput(text(folder, "[]\n", "train.json"), ("train.json: no rows", "at least one row", '"tokens"'))


@case
def missing_file(folder: Path) -> BadInput:
    return BadInput(folder / "absent.jsonl", ("absent.jsonl: no such file", "a file that exists", "check the path"))


@case
def a_folder(folder: Path) -> BadInput:
    json_lines(folder)
    return BadInput(folder, (f"{folder}: is a folder", "allowed: a file", "such as 'train.jsonl'"))


@case
def not_utf8(folder: Path) -> BadInput:
    path = folder / "train.jsonl"
    path.write_bytes(json.dumps(GOOD_ROWS[0]).encode() + b'\n{"tokens": ["caf\xe9"], "entities": []}\n')
    return BadInput(path, ("train.jsonl, line 2", "byte 17 of the line, 0xe9", "UTF-8 text", "iconv -f"))


@case
def utf16(folder: Path) -> BadInput:
    path = folder / "train.jsonl"
    path.write_bytes(json.dumps(GOOD_ROWS[0]).encode("utf-16"))
    return BadInput(path, ("train.jsonl, line 1", "0xff", "UTF-8 text", "iconv -f UTF-16"))


@case
def prose(folder: Path) -> BadInput:
    path = text(folder, "Ada met Bob in Rome.\nIt rained.\n", "notes.txt")
    return BadInput(path, ("notes.txt, line 1", "'Ada met Bob in Rome.'", "columns", '{"id": "1"'))


@case
def column_file_without_a_tag(folder: Path) -> BadInput:
    path = text(folder, "Ada B-PER\nmet O\nBob\n\nRome B-LOC\n", "train.txt")
    return BadInput(path, ("train.txt, line 3", "no tag in 'Bob'", "a token and a tag", "blank line between"))


@case
def column_file_without_a_token(folder: Path) -> BadInput:
    path = text(folder, "Ada\tB-PER\n\tO\n", "train.txt")
    return BadInput(path, ("train.txt, line 2", "the token is empty, ''", "a token and a tag", "take the line out"))


@case
def column_file_with_a_tag_of_no_scheme(folder: Path) -> BadInput:
    path = text(folder, "Ada\tB-PER\nmet\tO\nBob\tX-PER\n", "train.bio")
    return BadInput(path, ("train.bio, line 3", "tag 'X-PER'", "B-, I-, E-, M- or S-", "such as B-PER"))


@case
def pos_file_without_a_tag(folder: Path) -> BadInput:
    path = text(folder, "我们/PRON 在/ADP 嘉鱼/PROPN\n我/PRON 看 书/NOUN\n", "train.txt")
    return BadInput(path, ("train.txt, line 2", "'看' has no tag", "word/TAG", "write it as"))


@case
def conllu_without_upos(folder: Path) -> BadInput:
    word = "{}\t{}\t_\t{}\t_\t_\t0\troot\t_\t_\n"
    path = text(folder, word.format(1, "Ada", "PROPN") + "\n" + word.format(1, "met", "_"), "train.conllu")
    return BadInput(path, ("train.conllu, line 3", "word 1 'met' has UPOS '_'", "a UPOS tag", "fill in"), task="pos")


@case
def conllu_with_a_broken_id(folder: Path) -> BadInput:
    path = text(folder, "one\tAda\t_\tPROPN\t_\t_\t0\troot\t_\t_\n", "train.conllu")
    return BadInput(path, ("train.conllu, line 1", "one", "ten columns", "correct this sentence"), task="pos")


# ------------------------------------------------------------------ running text and released data


@case
def offsets_cut_a_word(folder: Path) -> BadInput:
    line = json.dumps({"id": "x", "text": "Ada met Bob", "entities": [span(0, 2)]})
    path = text(folder, line + "\n", "train.jsonl")
    return BadInput(path, ("train.jsonl, line 1", "[0, 2) 'PER' 'Ad' cuts a word", "'Ada' [0, 3)", "move the span"))


@case
def offsets_past_the_end(folder: Path) -> BadInput:
    path = text(folder, json.dumps({"text": "Ada", "entities": [span(0, 4)]}) + "\n", "train.jsonl")
    return BadInput(path, ("train.jsonl, line 1", "[0, 4) 'PER' leaves", "3 characters", "count characters from 0"))


@case
def offsets_with_inclusive_ends(folder: Path) -> BadInput:
    line = json.dumps({"text": "我在嘉鱼", "entities": [span(2, 3, "LOC", text="嘉鱼")]}, ensure_ascii=False)
    path = text(folder, line + "\n", "train.jsonl")
    return BadInput(path, ("train.jsonl, line 1", "cuts out '嘉', its text is '嘉鱼'", "end exclusive"))


@case
def offsets_text_no_string(folder: Path) -> BadInput:
    path = text(folder, '{"text": 7, "entities": []}\n', "train.jsonl")
    return BadInput(path, ("train.jsonl, line 1", "text is 7", "a string", "write the sentence"))


@case
def released_row_with_a_wrong_span(folder: Path) -> BadInput:
    entity = {"start": 0, "end": 3, "entity": "PER"}
    path = text(folder, json.dumps({"text": ["Ada", "met"], "entities": [entity]}) + "\n", "train.jsonl")
    return BadInput(path, ("train.jsonl, line 1", "[0, 3) 'PER' leaves the sentence of 2 tokens", "count tokens"))


# ------------------------------------------------------------------ label files of released checkpoints


@case
def label_file_with_a_gap(folder: Path) -> BadInput:
    path = text(folder, "O\nPER\n\nLOC\n", "labels.txt")
    return BadInput(path, ("labels.txt, line 3", "a gap, label ''", "take out the blank line"), role="label_file")


@case
def label_file_with_a_gap_in_idx(folder: Path) -> BadInput:
    labels = {"O": {"idx": 0, "is_target": True}, "PER": {"idx": 2, "is_target": True}}
    path = text(folder, json.dumps(labels), "labels.json")
    fragments = ("labels.json", "'PER' has idx 2", "allowed: idx 1", "number the labels")
    return BadInput(path, fragments, role="label_file")


@case
def label_file_without_o(folder: Path) -> BadInput:
    path = text(folder, "PER\nLOC\n", "labels.txt")
    return BadInput(path, ("labels.txt, line 1", "'PER' has id 0", '"O" as label 0', 'put "O" in front'), "label_file")


@case
def label_file_with_a_label_twice(folder: Path) -> BadInput:
    path = text(folder, "O\nPER\nPER\n", "labels.txt")
    return BadInput(path, ("labels.txt, line 3", "'PER' stands twice", "each label once", "take out one"), "label_file")


@case
def label_file_with_an_extension_in_front(folder: Path) -> BadInput:
    labels = {name: {"idx": idx, "is_target": name != "NOUN"} for idx, name in enumerate(("O", "NOUN", "PER"))}
    path = text(folder, json.dumps(labels), "labels.json")
    fragments = ("labels.json", "'PER' stands behind extension label 'NOUN'", "targets first", "check is_target")
    return BadInput(path, fragments, role="label_file")


@case
def label_file_without_is_target(folder: Path) -> BadInput:
    path = text(folder, '{"O": {"idx": 0}}', "labels.json")
    return BadInput(path, ("labels.json", "'O' is {'idx': 0}", '"is_target": true', "both keys"), role="label_file")


@case
def empty_label_file(folder: Path) -> BadInput:
    return BadInput(text(folder, "", "labels.txt"), ("labels.txt: no labels", '"O"', "a label a line"), "label_file")
