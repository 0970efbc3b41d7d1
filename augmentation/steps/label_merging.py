"""Label normalisation (S4, equations 2-6): free-form entity types become standard labels.

Three judges, in this order: a rule joins spellings, the LLM proposes synonyms, geometry accepts or rejects them. The
core takes vectors as an array, so it knows nothing of LLMs or encoders.
"""

import itertools
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from modeling_knowfree.data.rows import bare

CHUNK_SIZE = 80
EXAMPLES_PER_TYPE = 5


def normal_form(name: str) -> str:
    """NFKC, strip, casefold, collapse: names with the same normal form are one class (S4 a). What nobody sees at their
    edges is no part of them."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", bare(name)).casefold())
    return " ".join(folded.split())


@dataclass(frozen=True)
class TypeClass:
    """Raw types with one normal form.

    `name` is the most frequent spelling (then the first seen), `spellings` counts the mentions of each, `entities`
    are the distinct entities of the class in the order seen.
    """

    name: str
    spellings: Mapping[str, int]
    entities: tuple[str, ...]

    @property
    def key(self) -> str:
        return normal_form(self.name)


def type_classes(mentions: Iterable[tuple[str, str]]) -> list[TypeClass]:
    """Classes of the raw types in (entity, type) mentions, in the order seen; a type without a name is left out."""
    spellings: dict[str, Counter[str]] = {}
    entities: dict[str, dict[str, None]] = {}
    for entity, raw in mentions:
        key = normal_form(raw)
        if key:
            spellings.setdefault(key, Counter())[raw] += 1
            entities.setdefault(key, {})[entity] = None
    return [
        TypeClass(max(counts, key=lambda raw: counts[raw]), dict(counts), tuple(entities[key]))
        for key, counts in spellings.items()
    ]


@dataclass(frozen=True)
class Group:
    """A standard name and the types that the LLM calls synonymous (equation 3)."""

    standard: str
    members: tuple[str, ...]


def repair_groups(names: Sequence[str], answer: Iterable[Group]) -> tuple[list[Group], dict[str, list[str]]]:
    """Groups that hold every name exactly once, and what had to be mended (S4 b).

    Members are compared by normal form. Invented members go, a name in two groups stays in the first, a missing name
    is its own group; a standard name need not be one of the names.
    """
    left = {normal_form(name): name for name in names}
    known = set(left)
    repairs: dict[str, list[str]] = {"invented": [], "repeated": [], "missing": []}
    groups: list[Group] = []
    for group in answer:
        members: list[str] = []
        for member in group.members:
            key = normal_form(member)
            if key in left:
                members.append(left.pop(key))
            else:
                repairs["repeated" if key in known else "invented"].append(member)
        if members:
            groups.append(Group(group.standard.strip() or members[0], tuple(members)))
    repairs["missing"] = list(left.values())
    return groups + [Group(name, (name,)) for name in left.values()], repairs


def join_equal_names(groups: Iterable[Group]) -> list[Group]:
    """Groups with the same standard name, from whichever chunk, are one (S4 b)."""
    joined: dict[str, Group] = {}
    for group in groups:
        key = normal_form(group.standard)
        first = joined.get(key, Group(group.standard, ()))
        joined[key] = Group(first.standard, first.members + group.members)
    return list(joined.values())


def join_by_names(groups: Sequence[Group], named: Iterable[Group]) -> list[Group]:
    """Apply the second pass: `named` groups the standard names of `groups` (repaired, so each once)."""
    by_name = {normal_form(group.standard): group for group in groups}
    joined = []
    for name in named:
        parts = [by_name[normal_form(member)] for member in name.members]
        joined.append(Group(name.standard, tuple(member for part in parts for member in part.members)))
    return join_equal_names(joined)


@dataclass(frozen=True)
class MergeSettings:
    """Geometry of S4.

    Args:
        p: vectors farthest from the centre whose distances make the radius (equation 6).
        epsilon: a type joins its reference within `epsilon` radii.
        reference: what makes the reference of a group: `samples` (most, then larger radius, then name) or `radius`
            (larger, then most samples, then name).
        singletons: a reference with radius 0 measures nothing: `keep` the LLM's merge as unverified, or `split` by the
            letter of the condition.
    """

    p: int = 5
    epsilon: float = 1.5
    reference: Literal["samples", "radius"] = "samples"
    singletons: Literal["keep", "split"] = "keep"

    def __post_init__(self) -> None:
        if self.p < 1:
            raise ValueError(f"p is {self.p}; it counts vectors and must be at least 1, for example p=5")
        if not self.epsilon >= 0:
            raise ValueError(f"epsilon is {self.epsilon}; it must be at least 0, for example epsilon=1.5")
        if self.reference not in ("samples", "radius"):
            raise ValueError(f'reference is {self.reference!r}; it must be "samples" or "radius"')
        if self.singletons not in ("keep", "split"):
            raise ValueError(f'singletons is {self.singletons!r}; it must be "keep" or "split"')


@dataclass(frozen=True)
class Cluster:
    """Vectors of one type: centre (equation 5), radius (equation 6) and number of vectors."""

    centre: np.ndarray
    radius: float
    size: int


def cluster_of(vectors: np.ndarray, p: int) -> Cluster:
    """Centre and radius of vectors `[n, D]`; the radius is the mean of the q = min(p, n) largest distances."""
    vectors = np.asarray(vectors, dtype=np.float64)
    centre = vectors.mean(axis=0)
    distances = np.sort(np.linalg.norm(vectors - centre, axis=1))[::-1]
    return Cluster(centre, float(distances[: min(p, len(distances))].mean()), len(vectors))


def pairs_to_embed(classes: Iterable[TypeClass]) -> list[str]:
    """Unique (entity, type) pairs in words, "entity is type", class by class (equation 4)."""
    return [f"{entity} is {type_class.name}" for type_class in classes for entity in type_class.entities]


def clusters_of(classes: Sequence[TypeClass], vectors: np.ndarray, p: int) -> dict[str, Cluster]:
    """Cluster of each class by name; `vectors [pairs, D]` in the order of `pairs_to_embed(classes)`."""
    pairs = sum(len(type_class.entities) for type_class in classes)
    if vectors.ndim != 2 or len(vectors) != pairs:
        raise ValueError(f"vectors have shape {vectors.shape}; {pairs} (entity, type) pairs need [{pairs}, D]")
    clusters, at = {}, 0
    for type_class in classes:
        clusters[type_class.name] = cluster_of(vectors[at : at + len(type_class.entities)], p)
        at += len(type_class.entities)
    return clusters


@dataclass(frozen=True)
class Verdict:
    """What became of one type, and why.

    `decision`: `alone` (the LLM named no synonym), `reference`, `merged`, `rejected` (too far from the reference),
    `unverified` (kept on the LLM's word), `split` (singleton rule), `known` (its class was in an earlier version).
    `source`, who decided: `rule` (a spelling of a class), `llm` or `cluster`. `distance` is to the reference's centre,
    `limit` is epsilon times its radius; None where nothing was measured. `proposed` is the LLM's standard name.
    """

    decision: str
    source: str
    proposed: str
    distance: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class RawType:
    """An entry of the map: a raw spelling, its class `name`, mentions `count`, unique `pairs`, the class's `radius`."""

    standard: str
    name: str
    count: int
    pairs: int
    radius: float
    version: int
    verdict: Verdict


@dataclass(frozen=True)
class Label:
    """A standard label with the reference type whose cluster judges what may join.

    `proposed` is the LLM's name for it, None for a type that was sent away from its group.
    """

    reference: str
    cluster: Cluster
    proposed: str | None
    version: int


@dataclass(frozen=True)
class LabelMap:
    """Raw type -> standard label with every decision; a later version only ever adds (S9)."""

    settings: MergeSettings = MergeSettings()
    version: int = 0
    types: Mapping[str, RawType] = field(default_factory=dict)
    labels: Mapping[str, Label] = field(default_factory=dict)

    def shares(self) -> dict[str, int]:
        """Raw types by who decided: `rule`, `llm`, `cluster`, `unverified`."""
        kinds = Counter(
            "unverified" if entry.verdict.decision == "unverified" and entry.verdict.source == "llm"
            else entry.verdict.source
            for entry in self.types.values()
        )  # fmt: skip
        return {kind: kinds[kind] for kind in ("rule", "llm", "cluster", "unverified")}

    def to_dict(self) -> dict[str, Any]:
        """JSON form, lengths to 6 places; centres stay out, they follow from the pairs and the encoder."""
        types: dict[str, dict[str, Any]] = {}
        for raw, entry in self.types.items():
            flat = asdict(entry)
            flat |= flat.pop("verdict")
            types[raw] = {key: round(value, 6) if isinstance(value, float) else value for key, value in flat.items()}
        members = Counter(entry.standard for entry in self.types.values())
        labels = {
            name: {
                "reference": label.reference,
                "radius": round(label.cluster.radius, 6),
                "pairs": label.cluster.size,
                "types": members[name],
                "version": label.version,
            }
            for name, label in self.labels.items()
        }
        return {
            "version": self.version,
            "settings": asdict(self.settings),
            "shares": self.shares(),
            "types": types,
            "labels": labels,
        }


def new_classes(known: LabelMap, classes: Iterable[TypeClass]) -> list[TypeClass]:
    """Classes that no version of the map has seen."""
    keys = {normal_form(raw) for raw in known.types}
    return [type_class for type_class in classes if type_class.key not in keys]


def merge_types(
    known: LabelMap, classes: Sequence[TypeClass], groups: Iterable[Group], clusters: Mapping[str, Cluster]
) -> LabelMap:
    """The next version of the label map: `known` plus the types of `classes` (S4 c-g; S9 for a map that is not empty).

    Args:
        known: the map so far, `LabelMap(settings)` to start with. Its entries and labels never change.
        classes: all classes of the new mentions, known ones included.
        groups: the LLM's groups over the names of `new_classes(known, classes)`, each exactly once. A group that is
            named like, or has as a member, the `proposed` of one of `known.labels` asks to join that label.
        clusters: cluster by class name, for the new classes.

    Raises:
        ValueError: a new class is in no group.
    """
    fresh = {type_class.name: type_class for type_class in new_classes(known, classes)}
    verdicts: dict[str, Verdict] = {}
    families: list[_Family] = []
    open_labels = {normal_form(label.proposed): name for name, label in known.labels.items() if label.proposed}
    for group in groups:
        members = [member for member in dict.fromkeys(group.members) if member in fresh]
        if members:
            keys = [normal_form(name) for name in (group.standard, *group.members)]
            target = next((open_labels[key] for key in keys if key in open_labels), None)
            families += _judge_group(group.standard, members, target, known, clusters, verdicts)
    homeless = [name for name in fresh if name not in verdicts]
    if homeless:
        raise ValueError(f"types {homeless} are in no group; repair_groups puts every type into exactly one")

    version = known.version + 1
    types, labels = dict(known.types), dict(known.labels)
    standards: dict[str, str] = {}
    for family, name in zip(families, _label_names(families, known.labels), strict=True):
        standards |= dict.fromkeys(family.members, name)
        if family.target is None:
            reference = family.members[0]
            labels[name] = Label(reference, clusters[reference], family.proposed, version)

    earlier: dict[str, RawType] = {}
    for raw, entry in known.types.items():
        earlier.setdefault(normal_form(raw), entry)
    for type_class in classes:
        for raw, count in type_class.spellings.items():
            if raw in types:
                continue
            if type_class.name in fresh:
                verdict = verdicts[type_class.name]
                types[raw] = RawType(
                    standards[type_class.name],
                    type_class.name,
                    count,
                    len(type_class.entities),
                    clusters[type_class.name].radius,
                    version,
                    verdict if raw == type_class.name else replace(verdict, source="rule"),
                )
            else:
                entry = earlier[type_class.key]
                verdict = replace(entry.verdict, decision="known", source="rule")
                types[raw] = replace(entry, count=count, version=version, verdict=verdict)
    return LabelMap(known.settings, version, types, labels)


@dataclass(frozen=True)
class _Family:
    """Types that share a label; the first is the reference. `target` is the known label they join, if any."""

    standard: str
    members: list[str]
    target: str | None
    proposed: str | None


def _judge_group(
    standard: str,
    members: list[str],
    target: str | None,
    known: LabelMap,
    clusters: Mapping[str, Cluster],
    verdicts: dict[str, Verdict],
) -> list[_Family]:
    """S4 e-g for one group: who stays with the reference, and a family of its own for each who does not."""
    settings = known.settings
    members = sorted(members, key=lambda name: _reference_order(name, clusters[name], settings.reference))
    if target is None:
        reference, stay, judged = clusters[members[0]], members[:1], members[1:]
        verdicts[members[0]] = Verdict("reference" if judged else "alone", "llm", standard)
    else:
        reference, stay, judged = known.labels[target].cluster, [], members
    leave = []
    limit = settings.epsilon * reference.radius
    for name in judged:
        distance = float(np.linalg.norm(clusters[name].centre - reference.centre))
        if reference.radius == 0 and settings.singletons == "keep":
            verdicts[name] = Verdict("unverified", "llm", standard, distance, limit)
            stay.append(name)
        elif distance <= limit * (1 + 1e-9):  # the last bits must not decide a distance that lies on the border
            verdicts[name] = Verdict("merged", "cluster", standard, distance, limit)
            stay.append(name)
        else:
            decision = "split" if reference.radius == 0 else "rejected"
            verdicts[name] = Verdict(decision, "cluster", standard, distance, limit)
            leave.append(name)
    families = [_Family(standard, stay, target, standard)] if stay else []
    return families + [_Family(name, [name], None, None) for name in leave]


def _reference_order(name: str, cluster: Cluster, rule: str) -> tuple[float, float, str]:
    samples, radius = -float(cluster.size), -cluster.radius
    return (samples, radius, name) if rule == "samples" else (radius, samples, name)


def _label_names(families: Sequence[_Family], known: Iterable[str]) -> list[str]:
    """One name a family, none twice. Types that stand alone keep their own name; a group whose standard name is taken
    goes by its reference's name, then by another member's."""
    used = {normal_form(name) for name in known}
    names = {i: family.target for i, family in enumerate(families) if family.target is not None}
    unnamed = [(i, family) for i, family in enumerate(families) if i not in names]
    for i, family in sorted(unnamed, key=lambda item: item[1].standard != item[1].members[0]):
        wishes = itertools.chain(
            [family.standard, *family.members], (f"{family.standard} ({n})" for n in itertools.count(2))
        )
        names[i] = next(wish for wish in wishes if normal_form(wish) not in used)
        used.add(normal_form(names[i]))
    return [names[i] for i in range(len(families))]
