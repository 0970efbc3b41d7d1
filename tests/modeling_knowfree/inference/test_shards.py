"""Shards: every line in exactly one, whole or absent in the output, on any fsspec path."""

import gzip
import json

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from knowfree import cli
from modeling_knowfree.data.rows import InputError
from modeling_knowfree.inference import shards
from modeling_knowfree.inference.ray_engine import Worker

TEXTS = ["the bear left at 4 am", "", "snow 雪 " * 40, "old axe", *(f"creek {at}" for at in range(30))]


@pytest.fixture(params=["folder", "memory://"])
def place(request, tmp_path):
    yield str(tmp_path) if request.param == "folder" else f"memory://{tmp_path.name}"
    fsspec.filesystem("memory").store.clear()


def write(path: str, content: bytes) -> None:
    with fsspec.open(path, "wb", auto_mkdir=True) as file:
        file.write(content)


def plan_of(source: str, output: str = "unused", rows: int = 3, **options) -> shards.Plan:
    given = {"text": False, "output_format": None, "model": "m", "options": {}} | options
    return shards.make_plan(source, output, rows=rows, **given)


def rows_of(plan: shards.Plan) -> list[dict]:
    return [row for shard in plan.shards() for row in shards.read_shard(plan, shard)]


@pytest.mark.parametrize("step", [1, 2, 7, 40, 10_000])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_every_line_is_in_one_shard_whatever_their_size(place, step, end):
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in TEXTS]
    lines.insert(3, "")
    write(f"{place}/in/a.jsonl", b"\xef\xbb\xbf" + "\n".join(lines[:9]).encode() + b"\n")
    write(f"{place}/in/b.jsonl", "\r\n".join(lines[9:]).encode() + end)
    write(f"{place}/in/_SUCCESS", b"")
    plan = shards.Plan(**{**vars(plan_of(f"{place}/in")), "step": step})
    rows = rows_of(plan)
    assert [row["text"] for row in rows] == TEXTS
    assert [row["order"] for row in rows] == sorted({row["order"] for row in rows})
    # `order` counts bytes: what stands there is the line
    whole = b"".join(fsspec.open(f"{place}/in/{name}.jsonl", "rb").open().read() for name in "ab")
    assert all(whole[row["order"] :].lstrip(b"\xef\xbb\xbf").startswith(b'{"text"') for row in rows)


def test_rows_of_parquet_are_in_one_shard_each(place):
    tables = [pa.table({"id": range(len(texts)), "text": texts, "more": [1] * len(texts)}) for texts in
              (TEXTS[:10], TEXTS[10:])]  # fmt: skip
    for name, table in zip("ab", tables, strict=True):
        with fsspec.open(f"{place}/in/{name}.parquet", "wb", auto_mkdir=True) as file:
            pq.write_table(table, file, row_group_size=4)
    for rows in (1, 3, 4, 9, 1000):
        found = rows_of(plan_of(f"{place}/in", rows=rows))
        assert [(row["order"], row["text"]) for row in found] == list(enumerate(TEXTS))


def test_a_shard_is_whole_or_absent_and_a_rerun_has_only_the_missing_ones(place):
    write(f"{place}/in.txt", "\n".join(TEXTS).encode())
    plan = plan_of(f"{place}/in.txt", f"{place}/out", text=True, output_format="parquet")
    missing = shards.start(plan)
    assert missing == plan.shards() and len(missing) > 5

    def broken():
        yield {"order": 0, "text": "a", "entities": []}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shards.write_shard(plan, missing[0], broken())
    assert shards.start(plan) == missing  # nothing of it is there
    spans = [{"start": 0, "end": 3, "label": "X", "score": 0.5, "word": "the"}]
    for shard in missing[1:]:
        rows = list(shards.read_shard(plan, shard))
        assert shards.write_shard(plan, shard, (row | {"entities": spans} for row in rows)) == len(rows)
    assert shards.start(plan) == missing[:1]
    shards.write_shard(plan, missing[0], (row | {"entities": []} for row in shards.read_shard(plan, missing[0])))
    shards.clean_up(plan)
    files, folder = fsspec.core.url_to_fs(f"{place}/out")
    names = sorted(path.rsplit("/", 1)[-1] for path in files.ls(folder, detail=False))
    assert names == [*(plan.name(shard) for shard in missing), "plan.json"]
    tables = [pq.read_table(files.open(f"{folder}/{name}", "rb")) for name in names[:-1]]
    found = pa.concat_tables(tables).to_pylist()  # one schema, shards without a line too
    assert [row["text"] for row in found] == TEXTS and found[-1]["entities"] == spans
    with pytest.raises(InputError, match=r"another run \(options differ\)"):
        shards.start(plan_of(plan.source, plan.output, text=True, output_format="parquet", options={"threshold": 0.2}))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "has no row"),
        (
            gzip.compress(b'{"text": "a"}\n', mtime=0),
            r"in\.jsonl: is packed by gzip.* mend: unpack it first: gzip -d /",
        ),
        (b'{"txt": "a"}\n', r"in\.jsonl, byte 0: .*txt"),
        (b'{"text": "a"}\n{"tokens": ["a"]}\n', r"in\.jsonl, byte 14: has 'tokens', the first line has 'text'"),
        (b'{"text": "a"}\n{"text": "\xff"}\n', r"in\.jsonl, byte 14: .*0xff"),
    ],
)
def test_what_is_bad_is_told_with_its_file_and_byte(content, told, tmp_path):
    (tmp_path / "in.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=told):
        rows_of(plan_of(str(tmp_path / "in.jsonl")))


def test_a_worker_tags_a_shard_once_and_tells_what_is_wrong_with_a_row(trained, tmp_path):
    lines = ['{"tokens": ["the", "bear", "left"]}', '{"tokens": ["the", "snow"]}', '{"tokens": "snow"}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    options = {"model": str(trained), "output_format": "jsonl"}
    plan = plan_of(str(tmp_path / "in.jsonl"), str(tmp_path / "out"), rows=1, **options)
    first, *_, last = (shard._asdict() for shard in shards.start(plan))
    worker = Worker(plan, batch_size=2)
    assert worker(first) == {"rows": 1, "error": ""} and worker(first) == {"rows": 0, "error": ""}
    (row,) = map(json.loads, (tmp_path / "out" / "part-000000.jsonl").read_text().splitlines())
    assert row["order"] == 0 and row["tokens"] == ["the", "bear", "left"] and "entities" in row
    told = worker(last)
    assert told["rows"] == 0 and 'in.jsonl, byte 64: \'{"tokens": "snow"}\'' in told["error"]
    assert not (tmp_path / "out" / plan.name(shards.Shard(**last))).exists()
    assert (
        "no such folder"
        in Worker(shards.Plan(**{**vars(plan), "model": "./none"}), 1)(shards.start(plan)[0]._asdict())["error"]
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--workers", "2"], "--workers: is for Ray"),
        (["--engine", "ray"], "give --input and --output"),
        (["--engine", "ray", "--output", "o", "--device", "cpu"], "--device: Ray gives"),
        (["--engine", "ray", "--output", "o", "--output_format", "conll"], "Ray writes jsonl or parquet"),
    ],
)
def test_options_of_the_other_engine_are_refused_by_name(options, told, trained, tmp_path):
    (tmp_path / "in.txt").write_text("a\n")
    answer = CliRunner().invoke(
        cli, ["predict", "--model", str(trained), "--input", str(tmp_path / "in.txt"), *options]
    )
    assert answer.exit_code == 2 and told in answer.stderr
