"""The paper's data sets by the names that `examples/runs` call them: what `knowfree data get NAME` fetches."""

from dataclasses import dataclass

from .rows import InputError

PARQUET_BRANCH = "refs/convert/parquet"  # of data sets that the Hub knows only as a script, which is not run


@dataclass(frozen=True)
class KnownSet:
    """
    Where a data set comes from.

    Attributes:
        title: what people call it.
        licence: as its source states it.
        hub: id on the Hub; None: it is not to be had there under a licence that allows it.
        config, revision: of the Hub's data set.
        tag_column: the column with the tags, where several could be it.
        tag_names_file: file of the repository that numbers the tags, `{"O": 0, …}`, where the columns do not.
        by_hand: where people get it themselves, or what they should know.
    """

    title: str
    licence: str
    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    tag_column: str | None = None
    tag_names_file: str | None = None
    by_hand: str = ""


KNOWN = {
    "weibo": KnownSet(
        "Weibo NER, second version",
        "annotations CC BY-SA 3.0; the messages follow Weibo's terms of service",
        hub="hltcoe/weibo_ner",
        revision=PARQUET_BRANCH,
    ),
    "mit-movie": KnownSet(
        "MIT Movie, trivia10k13",
        "not stated (the Hub says: other)",
        hub="tner/mit_movie_trivia",
        revision=PARQUET_BRANCH,
        tag_column="tags",
        tag_names_file="dataset/label.json",
    ),
    "stockmark-ja": KnownSet(
        "Stockmark NER, Wikipedia",
        "CC BY-SA 3.0",
        hub="stockmark/ner-wikipedia-dataset",
        by_hand="it has one split: cut dev and test off train yourself",
    ),
    "klue-ko": KnownSet(
        "KLUE NER, which stands in for Naver Changwon NER",
        "CC BY-SA 4.0",
        hub="klue/klue",
        config="ner",
        by_hand="its test split has no annotation: cut one off train",
    ),
    "ud": KnownSet(
        "Universal Dependencies, Chinese GSD",
        "CC BY-SA 4.0",
        hub="universal-dependencies/universal_dependencies",
        config="zh_gsd",
        revision=PARQUET_BRANCH,
        tag_column="upos",
    ),
    "youku": KnownSet(
        "Youku NER",
        "not stated",
        by_hand="github.com/allanj/ner_incomplete_annotation has it in data/youku, in BIO",
    ),
    "cmeee": KnownSet(
        "CMeEE of CBLUE",
        "after registration only",
        by_hand="register at CBLUE (Tianchi) and give the JSON files as they are",
    ),
    "pku": KnownSet(
        "SIGHAN bakeoff 2005, PKU",
        "research only",
        by_hand="sighan.cs.uchicago.edu/bakeoff2005 has icwb2-data: its .utf8 files are read as they are",
    ),
    "msr": KnownSet(
        "SIGHAN bakeoff 2005, MSR",
        "research only",
        by_hand="sighan.cs.uchicago.edu/bakeoff2005 has icwb2-data: its .utf8 files are read as they are",
    ),
}


def known_set(name: str) -> KnownSet | None:
    """
    The data set of the paper that `name` is; None for an id of the Hub or a folder.

    Raises:
        InputError: one that the Hub does not have under a licence that allows it.
    """
    found = KNOWN.get(name)
    if found is not None and found.hub is None:
        raise InputError(f"{name}: {found.title} cannot be fetched (licence: {found.licence}); mend: {found.by_hand}")
    return found
