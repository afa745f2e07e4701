"""YAML files whose faults are named by file, line, key and remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.experiment.composed import ConfigError, composed, invalid

__all__ = ["UNSEEN", "ConfigError", "Document", "Key", "Model", "Problem", "instead", "problems", "shown", "written"]

Key = tuple[str | int, ...]
"""Where something stands in a document: `("guests", 0, "min_mib")`; the document itself is `()`."""

Problem = tuple[Key, str]
"""What is wrong, and where."""

M = TypeVar("M", bound=BaseModel)

UNSEEN = r"\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
"""Characters that no name may have: control, zero width, marks of direction. In a pattern, between brackets."""

SEEN_AT_MOST = 10_000
"""Nodes of a document whose lines are remembered: far above any experiment."""


class Model(BaseModel):
    """What a file may say: no unknown keys, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Document:
    """One YAML file: plain `data`, and the line on which each key stands."""

    def __init__(self, path: Path) -> None:
        """Read and parse the file.

        Raises:
            ConfigError: it cannot be read, is not YAML or stands for too much, or says a key twice.

        """
        self.path = path
        self.lines: dict[Key, int] = {(): 1}
        root = composed(path)
        try:
            twice = [] if root is None else list(self._note((), root, set()))
            self.data: Any = None if root is None else yaml.SafeLoader("").construct_document(root)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            # A ValueError is a scalar that looks like a date or number and is none, such as 2024-13-45.
            raise invalid(path, error) from None
        if twice:
            raise self.error(twice)

    def error(self, found: Iterable[Problem]) -> ConfigError:
        """Return the problems as one error, in the order of their lines."""
        placed = sorted((self.line(key), written(key), said) for key, said in found)
        return ConfigError(
            "\n".join(f"{self.path}:{line}: {': '.join(filter(None, (key, said)))}" for line, key, said in placed)
        )

    def line(self, key: Key) -> int:
        """Line of a key, or of the nearest thing around it that the file does have."""
        while key not in self.lines:
            key = key[:-1]
        return self.lines[key]

    def parse(self, model: type[M]) -> M:
        """Return the document as `model`.

        Raises:
            ConfigError: with every problem that was found.

        """
        if not isinstance(self.data, Mapping):
            needed = ", ".join(name for name, field in model.model_fields.items() if field.is_required())
            raise self.error([((), f"must be keys and values, and is {shown(self.data)}; give {needed}")])
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            raise self.error(problems(model, error)) from None

    def _note(self, key: Key, node: yaml.Node, seen: set[int]) -> Iterator[Problem]:
        """Remember the line of everything below `node`; yield the keys that are given twice."""
        if id(node) in seen or len(seen) > SEEN_AT_MOST:
            return
        seen.add(id(node))
        self.lines.setdefault(key, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                yield from self._note((*key, index), item, seen)
        elif isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                below = (*key, str(name.value))
                if below in self.lines:
                    yield below, f"given twice, first on line {self.lines[below]}; remove one"
                self.lines[below] = name.start_mark.line + 1
                yield from self._note(below, value, seen)


def written(key: Key) -> str:
    """`guests[0].min_mib`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).removeprefix(".")


def shown(value: object) -> str:
    """What a file says, short enough for a message."""
    if value is None:
        return "empty"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return repr(value)[:60]


def instead(name: str, known: Iterable[str]) -> str:
    """The remedy for an unknown name: the one that was probably meant, or all there are."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"known: {', '.join(known)}" if known else "there are none"


def problems(model: type[BaseModel], error: ValidationError) -> list[Problem]:
    """Return what pydantic found wrong, in words that name the remedy."""
    return [_problem(model, fault) for fault in error.errors()]


def _problem(model: type[BaseModel], fault: Mapping[str, Any]) -> Problem:
    key: Key = tuple(fault["loc"])
    context, given = fault.get("ctx", {}), shown(fault.get("input"))
    match fault["type"]:
        case "extra_forbidden":
            return key, f"unknown key; {instead(str(key[-1]), _keys(model, key[:-1]))}"
        case "missing":
            return key, f"missing; add `{key[-1]}: …`"
        case "tuple_type":
            return key, f"must be a list, and is {given}"
        case "dict_type" | "model_type":
            return key, f"must be keys and values, and is {given}"
        case "int_type" | "int_from_float" | "int_parsing":
            return key, f"must be a whole number, and is {given}"
        case "float_type" | "float_parsing" | "finite_number":
            return key, f"must be a number, and is {given}"
        case "string_type":
            return key, f"must be text, and is {given}; put it in quotes if that is meant"
        case "string_pattern_mismatch":
            return key, f"{given} does not match {context['pattern']}; choose another"
        case "value_error":
            return key, str(context["error"])
    return key, f"{_lowered(fault['msg'])}; it is {given}"


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _keys(model: type[BaseModel], key: Sequence[str | int]) -> list[str]:
    """The keys that are allowed at a place in a model."""
    inside: type[BaseModel] | None = model
    for part in key:
        if inside is not None and isinstance(part, str):
            fields = inside.model_fields
            field = fields.get(part) or next((f for f in fields.values() if f.alias == part), None)
            # An index, and a name of the file's own, lead to the same model.
            inside = _model_in(field.annotation) if field is not None else inside
    if inside is None:
        return []
    return [field.alias or name for name, field in inside.model_fields.items()]


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The first model that a type such as `tuple[Guest, ...]` or `Mapping[str, Parameter]` is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner)) is not None), None)
