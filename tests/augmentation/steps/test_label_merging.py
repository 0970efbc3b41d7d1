"""Label merging (S4, equations 2-6) against cases computed by hand, in two dimensions."""

import json
import math

import numpy as np
import pytest

from augmentation.llm.answers import MergeGroup, Parsed
from augmentation.llm.dialogue import replay
from augmentation.llm.outcome import Outcome
from augmentation.steps.label_merging import (
    Cluster,
    Group,
    LabelMap,
    MergeSettings,
    cluster_of,
    clusters_of,
    join_by_names,
    join_equal_names,
    merge_types,
    normal_form,
    pairs_to_embed,
    repair_groups,
    type_classes,
)
from augmentation.steps.normalisation import propose_groups


def merge(points, groups, known=None, **settings):
    """Label map of types given as {name: [(x, y), …]}, each point one (entity, type) pair."""
    mentions = [(f"{name}-{i}", name) for name, vectors in points.items() for i in range(len(vectors))]
    classes = type_classes(mentions)
    vectors = np.array([vector for vectors in points.values() for vector in vectors], dtype=float)
    known = known or LabelMap(MergeSettings(**settings))
    clusters = clusters_of(classes, vectors, known.settings.p)
    return merge_types(known, classes, [Group(name, tuple(members)) for name, members in groups], clusters)


def standards(label_map):
    return {raw: entry.standard for raw, entry in label_map.types.items()}


def test_case_variants_are_one_class_named_by_the_most_frequent_spelling():
    mentions = [
        ("a", "film title"),
        ("b", "Film  Title"),
        ("c", "Film  Title"),
        ("b", "ＦＩＬＭ ｔｉｔｌｅ "),
        ("d", "Song"),
    ]
    classes = type_classes(mentions)
    assert [(c.name, dict(c.spellings), c.entities) for c in classes] == [
        ("Film  Title", {"film title": 1, "Film  Title": 2, "ＦＩＬＭ ｔｉｔｌｅ ": 1}, ("a", "b", "c")),
        ("Song", {"Song": 1}, ("d",)),
    ]
    assert type_classes([("a", "x"), ("b", "X")])[0].name == "x"  # equally frequent: the first seen
    assert type_classes([("a", "  ")]) == []
    assert pairs_to_embed(classes) == ["a is Film  Title", "b is Film  Title", "c is Film  Title", "d is Song"]
    assert normal_form(" Straße　X ") == "strasse x"


def test_case_variants_share_the_verdict_of_their_class_and_are_decided_by_rule():
    points = {"Bird": [(-1, 0), (1, 0)], "BIRD ": [(0, 1)], "bird": [(0, -1)], "Rock": [(40, 0)], "ROCK": [(60, 0)]}
    result = merge(points, [("Animal", ["Bird", "Rock"])])
    assert standards(result) == {"Bird": "Animal", "BIRD ": "Animal", "bird": "Animal", "Rock": "Rock", "ROCK": "Rock"}
    assert result.shares() == {"rule": 3, "llm": 1, "cluster": 1, "unverified": 0}
    # one class of four vectors around (0, 0), all at distance 1; the other's two have their centre in (50, 0)
    assert (result.types["BIRD "].radius, result.types["BIRD "].pairs) == (1, 4)
    assert result.types["ROCK"].verdict.distance == 50


def test_centre_and_radius_with_q_the_smaller_of_p_and_n():
    square = np.array([[0, 0], [4, 0], [0, 2], [4, 2]])
    cluster = cluster_of(square, 5)
    assert cluster.centre.tolist() == [2, 1]
    assert cluster.radius == pytest.approx(math.sqrt(5))  # q = 4 of 4
    line = np.array([[-6.0, 0], [-1, 0], [1, 0], [2, 0], [4, 0]])
    assert cluster_of(line, 5).radius == pytest.approx((6 + 1 + 1 + 2 + 4) / 5)
    assert cluster_of(line, 2).radius == pytest.approx((6 + 4) / 2)
    assert cluster_of(np.array([[3.0, 3]]), 5).radius == 0


