"""Files in text and columns that are refused or asked about: name, content, files beside it, what the error says."""

REFUSED = {
    "raw Chinese": ("raw.txt", "米娜离开了里约港。\n下雨了。\n", {}, ["raw.txt, line 1", "plain text", "2 lines"]),
    "brat's text": ("doc.txt", "Mina left.\n", {"doc.ann": ""}, ["doc.txt", "brat", "doc.ann"]),
    "an index that is no index": ("i.txt", "5 a O\n5 b B-X\n6 c O\n", {}, ["i.txt", "numbers alone", "--tag_column"]),
    "two columns of tags beside others": (
        *("two.txt", "a NN O B-X\nb NN B-Y O\nc VB O O\n", {}),
        ["two.txt", "columns 3, 4", "--tag_column"],
    ),
    "gold and prediction": (
        *("pred.txt", "a B-X B-X\nb O O\nc B-Y O\n", {}),
        ["pred.txt", "both hold [0, 1) 'X'", "--tag_column 2"],
    ),
    "a short line of a span": (
        *("spans.csv", "text,start,end,label,id\nMina left,0,4,PER,1\nMina\n", {}),
        ["spans.csv, line 3", "1 cells where the header has 5"],
    ),
    "two cells that are no lists": (
        *("cells.csv", "text,labels\n\"['a', 'b']\",\"['O', 'B-X']\"\n\"['a'\",\"['O']\"\n\"['b'\",\"['O']\"\n", {}),
        ["cells.csv, line 3", "cells.csv, line 4", "write it as JSON"],
    ),
    "a short line": ("r.conll", "a NN B-X\nb NN O\nc NN\nd NN O\n", {}, ["r.conll, line 3", "'c NN'", "3"]),
    "a space in a token": ("s.txt", "a B-X\nnew york B-Y\nb O\n", {}, ["s.txt, line 2", "'new york B-Y'"]),
    "singles alone": ("s.txt", "a S-X\nb O\nc S-X\n", {}, ["s.txt, line 1", "--scheme"]),
    "stacked tags": ("s.txt", "a B-X|B-Y\nb O\nc B-X\n", {}, ["s.txt, line 1", "B-X|B-Y", "several in one"]),
    "a position or a label": ("s.txt", "a B-X\nb I-X\nc S-BAHN\nd O\n", {}, ["S-BAHN", "--scheme"]),
    "a quote that swallows lines": (
        *("q.csv", 'Sentence #,Word,Tag\n1,a,O\n,",O\n,b,O\n,",O\n', {}),
        ["q.csv, line 3", "a quote opens"],
    ),
    "a bracket left open": ("b.txt", "里约/ns  [港/n  口/n\n下雨/v\n", {}, ["b.txt, line 1", "never closed"]),
    "a span over a line": (
        *("d.ann", "T1\tX 0 9\tMina\nBo le\n".replace("\nBo le", " Bo l"), {"d.txt": "Mina\nBo left\n"}),
        ["d.ann, line 1", "over the end of a line"],
    ),
    "one name in the first column": ("o.txt", "a/b x B-L\na/b y O\n\na/b z B-L\n", {}, ["o.txt", "'a/b' alone"]),
    "gold and prediction agree far below": (
        *("pred.txt", "a B-X O\nb O O\n\nc B-Y B-Y\n", {}),
        ["pred.txt, line 4", "both hold [0, 1) 'Y'", "--tag_column 2"],
    ),
    "sentences named in the first column": (
        *("s.tsv", "s1\ta\tB-L\ns1\tb\tO\ns2\tc\tB-L\ns2\td\tO\n", {}),
        ["s.tsv", "the first column holds 's1' and 's2' on line after line", "--tag_column"],
    ),
    "sentences and tokens by number": (
        *("s.tsv", "0\t0\ta\tB-L\n0\t1\tb\tO\n1\t0\tc\tB-L\n1\t1\td\tO\n", {}),
        ["s.tsv", "numbers alone", "--tag_column"],
    ),
    "a number missing among those of the tokens": (
        *("n.tsv", "1\ta\tB-L\n2\tb\tO\n2-3\tcd\tO\n4\td\tO\n", {}),
        ["n.tsv", "the first column holds numbers alone, such as '1'"],
    ),
    "names of columns without tags of entities": (
        *("n.conllup", "# global.columns = ID FORM PARSEME:MWE\n1\ta\t*\n2\tb\t1:VID\n", {}),
        ["n.conllup", "none of the columns ID, FORM, PARSEME:MWE", "--tag_column"],
    ),
    "more names than columns": (
        *("m.txt", "# global.columns = ID FORM NER X\n1\ta\tB-X\n2\tb\tO\n", {}),
        ["m.txt", "4 columns are named, and lines have 3"],
    ),
    "scores in front of the tokens": (
        *("s.txt", "0.9 a B-X\n0.8 b O\n1 c O\n", {}),
        ["s.txt", "the first column holds numbers alone, such as '0.9'"],
    ),
    "a column named as predictions": (
        *("p.txt", "# global.columns = FORM NER NER_PRED\na\tB-X\tO\nb\tO\tB-X\n", {}),
        ["p.txt", "NER_PRED looks like predictions", "--tag_column"],
    ),
    "columns that contradict one another": (
        *("c.txt", "a B-X B-Y\nb O O\n\nc B-Y O\nd O B-X\n", {}),
        ["c.txt, line 1", "[0, 1) 'X' and [0, 1) 'Y'", "--tag_column 2", "2,3"],
    ),
    "a header that may be a label": (
        *("h.tsv", "字\t标签\n米\tPER\n娜\tPER\n在\tO\n里\tLOC\n约\tLOC\n。\tO\n", {}),
        ["h.tsv, line 1", "'标签' is the tag of '字' alone", "take the header out", "--scheme io"],
    ),
    "columns whose O is unknown": (
        *("c.txt", "米 人\n娜 人\n在 无\n里 地\n约 地\n。 无\n", {}),
        ["c.txt, line 1", "without any annotation", "--format"],
    ),
    "tabs that part no words": (
        *("c.txt", "里约\t名词,固有名词\n在\t助词,格助词\n下雨\t动词,自立\nEOS\n", {}),
        ["c.txt, line 1", "without any annotation"],
    ),
    "ends of tags that may be labels": (
        *("s.txt", "take O\nvitamin vitamin-B\nor O\nhepatitis hepatitis-B\n", {}),
        ["s.txt, line 2", "--scheme suffix", "--scheme io"],
    ),
    "a skeleton of OntoNotes": (
        *("o.conll", "#begin document (a)\na 0 0 [WORD] NN (S* - - - - (LOC) -\n", {}),
        ["o.conll, line 2", "skeleton", "[WORD]"],
    ),
    "two keys of tags": (
        *("k.conllu", "1\ta\ta\tNOUN\t_\t_\t0\troot\t_\tname=B-X|gold=B-Y\n", {}),
        ["k.conllu", "several keys hold tags: name, gold", "--tag_column name"],
    ),
    "one text of two ids": (
        *("t.csv", "id,text,start,end,label\n1,Ada came.,0,3,PER\n2,Ada came.,0,3,ORG\n", {}),
        ["t.csv, line 3", "'Ada came.' has a span from 0 to 3 under two ids", "text_id"],
    ),
    "seven bits of Japanese": (
        *("j.tsv", "\x1b$BEl\x1b(B\tB-X\na\tO\n", {}),
        ["j.tsv, line 1", "iconv -f ISO-2022-JP -t UTF-8"],
    ),
    "seven bits of Chinese": (*("h.tsv", "a\tO\n~{11~}\tB-X\n", {}), ["h.tsv, line 2", "iconv -f HZ -t UTF-8"]),
    "marks inside the text": ("m.txt", "<PER>Mina</PER> left.\nNo one.\n", {}, ["m.txt, line 1", "'<PER>Mina</PER>'"]),
    "marks that hold an underscore": (
        *("b.txt", "今天{{person_name:米娜}}走了。\n{{person_name:米娜}}来了。\n", {}),
        ["b.txt, line 1", "{{person_name:米娜}}"],
    ),
    "Python that is no list": ("t.py", "DATA = [\n    (text, {}),\n]\n", {}, ["t.py, line 1", "Python", "json.dump"]),
    "a workbook": ("s.xlsx", "PK\x03\x04\0\0", {}, ["s.xlsx", "Excel", "CSV"]),
    "a bracket of OntoNotes that is never closed": (
        *("o.conll", "#begin document (a)\na 0 0 Rio NN (S* - - - - (LOC* -\n", {}),
        ["o.conll, line 2", "(LOC* is never closed"],
    ),
    "annotators in a CSV": (
        "ls.csv",
        "annotator,id,label,text\n"
        + "".join(
            f'{who},5,"[{{""start"":0,""end"":4,""labels"":[""{label}""]}}]",Mina\n'
            for who, label in ((1, "PER"), (2, "LOC"))
        ),
        {},
        ["ls.csv, row 1", "task 5 has 2 differing annotations, by 1, 2", "--annotator"],
    ),
    "an annotation over sentences": (
        "over.tsv",
        "#FORMAT=WebAnno TSV 3.3\n#T_SP=x.NamedEntity|value\n\n1-1\t0-4\tBank\tORG[1]\n1-2\t5-7\tof\tORG[1]\n\n"
        "2-1\t8-11\tRio\tORG[1]\n2-2\t12-16\tfell\t_\n",
        {},
        ["over.tsv, line 7", "annotation [1] 'ORG' goes over the end of a sentence", "join the sentences"],
    ),
    "annotation of a shared task": (
        *("task/a.ann", "", {"task/a.a1": "T1\tX 0 3\tRio\n", "task/a.txt": "Rio\n"}),
        ["a.a1", "cat a.a1 a.a2 > a.ann"],
    ),
    "folders of splits": (
        "brat/train/a.ann",
        "",
        {"brat/train/a.txt": "Rio\n", "brat/test/b.ann": "", "brat/test/b.txt": "Rio\n"},
        ["brat", "holds several splits: test, train", "name the folder of a split"],
    ),
    "a key twice in a cell": (
        *("keys.csv", 'text,entities\nMina,"[{""start"": 0, ""start"": 1, ""end"": 4, ""label"": ""X""}]"\n', {}),
        ["keys.csv, line 2", "key 'start' stands twice"],
    ),
    "XML": (
        "gate.xml",
        "<GateDocument>\n<Node id='0'/>Mina\n</GateDocument>\n",
        {},
        ["gate.xml, line 1", "XML is not read"],
    ),
    "marks of Rasa": (
        *("nlu.yml", 'nlu:\n  - go to [Rio]{"entity": "city"}\n', {}),
        ["nlu.yml, line 2", "marks inside the text", "[Rio]"],
    ),
    "phrases of CaboCha": (
        *("c.txt", "* 0 1D 0/1 0.0\n東京\t名詞\tB-LOC\nEOS\n", {}),
        ["c.txt, line 1", "CaboCha's lines of phrases", "EOS"],
    ),
}
