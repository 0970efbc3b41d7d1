"""`tokens` (or `words`) beside a list of tags, strings or integers with names: data sets, fine-tuning scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..lines import parse_json, read_lines
from ..rows import InputError, Place, Row, bad_input, check_keys, show
from .base import File, Format, Guess, Options, Placed, each
from .schemes import Scheme, looks_like_tags, read_tags, scheme_of

TOKENS = ("tokens", "words", "token", "sentence", "text", "raw_words", "raw_chars", "chars")
TAGS = ("ner_tags", "ner", "tags", "labels", "label", "ner_labels", "bio", "tag", "tags_ner", "target", "targets")
NO_ENTITIES = ("pos_tags", "pos", "upos", "xpos", "chunk_tags", "chunks", "lemmas", "lemma", "deprel", "head")
PARTS_OF_SPEECH = ("upos", "pos_tags", "pos", "xpos")
INFO = "dataset_info.json"


def spelled_out(entry: Any) -> Any:
    """An entry whose sentence is one text: words and tags between spaces, or a character a tag, as lists."""
    if not isinstance(entry, dict):
        return entry
    token_key = next((key for key in TOKENS if isinstance(entry.get(key), str)), None)
    tag_key = next((key for key in TAGS if isinstance(entry.get(key), str | list)), None)
    if token_key is None or tag_key is None:
        return entry
    text, tags = entry[token_key], entry[tag_key]
    if isinstance(tags, str) and len(text.split()) == len(tags.split()) and looks_like_tags(Counter(tags.split())):
        return entry | {token_key: text.split(), tag_key: tags.split()}
    if isinstance(tags, list) and len(tags) == len(text) > 0 and all(isinstance(tag, str) for tag in tags):
        return entry | ({token_key: list(text)} if looks_like_tags(Counter(tags)) else {})
    return entry


def lists_of(entry: Any) -> tuple[str, list[str]] | None:
    """The key of an entry's tokens and those of its lists that may hold a tag a token."""
    if not isinstance(entry, dict):
        return None
    tokens = next((key for key in TOKENS if isinstance(entry.get(key), list)), None)
    if tokens is None:
        return None
    others = [key for key, value in entry.items() if key != tokens and isinstance(value, list)]
    return tokens, [key for key in others if all(isinstance(item, str | int) for item in entry[key])]


def detect(file: File) -> Guess | None:
    def tagged(entry: dict) -> bool:
        entry = spelled_out(entry)
        if "ner_tags" in entry and "tokens" in entry and "entities" not in entry:
            return True
        found = lists_of(entry)
        if found is None or "entities" in entry or "spans" in entry:
            return False
        return any(key in (*TAGS, *PARTS_OF_SPEECH) and len(entry[key]) == len(entry[found[0]]) for key in found[1])

    share = file.share(tagged)
    return Guess(0.5 + 0.3 * share, "a list of tags beside a list of tokens") if share else None


def read(file: File, options: Options) -> Placed:
    entries = [(place, spelled_out(entry)) for place, entry in file.entries]
    keys = _keys(file, options)
    if keys is None:
        return each(entries, _refuse_row)
    token_key, tag_key = keys
    names = names_of(file, options, tag_key)

    def strings(entry: Any, place: Place) -> list[str]:
        check_keys(entry, (token_key, tag_key), place)
        tokens, tags = entry[token_key], entry[tag_key]
        for key, value in ((token_key, tokens), (tag_key, tags)):
            if not isinstance(value, list):
                bad_input(place, f"{key} is {show(value)}", allowed="a list", mend="write a list, one item a token")
        if len(tokens) != len(tags):
            left = show(tokens[len(tags) :] or tags[len(tokens) :])
            problem = f"{len(tags)} {tag_key} for {len(tokens)} tokens, {left} is left over"
            bad_input(place, problem, allowed=f"{len(tokens)} {tag_key}", mend="give each token one tag")
        return named(tags, names, tag_key, place)

    counts: Counter[str] = Counter()
    for place, entry in entries:
        if not isinstance(entry, InputError):
            try:
                counts.update(tag for tag in strings(entry, place) if isinstance(tag, str))
            except InputError:
                continue  # told when its row is read
    found = scheme_of(counts, named=options.scheme, task=options.task)

    def row(entry: Any, place: Place) -> Row:
        tags = strings(entry, place)
        scheme = found
        if isinstance(scheme, str):
            bad = next((tag for tag in tags if tag not in ("O", "o")), None)
            if bad is None:
                scheme = scheme_of(Counter(tags))
            else:
                _refuse_tag(bad, scheme, place)
        assert isinstance(scheme, Scheme)
        entities = read_tags(scheme, tags, place, options.told)
        return {**entry, "tokens": entry[token_key], "entities": entities}

    return each(entries, row)


