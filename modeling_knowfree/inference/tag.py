"""`knowfree evaluate` and `knowfree predict`: a finished model over a file, by one process or several."""

import json
import logging
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm import tqdm
from transformers import PreTrainedConfig

from .. import KnowFreeConfig, KnowFreeForTokenClassification, KnowFreePipeline
from ..data.lines import Line, decode_lines
from ..data.readers import InputError, Row, read_rows
from ..data.rows import Place, bad_input, check_encodable, show, span_sets
from ..data.stored import stored_object
from ..loading import ORIGIN_FILE, load_config, load_tokenizer, refuse_pickles, told_in_one_line
from ..metrics import span_scores
from ..units_knowfree import infer_unit
from ..windows_knowfree import usual_length
from .outputs import after, parquet_rows

LONGEST = 1_000_000  # characters or tokens of one input: more would fill the memory of a small machine
BATCHES_AT_ONCE = 16  # sentences are sorted by length within this many batches

logger = logging.getLogger(__name__)


def processes() -> PartialState:
    """The processes that this command runs in: their number, this one's index and device."""
    # Unless told that it is on a CPU, each of several processes there believes itself alone.
    return PartialState(cpu=not torch.accelerator.is_available())


def load_pipeline(model: str, device: str | None = None) -> KnowFreePipeline:
    """
    The tagger in a folder or Hub repository.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, …; by default this process's.

    Raises:
        InputError: nothing there, not a KnowFREE model, no tokenizer, weights that cannot be read, or no such device.
    """
    place = processes().device if device is None else _device(device)
    if not Path(model).is_dir() and (Path(model).exists() or model.count("/") != 1 or model.startswith(("/", "."))):
        raise InputError(f"--model {model}: no such folder; name one that `knowfree train` wrote, or a Hub id")
    if (Path(model) / "tagger.json").is_file():
        raise InputError(
            f"--model {model}: is an export to ONNX; tag with the OnnxTagger of its onnx_tagger.py, or name the folder "
            "that it was exported from"
        )
    where = f"--model {model}" + ("" if Path(model).is_dir() else " (no folder here, so a Hub id)")
    while True:
        before = _stamp(model)
        try:
            pipe = _load(model, place, where)
        except InputError:
            if _stamp(model) == before:
                raise
        else:
            if _stamp(model) == before:
                return pipe
        logger.info("%s was replaced while it was being read; it is read again", model)


def _stamp(model: str) -> list[tuple[str, int, int]]:
    """What tells whether a model's folder is still the same; nothing of a Hub id."""
    files = sorted(path for kind in ("config.json", "*.safetensors") for path in Path(model).glob(kind))
    with suppress(FileNotFoundError):
        return [(path.name, path.stat().st_ino, path.stat().st_mtime_ns) for path in files]
    return []


def _load(model: str, place: torch.device, where: str) -> KnowFreePipeline:
    with told_in_one_line(where):
        config = load_config(model)
        if not isinstance(config, KnowFreeConfig):
            raise InputError(
                f"--model {model}: holds a {config.model_type} model, not a KnowFREE one; train one on it: "
                f"knowfree train --model_name_or_path {model} …"
            )
        refuse_pickles(model)
        network = KnowFreeForTokenClassification.from_pretrained(model, config=config, trust_remote_code=False)
        tokenizer = load_tokenizer(model)
        return KnowFreePipeline(model=network, tokenizer=tokenizer, task="knowfree", device=place)


def unit_of_model(model: str) -> str:
    """`character` or `word`: what a finished model counts in."""
    return load_config(model).unit


def _device(name: str) -> torch.device:
    mend = "name cpu, cuda, cuda:0, mps … that is there, or leave --device out"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"--device {name}: {' '.join(str(error).split()):.150}; {mend}") from error
    if device.type == "meta":
        raise InputError(f"--device {name}: holds no numbers; {mend}")
    return device