def test_vectors_are_taken_as_they_are_not_normalised():
    assert cluster_of(np.array([[0.0, 0], [200, 0]]), 5).radius == 100


def test_reference_is_the_type_with_most_samples():
    points = {"small": [(0, 0), (100, 0)], "big": [(0, 0), (2, 0), (1, 0)]}
    result = merge(points, [("thing", ["small", "big"])])
    assert result.types["big"].verdict.decision == "reference"
    # c = (50, 0) to (1, 0) is 49 > 1.5 · (1 + 1 + 0) / 3
    assert result.types["small"].verdict.decision == "rejected"
    assert result.types["small"].verdict.distance == 49
    assert result.types["small"].verdict.limit == pytest.approx(1)
    assert standards(result) == {"small": "small", "big": "thing"}


def test_of_equal_size_the_larger_radius_is_the_reference_then_the_name():
    points = {"a": [(0, 0), (2, 0)], "b": [(0, 0), (4, 0)], "c": [(1, 0), (5, 0)]}
    result = merge(points, [("thing", ["a", "b", "c"])])
    assert [raw for raw, e in result.types.items() if e.verdict.decision == "reference"] == ["b"]


def test_reference_rule_radius_first():
    points = {"small": [(-5, 0), (5, 0)], "big": [(0, 0), (2, 0), (1, 0)]}
    result = merge(points, [("thing", ["small", "big"])], reference="radius")
    assert result.types["small"].verdict.decision == "reference"
    assert result.types["big"].verdict.decision == "merged"


@pytest.mark.parametrize(("x", "decision"), [(1.5, "merged"), (1.5000001, "rejected"), (-1.5, "merged"), (0, "merged")])
def test_epsilon_on_the_border(x, decision):
    # reference: centre (0, 0), radius 1
    points = {"ref": [(-1, 0), (1, 0)], "other": [(x, 0)]}
    assert merge(points, [("thing", ["ref", "other"])]).types["other"].verdict.decision == decision


def test_border_that_binary_fractions_cannot_hold():
    points = {"ref": [(-0.1, 0), (0.1, 0)], "other": [(0.15, 0)]}
    assert merge(points, [("thing", ["ref", "other"])]).types["other"].verdict.decision == "merged"


def test_rejected_type_keeps_its_name_and_the_group_goes_by_its_reference():
    points = {"Person": [(50, 0)], "Actor": [(-1, 0), (1, 0)], "Star": [(0, 1)]}
    result = merge(points, [("Person", ["Person", "Actor", "Star"])])
    assert standards(result) == {"Person": "Person", "Actor": "Actor", "Star": "Actor"}
    assert set(result.labels) == {"Person", "Actor"}
    assert result.types["Star"].verdict.proposed == "Person"


def test_two_groups_never_share_a_name():
    points = {"A": [(50, 0)], "B": [(-1, 0), (1, 0)], "C": [(0, 0), (0, 1)], "D": [(0, 0)]}
    result = merge(points, [("A", ["A", "B"]), ("B", ["C", "D"])])
    assert standards(result) == {"A": "A", "B": "B", "C": "C", "D": "C"}


def test_singletons_keep_the_llm_merge_unverified():
    result = merge({"a": [(0, 0)], "b": [(9, 9)]}, [("thing", ["a", "b"])])
    assert standards(result) == {"a": "thing", "b": "thing"}
    assert result.types["b"].verdict.decision == "unverified"
    assert result.shares() == {"rule": 0, "llm": 1, "cluster": 0, "unverified": 1}


def test_singletons_split_by_the_letter():
    result = merge({"a": [(0, 0)], "b": [(9, 9)], "c": [(0, 0)]}, [("thing", ["a", "b", "c"])], singletons="split")
    assert standards(result) == {"a": "thing", "b": "b", "c": "thing"}  # distance 0 ≤ 1.5 · 0
    assert result.types["b"].verdict.decision == "split"


def test_singleton_is_measured_where_the_reference_has_a_radius():
    result = merge({"ref": [(-1, 0), (1, 0)], "one": [(1, 1)], "far": [(3, 0)]}, [("thing", ["one", "far", "ref"])])
    decisions = {raw: entry.verdict.decision for raw, entry in result.types.items()}
    assert decisions == {"ref": "reference", "one": "merged", "far": "rejected"}