def _refuse_row(entry: Any, place: Place) -> None:
    """The error of a row in a file in which none has a list of tokens and one of tags."""
    token_key = next((key for key in TOKENS if key in entry), "tokens") if isinstance(entry, dict) else "tokens"
    check_keys(entry, (token_key,), place)
    tag_key = next((key for key in TAGS if key in entry and key != token_key), "ner_tags")
    check_keys(entry, (token_key, tag_key), place)
    key = token_key if not isinstance(entry[token_key], list) else tag_key
    allowed = "a list of strings beside a list of tags"
    bad_input(place, f"{key} is {show(entry[key])}", allowed=allowed, mend="write lists, one item a token")


def _refuse_tag(tag: Any, why: str, place: Place) -> None:
    from .schemes import ALLOWED, SCHEMES

    mend = f"write tags such as B-PER, or name the scheme: --scheme {', '.join(SCHEMES)}"
    bad_input(place, f"tag {show(tag)}: {why}", allowed=ALLOWED, mend=mend)


def _keys(file: File, options: Options) -> tuple[str, str] | None:
    """The key of the tokens and that of the tags; None where no entry has both."""
    entries = [(entry, found) for entry in map(spelled_out, file.sample) if (found := lists_of(entry))]
    if not entries:
        return None
    entry, (token_key, keys) = next(((e, f) for e, f in entries if f[1]), entries[0])
    if options.tag_column is not None:
        if options.tag_column not in entry:
            allowed = ", ".join(map(show, keys)) or "none"
            bad_input(
                file.place(), f"--tag_column {options.tag_column}", allowed=allowed, mend="name one of these keys"
            )
        return token_key, options.tag_column
    if options.task == "pos" and (tagged := next((key for key in PARTS_OF_SPEECH if key in keys), None)):
        return token_key, tagged
    candidates = [key for key in keys if key not in NO_ENTITIES and _holds_tags(key, entries)]
    certain = [key for key in TAGS if key in candidates]
    if len(candidates) > 1:
        mend = f"name the one that counts: --tag_column {candidates[0]}"
        problem = f"several lists of tags: {', '.join(candidates)}"
        bad_input(file.place(), problem, allowed="one list of tags", mend=mend)
    if not candidates and "ner_tags" in entry:
        return token_key, "ner_tags"
    if not candidates:
        other = [key for key in TAGS if key in keys] or [key for key in keys if key in PARTS_OF_SPEECH]
        return (token_key, other[0]) if other else None
    return token_key, (certain or candidates)[0]


def _holds_tags(key: str, entries: Sequence[tuple[dict, Any]]) -> bool:
    values = Counter(tag for entry, (_, keys) in entries if key in keys for tag in entry[key])
    if all(type(tag) is int for tag in values):
        return key in TAGS or key.endswith("_tags")
    return looks_like_tags(Counter({str(tag): count for tag, count in values.items()}))


