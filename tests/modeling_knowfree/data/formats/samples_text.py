"""A small file of each format that is text, or a folder, invented here, and how it reads."""

from tests.modeling_knowfree.data.formats.samples import (
    CHINESE,
    NESTED,
    RAIN,
    RIO,
    TEXT,
    ZH,
    ZH_RAIN,
    Sample,
    columns,
    lines,
)

SAMPLES = [
    Sample("conll", "train.txt", columns(" ", "B-PER I-PER O O B-LOC I-LOC O O O O"), RIO),
    Sample("conll", "bilou.txt", columns("\t", "B-PER L-PER O O B-LOC L-LOC O O O O"), RIO),
    Sample("conll", "suffix.txt", columns("\t", "PER_B PER_I - - LOC_B LOC_I - - - -"), RIO),
    Sample(
        "conll",
        "io.txt",
        columns(" ", "S-BAHN S-BAHN O O ORT ORT O O O O"),
        [(RIO[0][0], [(0, 2, "S-BAHN"), (4, 6, "ORT")]), RIO[1]],
        told=("touching entities",),
    ),
    Sample(
        "conll",
        "german.tsv",
        "#\thttp://example.invalid\n1\tMina\tB-PER\tO\n2\tBo\tI-PER\tO\n3\tin\tO\tO\n4\tPort\tB-LOC\tO\n5\tRio\tI-LOC\tB-NAME\n\n"
        "1\t#\tO\tO\n2\t1998\tO\tO\n",
        [(["Mina", "Bo", "in", "Port", "Rio"], [(0, 2, "PER"), (3, 5, "LOC"), (4, 5, "NAME")]), (["#", "1998"], [])],
        told=("remarks",),
    ),
    Sample(
        "conll-bioes",
        "single.txt",
        "Mina S-PER\nslept O\n",
        [(["Mina", "slept"], [(0, 1, "PER")])],
        options={"format": "conll-bioes"},
    ),
    Sample(
        "conllu",
        "ud.conllu",
        "# sent_id = s1\n1-2\tzum\t_\t_\t_\t_\t_\t_\t_\t_\n1\tzu\tzu\tADP\t_\t_\t0\troot\t_\tNER=O\n"
        "2\tdem\tder\tDET\t_\t_\t1\tdet\t_\tNER=O\n3\tRio\tRio\tPROPN\t_\t_\t1\tobl\t_\tSpaceAfter=No|NER=B-LOC\n"
        "4\t🚲\t🚲\tSYM\t_\t_\t1\tdep\t_\tNER=O\n",
        [(["zu", "dem", "Rio", "🚲"], [(2, 3, "LOC")])],
    ),
    Sample(
        "pos",
        "pku.txt",
        "20260101-01-001-001/m  [里约/ns  港/n]ns  1/2/m  🚲/w  。/w\n20260101-01-001-002/m  下雨/v  了/u\n",
        [
            (list("里约港1/2🚲。"), [(0, 2, "ns"), (2, 3, "n"), (3, 6, "m"), (6, 7, "w"), (7, 8, "w")]),
            (list("下雨了"), [(0, 2, "v"), (2, 3, "u")]),
        ],
        told=("1 compounds",),
    ),
    Sample(
        "slashed-bio",
        "slashed.txt",
        "Mina/B-PER Bo/I-PER left/O 🚲/O and/or/O Port/B-LOC Rio/I-LOC ./O\nIt/O rained/O ./O\n",
        [(["Mina", "Bo", "left", "🚲", "and/or", "Port", "Rio", "."], [(0, 2, "PER"), (5, 7, "LOC")]), RIO[1]],
    ),
    Sample(
        "slashed-bio",
        "msra.txt",
        "米娜/nr 离开/o 🚲/o 里约港/ns 上海/ns 。/o\n下雨/o 了/o 。/o\n",
        [(list("米娜离开🚲里约港上海。"), [(0, 2, "nr"), (5, 8, "ns"), (8, 10, "ns")]), (list("下雨了。"), [])],
    ),
    Sample(
        "slashed-bio",
        "characters.txt",
        "米/PER 娜/PER 离/O 开/O 🚲/O 里/LOC 约/LOC 。/O\n下/O 雨/O 了/O 。/O\n",
        [(list("米娜离开🚲里约。"), [(0, 2, "PER"), (5, 7, "LOC")]), (list("下雨了。"), [])],
    ),
    Sample(
        "slashed-bio",
        "stanford.txt",
        "Mina/PERSON Bo/PERSON left/O 🚲/O Port/LOCATION Rio/LOCATION ./O\nIt/O rained/O ./O\n",
        [(RIO[0][0], [(0, 2, "PERSON"), (4, 6, "LOCATION")]), RIO[1]],
    ),
    Sample(
        "slashed-bio",
        "words.txt",
        "米娜/B-PER 离开/O 里约/B-LOC 港/I-LOC 。/O\n下雨/O 了/O 。/O\n",
        [(list("米娜离开里约港。"), [(0, 2, "PER"), (4, 7, "LOC")]), (list("下雨了。"), [])],
    ),
    Sample(
        "line-tags",
        "pairs.txt",
        "Mina Bo left 🚲 Port Rio .\tB-PER I-PER O O B-LOC I-LOC O\nIt rained .\tO O O\n",
        RIO,
    ),
    Sample(
        "segmentation",
        "pku_training.utf8",
        "米娜  离开  里约  。\n下雨  了  。\n",
        [
            (list("米娜离开里约。"), [(0, 2, "WORD"), (2, 4, "WORD"), (4, 6, "WORD"), (6, 7, "WORD")]),
            (list("下雨了。"), [(0, 2, "WORD"), (2, 3, "WORD"), (3, 4, "WORD")]),
        ],
    ),
    Sample(
        "brat",
        "corpus/doc.ann",
        "T1\tPER 0 7\tMina Bo\nT2\tLOC 15 23\tPort Rio\nT3\tNAME 20 23\tRio\nT4\tX 0 4;8 12\tMina left\nR1\tat Arg1:T1 Arg2:T2\n",
        NESTED,
        beside={"corpus/doc.txt": f"{TEXT}\n\n{RAIN}\n", "corpus/empty.ann": "", "corpus/empty.txt": "\ufeff"},
        told=("1 discontinuous spans left out: T4", "1 relations"),
    ),
    Sample(
        "webanno",
        "doc.tsv",
        "#FORMAT=WebAnno TSV 3.3\n#T_SP=webanno.custom.NamedEntity|identifier|value\n\n\n#Text=x\n"
        "1-1\t0-4\tMina\t*[1]\tPER[1]\t\n1-2\t5-7\tBo\t*[1]\tPER[1]\t\n1-3\t8-12\tleft\t_\t_\t\n1-4\t13-15\t🚲\t_\t_\t\n"
        "1-5\t16-20\tPort\t*[2]\tLOC[2]\t\n1-6\t21-24\tRio\t*[2]|*\tLOC[2]|NA\\_ME\t\n1-7\t24-25\t\\]\t_\t_\t\n\n"
        "#Text=y\n2-1\t26-28\tIt\t*\t*\t\n2-2\t29-35\trained\t_\t_\t\n",
        [
            (["Mina", "Bo", "left", "🚲", "Port", "Rio", "]"], [(0, 2, "PER"), (4, 6, "LOC"), (5, 6, "NA_ME")]),
            (["It", "rained"], []),
        ],
        told=("1 spans without a label",),
    ),
    Sample("cmeee-txt", "v1.txt", f"{ZH}|||0    1    人|||5    7    地|||5 6 城|||\n{ZH_RAIN}|||\n", CHINESE),
    Sample(
        "csv",
        "kaggle.csv",
        "Sentence #,Word,POS,Tag\nSentence: 1,Mina,NNP,B-PER\n,Bo,NNP,I-PER\n,left,VBD,O\n,🚲,NN,O\n,Port,NNP,B-LOC\n,Rio,NNP,I-LOC\n,.,.,O\n"
        'Sentence: 2,It,PRP,O\n,rained,VBD,O\n,"""",",",O\n',
        [RIO[0], (["It", "rained", '"'], [])],
        told=("POS",),
    ),
    Sample("csv", "sheet.tsv", "token\tlabel\n" + columns("\t", "B-PER I-PER O O B-LOC I-LOC O O O O"), RIO),
    Sample(
        "conll",
        "small.txt",
        columns(" ", "b-per i-per o o b-loc i-loc o o o o").replace("PER", "per"),
        [(RIO[0][0], [(0, 2, "per"), (4, 6, "loc")]), RIO[1]],
    ),
    Sample(
        "conll",
        "whole.txt",
        columns(" ", "S-BAHN S-BAHN O O E-MAIL O O O O O"),
        [(RIO[0][0], [(0, 2, "S-BAHN"), (4, 5, "E-MAIL")]), RIO[1]],
        told=("touching entities",),
    ),
    Sample(
        "csv", "spans.csv", "text,spans\n" + TEXT + ',"[[0, 7, ""PER""], [15, 23, ""LOC""]]"\n' + RAIN + ",[]\n", RIO
    ),
    Sample(
        "csv",
        "sentences.csv",
        "Sentence #,Sentence,POS,Tag\n"
        "Sentence: 1,Mina Bo left 🚲 Port Rio .,\"['NNP']\",\"['B-PER', 'I-PER', 'O', 'O', 'B-LOC', 'I-LOC', 'O']\"\n"
        "Sentence: 2,It rained .,\"['PRP']\",\"['O', 'O', 'O']\"\n",
        RIO,
    ),
    # other shapes of the same kinds
    Sample(
        "conll2012",
        "onto.gold_conll",
        "#begin document (a/b); part 000\n"
        + "".join(
            f"a/b 0 {at} {word} NN {parse} - - - who {tag} (0)\n"
            for at, (word, parse, tag) in enumerate(
                zip(
                    RIO[0][0],
                    ["(TOP(S(NP*", *["*"] * 6],
                    ["(PER*", "*)", "*", "*", "(LOC*", "(NAME))", "*"],
                    strict=True,
                )
            )
        )
        + "\na/b 0 0 It PRP (TOP(S(NP*) - - - who * -\na/b 0 1 rained VBD (VP*) - - - who * -\n"
        + "a/b 0 2 . . *)) - - - who * -\n\n#end document\n",
        NESTED,
    ),
    Sample(
        "conll2012",
        "bare.txt",
        "a/b 0 0 Rio NNP (TOP(NP* - - - - (LOC) -\na/b 0 1 Port NNP *)) - - - - * -\n",
        [(["Rio", "Port"], [(0, 1, "LOC")])],
    ),
    Sample(
        "brat",
        "mixed/a.ann",
        "T1\tPER 0 7\tMina Bo\nT2\tLOC 15 23\tPort Rio\n",
        RIO,
        beside={"mixed/a.txt": TEXT + "\r\n" + RAIN + "\n", "mixed/b.txt": RAIN},
        told=("1 documents without an .ann left out: b.txt",),
    ),
    Sample(
        "brat",
        "ends/a.ann",
        "T1\tPER 11 18\tMina Bo\nT2\tLOC 26 34\tPort Rio\n",
        [RIO[1], RIO[0]],
        beside={"ends/a.txt": RAIN + "\r\n" + TEXT + "\r\n"},
        told=("and each line end as one here",),
    ),
    Sample(
        "brat",
        "mark/a.ann",
        "T1\tPER 1 8\tMina Bo\nT2\tLOC 16 24\tPort Rio\n",
        RIO,
        beside={"mark/a.txt": "\ufeff" + TEXT + "\n" + RAIN + "\n"},
        told=("and the byte order mark here",),
    ),
    Sample(
        "spacy-v2",
        "data.py",
        f'DATA = [\n    ("{TEXT}", {{"entities": [(0, 7, "PER"), (15, 23, "LOC")]}}),\n'
        f"    ('{RAIN}', {{'entities': []}}),\n]\n",
        RIO,
    ),
    Sample(
        "offsets",
        "clinic.txt",
        lines(
            {
                "originalText": "发热三天。",
                "entities": [{"label_type": "症状", "start_pos": 0, "end_pos": 2, "overlap": 0}],
            }
        ),
        [(list("发热三天。"), [(0, 2, "症状")])],
    ),
    Sample(
        "csv",
        "a_span_a_line.csv",
        f"id,text,entity,start,end,label\n1,{TEXT},Mina Bo,0.0,7.0,PER\n2,{RAIN},,,,\n1,{TEXT},Port Rio,15.0,23.0,LOC\n",
        RIO,
    ),
    Sample(
        "csv",
        "numpy.csv",
        "tokens,ner_tags\n\"['Mina' 'Bo' 'left' '🚲' 'Port'\n 'Rio' '.']\",\"['B-PER' 'I-PER' 'O' 'O' 'B-LOC' 'I-LOC' 'O']\"\n"
        "\"['It' 'rained' '.']\",\"['O' 'O' 'O']\"\n",
        RIO,
    ),
    Sample(
        "csv",
        "documents.csv",
        "split,doc_id,sent_id,word,tag\ntrain,a,1,Rio,B-L\ntrain,a,1,x,O\ntrain,b,1,Rio,B-L\ntest,b,1,Port,B-L\n",
        [(["Rio", "x"], [(0, 1, "L")]), (["Rio"], [(0, 1, "L")]), (["Port"], [(0, 1, "L")])],
        told=("2 ids were repeated",),
    ),
    Sample(
        "csv",
        "numbers.csv",
        "id,word,tag\n1,Rio,B-L\n2,x,O\n3,y,O\n1,Port,B-L\n2,z,O\n",
        [(["Rio", "x", "y"], [(0, 1, "L")]), (["Port", "z"], [(0, 1, "L")])],
    ),
    Sample(
        "conll",
        "sentences.txt",
        "1\t1\tRio\tB-L\n1\t2\tx\tO\n\n2\t1\tPort\tB-L\n2\t2\tz\tO\n",
        [(["Rio", "x"], [(0, 1, "L")]), (["Port", "z"], [(0, 1, "L")])],
        options={"tag_column": 4},
    ),
    Sample(
        "conll",
        "ranges.tsv",
        "1-2\tzum\t_\tO\n1\tzu\tADP\tO\n2\tdem\tDET\tO\n3\tRio\tPROPN\tB-LOC\n\n1\tIt\tPRON\tO\n1.1\tdid\tAUX\tO\n2\train\tVERB\tO\n",
        [(["zu", "dem", "Rio"], [(2, 3, "LOC")]), (["It", "rain"], [])],
        told=("2 ranges and empty nodes are no words: '1-2",),
    ),
    Sample(
        "conll",
        "named.conllup",
        "# global.columns = ID FORM UPOS PARSEME:NE\n1\tRio\tPROPN\tB-LOC\n2\tfell\tVERB\tO\n\n1\tPort\tPROPN\tB-LOC\n",
        [(["Rio", "fell"], [(0, 1, "LOC")]), (["Port"], [(0, 1, "LOC")])],
        told=("3 (such as 'PROPN')",),
    ),
    Sample(
        "conll",
        "documents.txt",
        "-DOCSTART- -X- O O\nMina NNP I-NP B-PER\nleft VBD I-VP O\n-docstart- -X- O O\nRio NNP I-NP B-LOC\nfell VBD I-VP O\n",
        [(["Mina", "left"], [(0, 1, "PER")]), (["Rio", "fell"], [(0, 1, "LOC")])],
    ),
    Sample(
        "conll",
        "numbered_documents.txt",
        "1\t-DOCSTART-\tO\n\n1\tMina\tB-PER\n2\tleft\tO\n\n1\tRio\tB-LOC\n",
        [(["Mina", "left"], [(0, 1, "PER")]), (["Rio"], [(0, 1, "LOC")])],
    ),
    Sample(
        "conll",
        "weibo.txt",
        "米0\tB-PER.NAM\n娜1\tI-PER.NAM\n在0\tO\n里0\tB-LOC\n约1\tI-LOC\n\n下0\tO\n雨1\tO\n。0\tO\n",
        [(list("米娜在里约"), [(0, 2, "PER.NAM"), (3, 5, "LOC")]), (list("下雨。"), [])],
        told=("8 tokens lost the number of the character in its word: '米0'",),
    ),
    Sample(
        "conll",
        "one_sentence.txt",
        "Rio B-LOC\n" + "la O\n" * 100,
        [(["Rio", *["la"] * 100], [(0, 1, "LOC")])],
        told=("no blank line: the file is one sentence: 101 tokens",),
    ),
    Sample(
        "conll",
        "unseen.tsv",
        "Rio\tB-LOC\u200b\nfell\tO\u200b\n\n\ufeffPort\tB-LOC\n",
        [(["Rio", "fell"], [(0, 1, "LOC")]), (["Port"], [(0, 1, "LOC")])],
        told=("2 tags lost invisible characters: 'B-LOC\\u200b'",),
    ),
    Sample(
        "conll2012",
        "no_blank_line.gold_conll",
        "#begin document (a/b); part 000\na/b 0 0 Rio NNP (TOP(NP* - - - - (LOC) -\n#end document\n"
        "#begin document (a/b); part 001\na/b 1 0 Port NNP (TOP(NP* - - - - (LOC) -\n#end document\n",
        [(["Rio"], [(0, 1, "LOC")]), (["Port"], [(0, 1, "LOC")])],
    ),
    Sample(
        "conllu",
        "norne.conllu",
        "1\tRio\tRio\tPROPN\t_\t_\t0\troot\t_\tname=B-GPE_LOC|SpaceAfter=No\n2\tfell\tfall\tVERB\t_\t_\t1\tdep\t_\tname=O\n\n",
        [(["Rio", "fell"], [(0, 1, "GPE_LOC")])],
        told=("2 words have their entities in name",),
    ),
    Sample(
        "segmentation",
        "ends.txt",
        "米娜  走  。\n下雨  了  。\r里约  晴  。\n",
        [
            (list("米娜走。"), [(0, 2, "WORD"), (2, 3, "WORD"), (3, 4, "WORD")]),
            (list("下雨了。"), [(0, 2, "WORD"), (2, 3, "WORD"), (3, 4, "WORD")]),
            (list("里约晴。"), [(0, 2, "WORD"), (2, 3, "WORD"), (3, 4, "WORD")]),
        ],
    ),
    Sample(
        "csv",
        "titles.csv",
        "Title,Sentence #,Word,Tag\nA,1,Rio,B-L\nA,1,x,O\nB,1,Port,B-L\nB,1,y,O\n",
        [(["Rio", "x"], [(0, 1, "L")]), (["Port", "y"], [(0, 1, "L")])],
        told=("1 columns name documents, each of which begins a sentence: Title",),
    ),
    Sample(
        "csv",
        "excel.tsv",
        'Word\tTag\nRio\tB-L\n","\tO\n"Rio, x"\tB-L\n"\tO\n',
        [(["Rio", ",", "Rio, x", '"'], [(0, 1, "L"), (2, 3, "L")])],
    ),
    Sample(
        "csv",
        "ids_of_spans.csv",
        f"id,text,start,end,label\n1,{RAIN},0,2,X\n2,{RAIN},3,9,Y\n",
        [(RIO[1][0], [(0, 1, "X"), (1, 2, "Y")])],
        told=("1 lines are further spans of a text above",),
    ),
    Sample(
        "conllu",
        "entity.conllu",
        "1\tRio\tRio\tPROPN\t_\t_\t0\troot\t_\tEntity=(1-place)\n\n",
        [(["Rio"], [(0, 1, "PROPN")])],
        told=("1 words have no NER= in MISC: the labels are their parts of speech: MISC has Entity",),
    ),
    Sample(
        "csv",
        "label_studio.csv",
        'annotator,id,label,text\n1,1,"[{""start"":0,""end"":4,""labels"":[""PER""]}]",Mina left\n1,2,,It rained\n'
        '2,1,"[{""start"":0,""end"":4,""labels"":[""PER""]}]",Mina left\n',
        [(["Mina", "left"], [(0, 1, "PER")]), (["It", "rained"], [])],
        told=("1 tasks were annotated alike",),
    ),
    Sample(
        "csv",
        "empty_text.csv",
        "id,text,start,end,label\n1,,,,\n2,Mina left,0,4,PER\n",
        [(["Mina", "left"], [(0, 1, "PER")])],
        told=("1 empty texts left out",),
    ),
    Sample(
        "brat",
        "deep/a.ann",
        "T1\tPER 0 7\tMina Bo\nT2\tLOC 15 23\tPort Rio\n",
        RIO,
        beside={"deep/a.txt": TEXT, "deep/b/a.txt": RAIN, "deep/b/a.ann": "", "deep/b/c.txt": RAIN},
        told=("1 documents without an .ann left out: b/c.txt",),
    ),
    Sample(
        "webanno",
        "relations.tsv",
        "#FORMAT=WebAnno TSV 3.3\n#T_RL=x.Relation|label|BT_x.NamedEntity\n#T_SP=x.NamedEntity|value\n\n"
        "1-1\t0-4\tMina\t_\t_\tPER[1]\n1-2\t5-7\tBo\t_\t_\tPER[1]\n1-3\t8-12\tleft\tby\t1-1[1_0]\t_\n\n"
        "2-1\t13-17\tPort\t_\t_\tLOC[1]\n2-2\t18-21\tRio\t_\t_\tLOC[1]\n",
        [(["Mina", "Bo", "left"], [(0, 2, "PER")]), (["Port", "Rio"], [(0, 2, "LOC")])],
        told=("1 layers of chains or relations", "1 numbers of annotations return in a later sentence"),
    ),
]