def test_repairs():
    answer = [Group("People", ("Person", "ACTOR", "Ghost")), Group("Place", ("actor", "City")), Group("Odd", ("Nope",))]
    groups, repairs = repair_groups(["Person", "Actor", "City", "Song"], answer)
    assert groups == [Group("People", ("Person", "Actor")), Group("Place", ("City",)), Group("Song", ("Song",))]
    assert repairs == {"invented": ["Ghost", "Nope"], "repeated": ["actor"], "missing": ["Song"]}
    assert repair_groups(["a"], [])[0] == [Group("a", ("a",))]
    assert repair_groups(["a"], [Group(" ", ("a",))])[0] == [Group("a", ("a",))]


def test_equal_standard_names_from_two_chunks_are_one_group():
    first, second = [Group("Place", ("City",)), Group("Song", ("Hymn",))], [Group("place", ("Town", "Village"))]
    groups = join_equal_names(first + second)
    assert groups == [Group("Place", ("City", "Town", "Village")), Group("Song", ("Hymn",))]
    named = [Group("Location", ("Place",)), Group("Song", ("Song",))]
    assert join_by_names(groups, named)[0] == Group("Location", ("City", "Town", "Village"))
    assert join_by_names(groups, [Group("X", ("Song", "Place"))]) == [Group("X", ("Hymn", "City", "Town", "Village"))]


def ask_groups(classes, answers, known=None):
    """Groups proposed for `classes` and the requests, the LLM's groups written by `answers(task, names)`."""
    asked = []

    def answer(request):
        names = json.loads(request.input)
        asked.append((request.task, request.row_id, names))
        groups = answers(request.task, names)
        if groups is None:
            return Outcome(request, None, None, "no answer", "failed")
        return Outcome(request, None, Parsed([MergeGroup(standard=s, synonyms=m) for s, m in groups]))

    work = propose_groups(known, classes, row_id="merge", language="en", max_tokens=100)
    return replay(work, answer).value, asked


def test_types_are_asked_in_chunks_of_80_and_equal_names_of_two_chunks_are_one_group():
    classes = type_classes([(f"e{i}", f"t{i}") for i in range(100)])

    def answers(task, names):
        if task == "merge_standard":
            return [("Locality", ["place", "Area"])]  # the rest is left out: each stands alone
        return [("Place", names[:3]), ("place", names[3:5]), ("Area", names[-1:])] + [(n, [n]) for n in names[5:-1]]

    proposal, asked = ask_groups(classes, answers)
    assert [(task, name, len(names)) for task, name, names in asked] == [
        ("merge", "merge:0", 80),
        ("merge", "merge:1", 20),
        ("merge_standard", "merge:names", 1 + 1 + (80 - 6) + (20 - 6)),
    ]
    assert asked[0][2] == [f"t{i}" for i in range(80)]
    by_name = {group.standard: group.members for group in proposal.groups}
    places = ("t0", "t1", "t2", "t3", "t4", "t80", "t81", "t82", "t83", "t84")
    assert by_name["Locality"] == (*places, "t79", "t99")
    assert sorted(member for members in by_name.values() for member in members) == sorted(f"t{i}" for i in range(100))
    assert [repair["missing"] for repair in proposal.repairs[:2]] == [[], []]
    assert len(proposal.repairs[2]["missing"]) == 88


def test_unanswered_merge_leaves_every_type_alone():
    proposal, _ = ask_groups(type_classes([("a", "x"), ("b", "y")]), lambda task, names: None)
    assert proposal.groups == [Group("x", ("x",)), Group("y", ("y",))]