def named(tags: Sequence[Any], names: Sequence[str] | None, key: str, place: Place) -> list[Any]:
    """Integers by their names. Raises InputError where they have none."""
    if all(isinstance(tag, str) for tag in tags) and not (names and all(map(str.isdecimal, tags)) and tags):
        return list(tags)
    for tag in tags:
        if not isinstance(tag, str | int):
            bad_input(
                place, f"{key} holds {show(tag)}", allowed="tags, one a token", mend="write O where there is none"
            )
    if names is None:
        odd = next((tag for tag in tags if tag and type(tag) is int), tags[0])
        problem = f"{key} holds integers ({show(odd)}), and nothing says which tag each number is"
        mend = (
            f"give the names in order: --tag_names FILE (one a line, a JSON list, or {INFO}), or {INFO} beside the file"
        )
        bad_input(place, problem, allowed="tags, or integers with names", mend=mend)
    for tag in tags:
        if type(tag) is not int or not 0 <= tag < len(names):
            mend = "use the ids of the ClassLabel's names"
            bad_input(place, f"tag {show(tag)}", allowed=f"an integer from 0 to {len(names) - 1}", mend=mend)
    return [names[tag] for tag in tags]


def names_of(file: File, options: Options, key: str) -> Sequence[str] | None:
    """The names of the integers under `key`: the user's, the table's, or those of a dataset_info.json beside it."""
    if options.tag_names is not None:
        return options.tag_names
    if key in file.tag_names:
        return file.tag_names[key]
    info = file.path.parent / INFO
    if file.stem is not None and info.is_file() and (names := names_in(info).get(key)):
        options.told.add(f"tags named by {INFO}", ", ".join(names[:5]), len(names))
        return names
    return None


def names_in(info: Path) -> dict[str, list[str]]:
    """The ClassLabel names of each column in a dataset_info.json."""
    text = "\n".join(line.text for line in read_lines(info))
    return class_names(parse_json(text, Place(str(info)), "write it with save_to_disk"))


def class_names(info: Any) -> dict[str, list[str]]:
    """The ClassLabel names of each column of a data set's info, whichever way its version writes lists."""
    features = info.get("features") if isinstance(info, Mapping) else None
    found = {}
    for key, feature in (features or {}).items() if isinstance(features, Mapping) else ():
        for names in _names_below(feature):
            found[key] = names
    return found


def _names_below(feature: Any) -> Iterator[list[str]]:
    if isinstance(feature, list):
        feature = {"feature": feature[0]} if feature else {}
    if not isinstance(feature, Mapping):
        return
    names = feature.get("names")
    if feature.get("_type") == "ClassLabel" and isinstance(names, list) and all(isinstance(n, str) for n in names):
        yield names
    yield from _names_below(feature.get("feature"))


def read_tag_names(path: Path) -> list[str]:
    """`--tag_names`: a JSON list, a dataset_info.json (or its `names`), or one name a line.

    Raises InputError for anything else.
    """
    place = Place(str(path))
    lines = [line.text.strip() for line in read_lines(path)]
    text = "\n".join(lines).strip()
    names: Any = [line for line in lines if line]
    if text.startswith(("[", "{")):
        names = parse_json(text, place, 'write ["O", "B-PER", …]')
        if isinstance(names, dict):
            columns = class_names(names)
            by_id = names.get("id2label", names)
            if columns:
                names = columns.get("ner_tags") or next(iter(columns.values()))
            elif isinstance(by_id, dict) and all(number.isdecimal() and len(number) < 10 for number in by_id):
                names = [by_id[number] for number in sorted(by_id, key=int)]
            elif isinstance(by_id, dict) and sorted(map(repr, by_id.values())) == sorted(map(repr, range(len(by_id)))):
                names = sorted(by_id, key=by_id.__getitem__)
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        allowed = f"a list of names, or {INFO}"
        bad_input(place, f"no names of tags: {show(text[:60])}", allowed=allowed, mend='write ["O", "B-PER", …]')
    return names


FORMAT = Format(
    name="tags",
    tool="datasets of the Hub, fine-tuning scripts of transformers",
    recognised="`tokens` or `words` beside `ner_tags`, `labels` or `tags` of equal length",
    trap="integers mean what their names say, and without names they are refused",
    detect=detect,
    read=read,
    aliases=("hf-words", "ner-tags-names", "ner-tags-bare"),
)
