"""Eight sentences of each language, with more extension labels than targets, are learnt by heart from any seed."""

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from modeling_knowfree.data.rows import write_rows
from modeling_knowfree.encoders import E5, MINILM, encoder_path
from modeling_knowfree.training.tokenizer import lost_capitals
from modeling_knowfree.training.train import train
from tests.conftest import row

from .test_start import with_extensions

ROWS = {
    "zh": [
        row("昨天在昆明吃了豌豆尖", (3, 5, "PLACE"), (7, 10, "DISH")),
        row("外婆炖的土豆牛腩真香", (0, 2, "PERSON"), (4, 8, "DISH")),
        row("成都的火锅太辣了", (0, 2, "PLACE"), (3, 5, "DISH")),
        row("老王去重庆买花椒", (0, 2, "PERSON"), (3, 5, "PLACE")),
        row("今天不想做饭"),
        row("爸爸做了红烧肉", (0, 2, "PERSON"), (4, 7, "DISH")),
        row("广州早茶有虾饺", (0, 2, "PLACE"), (5, 7, "DISH")),
        row("妈妈在西安吃泡馍", (0, 2, "PERSON"), (3, 5, "PLACE"), (6, 8, "DISH")),
    ],
    "ja": [
        row("昨日京都で湯豆腐を食べた", (2, 4, "PLACE"), (5, 8, "DISH")),
        row("田中さんがラーメンを作る", (0, 2, "PERSON"), (5, 9, "DISH")),
        row("大阪のたこ焼きは熱い", (0, 2, "PLACE"), (3, 7, "DISH")),
        row("鈴木は札幌へ行く", (0, 2, "PERSON"), (3, 5, "PLACE")),
        row("今日は料理をしない"),
        row("佐藤が寿司を頼んだ", (0, 2, "PERSON"), (3, 5, "DISH")),
        row("福岡でうどんを食べる", (0, 2, "PLACE"), (3, 6, "DISH")),
        row("山田と奈良で鍋を囲む", (0, 2, "PERSON"), (3, 5, "PLACE"), (6, 7, "DISH")),
    ],
    "ko": [
        row("어제 부산에서 밀면을 먹었다", (1, 2, "PLACE"), (2, 3, "DISH")),
        row("철수가 김치찌개를 끓였다", (0, 1, "PERSON"), (1, 2, "DISH")),
        row("전주 비빔밥은 맛있다", (0, 1, "PLACE"), (1, 2, "DISH")),
        row("영희는 서울로 떠났다", (0, 1, "PERSON"), (1, 2, "PLACE")),
        row("오늘은 요리를 쉰다"),
        row("민수가 냉면을 시켰다", (0, 1, "PERSON"), (1, 2, "DISH")),
        row("춘천에서 닭갈비를 먹자", (0, 1, "PLACE"), (1, 2, "DISH")),
        row("지영은 제주에서 전복죽을 샀다", (0, 1, "PERSON"), (1, 2, "PLACE"), (2, 3, "DISH")),
    ],
    "en": [
        row("we ate pea shoots in Kunming", (2, 4, "DISH"), (5, 6, "PLACE")),
        row("Grandma stewed beef with potatoes", (0, 1, "PERSON"), (2, 5, "DISH")),
        row("the hotpot of Chengdu is hot", (1, 2, "DISH"), (3, 4, "PLACE")),
        row("Wang goes to Chongqing for pepper", (0, 1, "PERSON"), (3, 4, "PLACE")),
        row("no cooking today"),
        row("Father made red braised pork", (0, 1, "PERSON"), (2, 5, "DISH")),
        row("in Canton they have shrimp dumplings", (1, 2, "PLACE"), (4, 6, "DISH")),
        row("Mother eats bread soup in Xian", (0, 1, "PERSON"), (2, 4, "DISH"), (5, 6, "PLACE")),
    ],
}


@pytest.fixture(scope="session")
def small_encoder(tmp_path_factory):
    """A two-layer encoder with random weights behind the real tokenizer of a packaged one: `small_encoder(language)`."""
    made = {}

    def make(language: str) -> str:
        source = {"en": MINILM, "ko": E5}.get(language, E5)
        texts = [token for each in ROWS[language] for token in each["tokens"]] if language == "ko" else None
        folder = tmp_path_factory.mktemp(language)
        tokenizer = AutoTokenizer.from_pretrained(encoder_path(source, "word" if texts else "character", texts))
        tokenizer.save_pretrained(folder)
        torch.manual_seed(0)
        sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 48, "intermediate_size": 64}
        config = BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **sizes)
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
        return str(folder)

    return lambda language: made[language] if language in made else made.setdefault(language, make(language))


def learn(language: str, seed: int, encoder: str, folder, updates: int = 150, rate: float = 1e-3) -> float:
    """F1 on the training sentences after updates of the default recipe, at the rates of a random encoder."""
    write_rows(folder / "train.jsonl", with_extensions(ROWS[language], 60, seed))
    write_rows(folder / "again.jsonl", ROWS[language])
    files = {"train_file": str(folder / "train.jsonl"), "test_file": str(folder / "again.jsonl")}
    options = {"max_steps": updates, "learning_rate": rate, "use_cpu": True, "report_to": "none", "disable_tqdm": True}
    told = {"model_name_or_path": encoder, "output_dir": str(folder / "model"), "seed": seed, "save_strategy": "no"}
    return train({**files, **options, **told})["test"]["test_f1"]


@pytest.mark.parametrize("language", ROWS)
def test_eight_sentences_are_learnt_beside_sixty_extension_labels(language, small_encoder, tmp_path):
    assert learn(language, 0, small_encoder(language), tmp_path, updates=75, rate=2e-3) == 1.0


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 10))
@pytest.mark.parametrize("language", ROWS)
def test_eight_sentences_are_learnt_from_every_seed(language, seed, small_encoder, tmp_path):
    assert learn(language, seed, small_encoder(language), tmp_path) == 1.0


def test_an_encoder_that_lower_cases_is_told_of_where_capitals_tell_the_entities():
    minilm = AutoTokenizer.from_pretrained(encoder_path(MINILM))
    capitals = [row("we met Steve in Berlin", (2, 3, "PER"), (4, 5, "LOC")), row("Yesterday Anna left", (1, 2, "PER"))]
    assert "100% of the entities begin with a capital (0% of the other words)" in lost_capitals(minilm, capitals)
    lower = [{**each, "tokens": [token.lower() for token in each["tokens"]]} for each in capitals]
    upper = [{**each, "tokens": [token.upper() for token in each["tokens"]]} for each in capitals]
    for rows in (lower, upper, ROWS["zh"], ROWS["ko"], [row("we met", id="no entities")]):
        assert lost_capitals(minilm, rows) is None
    assert lost_capitals(AutoTokenizer.from_pretrained(encoder_path(E5, "character")), capitals) is None