@pytest.mark.parametrize("between", [[], [("Cid", "PERSON")]])
def test_standard_names_stay_known_past_a_stage_that_brings_no_new_one(between):
    def answers(task, names):
        if "human being" in names and "person" in names:
            return [("person", ["person", "human being"])]
        return [(name.lower(), [name]) for name in names]

    first, _ = ask_groups(type_classes([("Ann", "person"), ("Rome", "place")]), answers)
    second, asked = ask_groups(type_classes(between), answers, first)
    assert len(asked) == len(between)
    third, asked = ask_groups(type_classes([("Dee", "human being")]), answers, second)
    assert asked[-1] == ("merge_standard", "merge:names", ["person", "place", "human being"])
    assert {group.standard for group in third.groups} == {"person", "place"}
    assert third.examples["place"] == ["Rome"]


def test_second_version_adds_and_never_changes():
    first = merge(
        {"Bird": [(-1, 0), (1, 0)], "Fowl": [(0, 1)], "Rock": [(40, 0)], "City": [(90, 0)]},
        [("Animal", ["Bird", "Fowl", "Rock"]), ("City", ["City"])],
    )
    assert standards(first) == {"Bird": "Animal", "Fowl": "Animal", "Rock": "Rock", "City": "City"}
    points = {"Duck": [(1, 1)], "Goat": [(7, 7)], "Moss": [(0, 0)], "BIRD": [(60, 0)], "Fern": [(0, 0), (2, 0)]}
    groups = [("animal", ["Duck", "Goat"]), ("Plant", ["Moss", "Fern"])]
    second = merge(points, groups, known=first)
    assert {raw: second.types[raw] for raw in first.types} == dict(first.types)
    assert {name: second.labels[name] for name in first.labels} == dict(first.labels)
    new = {raw: s for raw, s in standards(second).items() if raw not in first.types}
    assert new == {"Duck": "Animal", "Goat": "Goat", "Moss": "Plant", "Fern": "Plant", "BIRD": "Animal"}
    assert second.types["BIRD"].verdict.decision == "known"
    assert second.version == 2 and second.types["Duck"].version == 2 and second.labels["Animal"].version == 1


def test_new_type_named_like_a_known_label_cannot_take_its_name():
    first = merge({"Bird": [(-1, 0), (1, 0)], "Fowl": [(0, 1)]}, [("Animal", ["Bird", "Fowl"])])
    second = merge({"Animal": [(30, 0)]}, [("Animal", ["Animal"])], known=first)
    assert standards(second)["Animal"] == "Animal (2)"
    joins = merge({"Animal": [(0, 0)]}, [("Animal", ["Animal"])], known=first)
    assert standards(joins)["Animal"] == "Animal"


def test_member_that_is_a_known_name_stands_for_its_label():
    first = merge({"Bird": [(-1, 0), (1, 0)], "Fowl": [(0, 1)]}, [("Animal", ["Bird", "Fowl"])])
    second = merge({"Duck": [(0, 0)]}, [("Creature", ["Animal", "Duck"])], known=first)
    assert standards(second)["Duck"] == "Animal"


def test_json_form_tells_every_decision():
    result = merge({"ref": [(-1, 0), (1, 0)], "far": [(3, 0)]}, [("thing", ["far", "ref"])]).to_dict()
    assert result["types"]["far"] == {
        "standard": "far",
        "name": "far",
        "count": 1,
        "pairs": 1,
        "radius": 0.0,
        "version": 1,
        "decision": "rejected",
        "source": "cluster",
        "proposed": "thing",
        "distance": 3.0,
        "limit": 1.5,
    }
    assert result["labels"]["thing"] == {"reference": "ref", "radius": 1.0, "pairs": 2, "types": 1, "version": 1}
    assert result["settings"] == {"p": 5, "epsilon": 1.5, "reference": "samples", "singletons": "keep"}


@pytest.mark.parametrize(
    "settings", [{"p": 0}, {"epsilon": -1}, {"epsilon": math.nan}, {"reference": "x"}, {"singletons": "x"}]
)
def test_settings_outside_their_range_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        MergeSettings(**settings)


def test_type_without_a_group_is_an_error_not_a_guess():
    classes = type_classes([("x", "a")])
    with pytest.raises(ValueError, match="in no group"):
        merge_types(LabelMap(), classes, [], {"a": Cluster(np.zeros(2), 0.0, 1)})