def tag(
    pipe: KnowFreePipeline,
    rows: Iterable[Row],
    *,
    batch_size: int,
    batches_at_once: int = BATCHES_AT_ONCE,
    cuts: Counter[str] | None = None,
    **options: Any,
) -> Iterator[tuple[Row, list]]:
    """
    Rows with their spans, in input order; every process reads all rows and tags its share, the main process yields.
    Memory does not grow with the number of rows.

    Args:
        rows: all with `tokens`, or all with `text`.
        batches_at_once: how many batches of rows each process reads before it tags any. More than one: and so many
            again, which become pieces while the model works.
        cuts: at the end gets added what the pipeline's option of that name counts, of all processes.
        options: `threshold`, `decoding`, `spans_per_batch`.
    """
    state = processes()
    share = batches_at_once * batch_size
    stream = iter(rows)
    first = list(islice(stream, 1))
    key = "tokens" if first and "tokens" in first[0] else "text"
    stream, mine = chain(first, stream), slice(state.process_index * share, (state.process_index + 1) * share)
    chunks: deque[list[Row]] = deque()  # read, not yet yielded
    own: Counter[str] = Counter()
    told: dict[str, Any] = {"is_split_into_words": key == "tokens", "cuts": own, **options}

    def shares() -> Iterator[list]:
        while chunk := list(islice(stream, share * state.num_processes)):
            chunks.append(chunk)
            yield [row[key] for row in chunk[mine]]

    if batches_at_once > 1:
        answers = pipe.tag_each(shares(), batch_size, **told)
    else:
        answers = (pipe(texts, batch_size=batch_size, **told) for texts in shares())
    for found in answers:
        # One object a process: gather_object joins lists, and keeps the order of processes.
        everyone = gather_object([found]) if state.num_processes > 1 else [found]
        chunk = chunks.popleft()
        if state.is_main_process:
            yield from zip(chunk, (spans for part in everyone for spans in part), strict=True)
    if cuts is not None:
        for counts in gather_object([own]) if state.num_processes > 1 else [own]:
            cuts.update(counts)


def tell_cuts(cuts: Counter[str], config: PreTrainedConfig) -> None:
    """Says how many texts were cut where, if any were."""
    if not cuts["texts"]:
        return
    logger.warning(
        "%d texts longer than %s were cut: %d windows at sentence ends, %d inside a sentence",
        cuts["texts"],
        f"{usual_length(config.train_lengths)} units" if config.train_lengths else f"{config.max_pieces} pieces",
        cuts["sentence_ends"],
        cuts["inside_sentences"],
    )


def evaluate(
    model: str,
    data: str,
    *,
    batch_size: int = 8,
    device: str | None = None,
    reading: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any] | None:
    """
    Score a model on a file, through the pipeline, windows included.

    Args:
        model: folder or Hub id.
        data: file in any layout of `data.readers`.
        reading: how the file is read, what `read_rows` takes; its `task` is the model's unless it is given.
        options: `threshold`, `decoding`, `spans_per_batch`.

    Returns:
        `span_scores` of the file, with `reason` where F1 is 0: why; `unreachable_gold`, how many gold spans have a
        label that the model does not know, or are wider than its `max_span_width`, where there are any; `cut` where
        texts were cut into windows: how many `texts`, at how many `sentence_ends`, and in how many places
        `inside_sentences`. `None` in all but the main process.

    Raises:
        InputError: for a bad model folder or file, or gold of which the model knows no label.
    """
    pipe = load_pipeline(model, device)
    config = pipe.model.config
    rows = read_rows(data, unit=config.unit, **{"task": task_of(model), **(reading or {})})
    _tell_unknown_labels(rows, config.target_labels, data)
    if other := _other_unit(rows, config.unit):
        logger.warning("%s: %s", data, other)
    main = processes().is_main_process
    cuts: Counter[str] = Counter()
    tagged = tag(pipe, rows, batch_size=batch_size, cuts=cuts, **options)
    predicted = [
        [(span["start"], span["end"], span["entity_group"]) for span in spans]
        for _, spans in tqdm(tagged, total=len(rows), desc="evaluate", unit="sentence", disable=not main)
    ]
    if not main:
        return None
    scores = span_scores(span_sets(rows), predicted)
    if unreachable := sum(_is_unreachable(span, config) for row in rows for span in row["entities"]):
        scores["unreachable_gold"] = unreachable
    if cuts:
        scores["cut"] = dict(cuts)
        tell_cuts(cuts, config)
    if scores["f1"] == 0:
        scores["reason"] = _why_zero(pipe, rows, scores, options.get("threshold", config.threshold))
    return scores


def task_of(model: str) -> str | None:
    """What a model's folder says that it was trained for; None where it does not, and of a Hub id."""
    path = Path(model) / ORIGIN_FILE
    return stored_object(path).get("task") if path.is_file() else None


