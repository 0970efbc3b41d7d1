"""Settings: a YAML file, options on top, checked. Every file of settings in this project is read here."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_args, get_origin

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from .data.rows import InputError, show

if TYPE_CHECKING:
    from pydantic import BaseModel

    Model = TypeVar("Model", bound=BaseModel)

LARGEST_FILE = 1 << 20  # bytes
_CORE = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map"))


class _PlainLoader(yaml.SafeLoader):
    """YAML without what settings have no use for: aliases (they expand), keys given twice, tags, dates."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _CORE]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise _refused(f"*{event.anchor}: an alias; write the value out", event.start_mark)
        node = super().compose_node(parent, index)
        if node is not None and node.tag not in _CORE:
            raise _refused(f"the tag {node.tag!r}; write the plain value", node.start_mark)
        return node

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        given: set[tuple[str, Any]] = set()
        for key, _ in node.value:
            name = (key.tag, key.value if isinstance(key, ScalarNode) else id(key))
            if name in given:
                raise _refused(f"{key.value!r} is there twice; keep one", key.start_mark)
            given.add(name)
        return super().construct_mapping(node, deep)


def _refused(why: str, mark: yaml.Mark) -> yaml.YAMLError:
    return yaml.YAMLError(f"line {mark.line + 1}: {why}")


def read_settings(
    path: str | Path | None,
    options: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    like: str = "setting: value",
) -> dict[str, Any]:
    """
    The values of a YAML file, and options on top of them.

    Args:
        path: of the file, None for none; an empty file is no values.
        options: of the command line; None and () are not given.
        name: what errors call the file; by default its path.
        like: a line of such a file, for errors.

    Raises:
        InputError: a file that cannot be read, is larger than `LARGEST_FILE`, is no YAML of plain `name: value` lines,
            has a name twice, an alias or a tag.
    """
    values = {} if path is None else _read(Path(path), name or str(path), like)
    return values | {name: value for name, value in (options or {}).items() if value not in (None, ())}


def _read(path: Path, where: str, like: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"{where}: {error.strerror}; name a file that can be read") from error
    return parse_settings(content, where, like=like)


def parse_settings(content: bytes, where: str, *, like: str = "setting: value") -> dict[str, Any]:
    """
    The values of a YAML text.

    Args:
        where: what errors call it.
        like: a line of such a text, for errors.

    Raises:
        InputError: as `read_settings`.
    """
    mend = f"write `{like}` lines"
    if len(content) > LARGEST_FILE:
        raise InputError(f"{where}: is larger than {LARGEST_FILE >> 20} MB: no file of settings; {mend}")
    try:
        values = yaml.load(content.decode("utf-8-sig"), _PlainLoader)
    except RecursionError as error:
        raise InputError(f"{where}: lists in lists in lists …; {mend}") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise InputError(
            f"{where}: not YAML as settings need it: {' '.join(str(error).split()):.300}; {mend}"
        ) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{where}: holds {show(values)}; {mend}")
    try:
        json.dumps(values, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        half = show(error.object[error.start])
        raise InputError(f"{where}: {half} is half a surrogate pair; write the whole character") from error
    for key in values:
        if not isinstance(key, str):
            raise InputError(f"{where}: {show(key)} is no name of a setting; {mend}, and quote a name that YAML reads")
    return values


def check_settings(kind: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """
    Values as the pydantic model `kind`.

    Args:
        where: what errors name first: a file, or the command line.

    Raises:
        InputError: an unknown setting, a missing one, or a value outside its range; names it and what is allowed.
    """
    from pydantic import ValidationError

    for name, field in kind.model_fields.items():
        given = values.get(name)
        # pydantic would read it as 0 or 1
        truth = next((one for one in (given if isinstance(given, list) else [given]) if isinstance(one, bool)), None)
        if truth is not None and _holds(field.annotation, int, float) and not _holds(field.annotation, bool):
            raise InputError(f"{where}: {name} is {str(truth).lower()}, which is no value of it: {field.description}")
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        # Without the members of unions, such as `constrained-float`, that pydantic names there.
        name = ".".join(part for part in map(str, first["loc"]) if part.replace("_", "a").isalnum())
        if first["type"] in ("extra_forbidden", "invalid_key"):
            *group, unknown = first["loc"]
            inside = _group(kind, group)
            if group and inside is not None:
                raise unknown_setting(
                    str(unknown), inside.model_fields, f"{where}: {'.'.join(map(str, group))}"
                ) from error
            raise unknown_setting(str(unknown), kind.model_fields, where) from error
        if first["type"] == "missing":
            raise InputError(f"{where}: setting {name} is missing; add `{name}: …`") from error
        if first["type"] == "value_error":  # of the model's own checks, which do not repeat what may be a secret
            raise InputError(f"{where}: {name}: {first['ctx']['error']}") from None
        raise InputError(f"{where}: {name} is {show(first['input'])}: {first['msg']}") from error


def settings_text(settings: BaseModel, heading: str) -> str:
    """A YAML file of settings: every one under its meaning.

    Args:
        heading: the first line, a comment.
    """
    lines = [f"# {heading}", ""]
    for name, value in settings.model_dump(mode="json").items():
        dumped = yaml.safe_dump(value, allow_unicode=True, default_flow_style=True, width=10**6).strip()
        lines += [
            f"# {type(settings).model_fields[name].description}",
            f"{name}: {dumped.removesuffix('...').strip()}",
            "",
        ]
    return "\n".join(lines)


def _holds(annotation: Any, *types: type) -> bool:
    """Whether an annotation has one of the types in it."""
    return annotation in types or any(_holds(part, *types) for part in get_args(annotation))


def _group(kind: type[BaseModel], names: Iterable[Any]) -> type[BaseModel] | None:
    """The model of a group of settings inside a model's; None where it is none."""
    from pydantic import BaseModel

    found: Any = kind
    for name in names:
        if get_origin(found) is dict:  # a name of the user's
            found = get_args(found)[1]
            continue
        fields = found.model_fields if isinstance(found, type) and issubclass(found, BaseModel) else {}
        found = fields[name].annotation if name in fields else None
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def unknown_setting(name: str, known: Iterable[str], where: str) -> InputError:
    """The error for a setting that does not exist: the nearest that does, or all."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    told = f"did you mean {near[0]}? " if near else ""
    return InputError(f"{where}: no setting {name!r}; {told}there are {', '.join(known)}")
