"""The prompt files: as printed, complete in four languages, and data that can never act as a template."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files

import pytest

from augmentation.llm.prompts import LANGUAGES, load_prompt, parse_prompt
from augmentation.llm.tasks import (
    TASKS,
    entities_request,
    explanation_request,
    guideline_request,
    merge_request,
    pos_request,
    reask,
    segmentation_request,
    strategy_request,
    targets_request,
    verify_targets_request,
)

NASTY = "{{ 7 * 7 }} {% raw %} {# x #} </think> \"quoted\" 'single' \\ \n{{ ''.__class__ }}"
PRINTED = {  # appendix I, figures 9 to 12, copied from the paper
    ("entities", "zh"): [
        "指令:请识别并抽取输入句子的命名实体，并使用JSON格式的数组进行返回，子项包括entity和type属性:",
        '条件: 1. 输出格式为[{entity: "", type: ""}],其中entity表示所提取的实体文本, '
        "type表示所提取的实体类型, 一个entity对应一个type",
        "2. 如果不存在任何实体, 请输出空数组[]",
    ],
    ("pos", "zh"): [
        "指令:请提取输入句子的词性 (POS), 并使用JSON格式的数组进行返回, 子项包括word和pos属性:",
        "条件: 1. 输出格式为[{word: '', pos: ''}],其中word表示所提取的文本, pos表示所提取的词性, 一个word对应一个pos",
        "2. 请务必将输入中**所有字符**和**标点**都进行标注",
    ],
    ("explanation", "zh"): [
        "指令:你作为拥有丰富知识储备的专家, 需要根据我给出的样例进行续写, 给学生们解释样例中包含的实体含义, "
        "我会给你样例和其包含的实体加实体类型, 请续写样例的后文, 并解释每个实体在样例中的含义。",
    ],
    ("description", "zh"): [
        "指令:你作为拥有丰富知识储备的专家, 需要将我给出的样例中包含的“关键短语”(如**实体**或**序列**)进行抽取, "
        "并给学生们解释这些关键短语在样例中的含义, 我会给你样例, 请先将“关键短语”抽取出来, "
        "其次再根据“关键短语”续写样例的后文, 并解释每个“关键短语”在样例中的含义。",
    ],
    ("entities", "en"): [
        "Instruction: Please identify and extract the named entities from the input sentence and return them in a JSON "
        "array format. Each item should include the attributes `entity` and `type`:",
        "2. If no entities exist, output an empty array [].",
    ],
    ("description", "en"): ['you should extract the "key phrases," then continuous generate the sample\'s content'],
}


def rendered(name: str, language: str, text: str = "x y") -> str:
    """The prompt `name` for a text, through the task's own function."""
    settings = {"language": language, "max_tokens": 99}
    known = [["x", "Place"]]
    make = {
        "entities": lambda: entities_request("r", text, language=language),
        "segmentation": lambda: segmentation_request("r", text, language=language),
        "pos": lambda: pos_request("r", text, ["x", "y"], language=language),
        "merge": lambda: merge_request("r", [text, "B"], {text: ["e"]}, language=language),
        "merge_standard": lambda: merge_request("r", [text, "B"], {}, language=language, second_pass=True),
        "explanation": lambda: explanation_request("r", text, [("x", "Place")], language=language),
        "description": lambda: explanation_request("r", text, [], language=language),
        "targets": lambda: targets_request("r", text, ["A"], [("g h", [("g", "A")])], language=language),
        "guideline": lambda: guideline_request("r", ["A"], [(text, [("g", "A")])], language=language),
        "rewrite": lambda: strategy_request("rewrite", "r", text, **settings, text=text, entities=known, how="shorter"),
        "terms": lambda: strategy_request("terms", "r", text, **settings, label=text, number=3, examples=["e"]),
        "attributes": lambda: strategy_request("attributes", "r", text, **settings, sentences=[text]),
        "compose": lambda: strategy_request(
            "compose", "r", text, **settings, text=text, entities=known, attributes={"mood": "calm"}
        ),
        "verify": lambda: strategy_request("verify", "r", text, **settings, text=text, entities=known),
        "verify_targets": lambda: verify_targets_request("r", text, [("x", "A")], ["A"], [], language=language),
    }
    return make[name]().messages[0][1]


NAMES = (*TASKS, "description")


@pytest.mark.parametrize(("name", "language"), PRINTED)
def test_printed_prompts_are_as_printed(name, language):
    prompt = rendered(name, language)
    for line in PRINTED[name, language]:
        assert line in prompt


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_data_goes_in_as_it_stands_on_one_line(name, language):
    line = " ".join(NASTY.split("\n"))
    shown = json.dumps(line, ensure_ascii=False) if name.startswith("merge") else line
    assert shown in rendered(name, language, NASTY)


def test_every_prompt_has_its_own_id_and_version_and_the_hash_of_its_file():
    seen = set()
    for file in files("augmentation").joinpath("prompts").iterdir():
        name, language, _ = file.name.split(".")
        prompt = load_prompt(name, language)
        assert prompt.id == f"{name}.{language}"
        assert prompt.version
        assert prompt.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        seen.add((name, language))
    assert seen == {(name, language) for name in NAMES for language in LANGUAGES} | {("reask", "en")}


def test_the_entities_of_an_explanation_are_listed_as_the_paper_lists_them():
    request = explanation_request("r", "t", [("院长", "头衔职称"), ("x", "y")], language="zh", seed=1)
    assert request.messages[0][1].endswith("样例: t\n实体: ['院长(头衔职称)', 'x(y)']")
    assert (request.temperature, request.top_p) == (0.8, 0.8)
    assert request.seed != explanation_request("s", "t", [("院长", "头衔职称")], language="zh", seed=1).seed


def test_a_reask_quotes_answer_and_error_and_is_warmer():
    request = entities_request("r", "t", language="en")
    again = reask(request, "an answer", "item 1: no type", model="m")
    assert [role for role, _ in again.messages] == ["user", "assistant", "user"]
    assert again.messages[1][1] == "an answer"
    assert "item 1: no type" in again.messages[2][1]
    assert (again.temperature, again.reask, again.parent_key) == (0.3, 1, request.key("m"))


def test_unknown_language_is_told():
    with pytest.raises(ValueError, match="no prompt 'entities' in language 'fr'"):
        entities_request("r", "t", language="fr")
    with pytest.raises(ValueError, match="lacks version"):
        parse_prompt("---\nid: a\nlanguage: en\n---\nx")


def test_the_sandbox_refuses_templates_that_reach_out():
    import jinja2

    prompt = parse_prompt("---\nid: a\nlanguage: en\nversion: 1\n---\n{{ text.__class__.__mro__ }}")
    with pytest.raises(jinja2.exceptions.SecurityError):
        prompt.render(text="x")