def _is_unreachable(span: dict[str, Any], config: PreTrainedConfig) -> bool:
    """Whether the model can never find a gold span."""
    too_wide = config.max_span_width is not None and span["end"] - span["start"] > config.max_span_width
    return too_wide or span["label"] not in config.target_labels


def _tell_unknown_labels(rows: Sequence[Row], labels: Sequence[str], data: str) -> None:
    """Says which gold labels the model does not know. Raises InputError where it knows none."""
    gold = Counter(span["label"] for row in rows for span in row["entities"])
    unknown = Counter({label: count for label, count in gold.items() if label not in labels})
    if unknown and len(unknown) == len(gold):
        raise InputError(
            f"{data}: the model cannot find what it has not learnt: no label in common: {show(sorted(unknown))}; "
            f"allowed: {', '.join(labels)}; mend: rename the labels, or train a model that has them"
        )
    if unknown:
        logger.warning(
            "%s: %d of %d gold spans have labels that the model does not know, and count as missed: %s",
            data,
            unknown.total(),
            gold.total(),
            ", ".join(f"{label} ({count})" for label, count in unknown.most_common(10)),
        )


def _other_unit(rows: Sequence[Row], unit: str) -> str | None:
    """What to say of tokens that are not what the model counts in; None for those that are."""
    found = infer_unit(rows)
    return None if found == unit else f"tokens are {found}s, the model counts in {unit}s: cut them alike"


def _why_zero(pipe: KnowFreePipeline, rows: Sequence[Row], scores: dict[str, Any], threshold: float) -> str:
    """Why F1 is 0, in words that say what to do."""
    if not scores["gold_spans"]:
        return "the file has no entity"
    if other := _other_unit(rows, pipe.model.config.unit):
        return other
    widest, spans = pipe.model.config.max_span_width, [span for row in rows for span in row["entities"]]
    if widest is not None and all(span["end"] - span["start"] > widest for span in spans):
        return f"every gold span is wider than the model's max_span_width {widest}; train with a larger one"
    if scores["predicted_spans"]:
        return f"{scores['predicted_spans']} spans were found, none of them is right; did the model learn this task?"
    looked = [row["tokens"] for row in rows[:64]]
    found = pipe(looked, is_split_into_words=True, threshold=1e-6, decoding="flat")
    best = max((span["score"] for sentence in found for span in sentence), default=0.0)
    told = f"{best:.2g}" if best < 0.99 else f"{best:.7f}"
    return f"no prediction over the threshold {threshold:g}; the best has {told}: train longer, or lower --threshold"


def predict(
    model: str,
    source: Iterable[bytes] | Path,
    *,
    name: str,
    text: bool,
    batch_size: int = 8,
    device: str | None = None,
    done: Iterable[Row] = (),
    **options: Any,
) -> Generator[str, None, None]:
    """
    JSON lines for JSON lines, or for lines of raw text, in input order.

    Args:
        model: folder or Hub id.
        source: lines in UTF-8, each a JSON object with `tokens` or `text`; with `text=True` each a text. Or a Parquet
            file with such columns.
        name: what errors call the input; `-` for standard input, which is answered batch by batch.
        done: the rows that are done already, which the input begins with.
        options: `threshold`, `decoding`, `spans_per_batch`.

    Yields:
        `{"id", "tokens" | "text", "entities": [{"start", "end", "label", "score", "word"}]}`, offsets in units for
        tokens, in characters for text.

    Raises:
        InputError: a bad model folder or line, a line unlike the first, standard input for several processes.
    """
    piped = name == "-"
    if piped and processes().num_processes > 1:
        raise InputError("--input -: only one process can read standard input; name a file, or start one process")
    if text and isinstance(source, Path):
        raise InputError(f"--text: {name} is Parquet, no lines of text; leave --text out")
    rows: Iterator[Row]
    if isinstance(source, Path):
        rows = checked(parquet_rows(source), name)
    else:
        numbered = decode_lines(source, name)
        rows = _raw(numbered, name) if text else _parse(numbered, name)
    rows = after(rows, done, name)
    if not piped:  # what is wrong with its beginning is told before the model is loaded
        rows = chain(list(islice(rows, 1)), rows)
    pipe = load_pipeline(model, device)
    # Whoever writes to a pipe may wait for the answer.
    at_once = 1 if piped else BATCHES_AT_ONCE
    cuts: Counter[str] = Counter()
    tagged = tag(pipe, rows, batch_size=batch_size, batches_at_once=at_once, cuts=cuts, **options)
    for row, spans in tqdm(tagged, desc="predict", unit="sentence", disable=not processes().is_main_process):
        yield json.dumps(row | {"entities": entities_of(spans)}, ensure_ascii=False)
    tell_cuts(cuts, pipe.model.config)


def entities_of(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The spans of the pipeline as they are written."""
    return [
        {"start": s["start"], "end": s["end"], "label": s["entity_group"], "score": s["score"], "word": s["word"]}
        for s in spans
    ]


def _raw(lines: Iterable[Line], name: str) -> Iterator[Row]:
    for at, line in enumerate(lines):
        yield row_of_text(line.text, Place(name, line.number), first=at == 0)


def row_of_text(line: str, place: Place, first: bool) -> Row:
    """A line of running text as a row. Raises InputError for one too long, or a first one that is JSON."""
    if first and (keys := _kinds_of_json(line)):
        problem = f"is JSON with {' and '.join(map(show, keys))}, not running text"
        bad_input(place, problem, allowed="with --text a text a line", mend="leave --text out")
    _check_length(len(line), "characters", place)
    return {"text": line}


def _kinds_of_json(line: str) -> list[str]:
    if not line.lstrip().startswith("{"):
        return []
    try:
        return kinds_of_row(json.loads(line))
    except (ValueError, RecursionError):
        return []


def checked(rows: Iterable[Row], name: str, key: str | None = None, start: int = 1) -> Iterator[Row]:
    """
    Rows of a Parquet file, each with tokens, or each with text.

    Args:
        key: which of the two; by default what the first row has.
        start: number of the first row.

    Raises:
        InputError: a row without it, or too long.
    """
    for number, row in enumerate(rows, start):
        place = Place(name, number, noun="row")
        given = kinds_of_row(row)
        key = key or (given[0] if given else None)
        if key is None or key not in given:
            bad_input(
                place, f"has no {key or 'tokens or text'}", allowed="one in every row", mend="leave such rows out"
            )
        yield _kept(row, key, place)


def _kept(row: Row, key: str, place: Place) -> Row:
    _check_length(len(row[key]), "characters" if key == "text" else "tokens", place)
    row = {kept: row[kept] for kept in ("id", key) if row.get(kept) is not None}
    check_encodable(json.dumps(row, ensure_ascii=False), "the row", place)
    return row


def _check_length(length: int, what: str, place: Place) -> None:
    if length > LONGEST:
        bad_input(
            place,
            f"too long: {length:,} {what}",
            allowed=f"up to {LONGEST:,}",
            mend="split it into lines: each is read in windows anyway",
        )


def _parse(lines: Iterable[Line], name: str) -> Iterator[Row]:
    key = None
    for number, line in lines:
        if line.strip():
            row = row_of_line(line, Place(name, number), key)
            key = key or kinds_of_row(row)[0]
            yield row


def row_of_line(line: str, place: Place, key: str | None) -> Row:
    """
    A JSON line as a row.

    Args:
        key: `tokens` or `text`, whichever the lines before had; None for the first.

    Raises:
        InputError: no such row.
    """
    allowed = '{"tokens": ["…", "…"]} or {"text": "…"}'
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        bad_input(place, f"not JSON ({error}): {show(line)}", allowed=allowed, mend=_mend_of(line, place))
    given = kinds_of_row(row)
    if not given:
        bad_input(place, show(line), allowed=allowed, mend="write it as one of these; for raw text add --text")
    if key is not None and key not in given:
        bad_input(
            place, f"has {given[0]!r}, the first line has {key!r}", allowed="one of the two", mend="tag two files"
        )
    return _kept(row, key or given[0], place)


def _mend_of(line: str, place: Place) -> str:
    if line.lstrip().startswith(("{", "[")):
        return "write the line anew, it is broken or cut off, or leave it out"
    if Path(place.path).suffix.lower() in (".csv", ".tsv"):
        return "a table is not read here: write a JSON object a line, or the texts alone, one a line, and add --text"
    return "for raw text add --text"


def kinds_of_row(row: Any) -> list[str]:
    """Which of `tokens` and `text` a parsed line has, in a form that can be tagged."""
    if not isinstance(row, dict):
        return []
    tokens = row.get("tokens")
    are_units = isinstance(tokens, list) and all(isinstance(unit, str) for unit in tokens)
    return ["tokens"] * are_units + ["text"] * isinstance(row.get("text"), str)
