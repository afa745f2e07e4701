"""YAML read as far as its nodes, within limits: a file of a kilobyte can stand for more than fits into any memory."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import yaml

LARGEST_BYTES = 1 << 20
"""Of a file, and in characters of what it stands for once its aliases are written out; our largest has 3 KB."""


class ConfigError(ValueError):
    """A file that a person wrote cannot be used; one line a problem, each with file, line, key and remedy."""


def composed(path: Path) -> yaml.Node | None:
    """Return the root of a YAML file; None for one that says nothing.

    Raises:
        ConfigError: it cannot be read, is too large, is not YAML, or its aliases stand for too much.

    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_BYTES + 1).decode()
        if len(text) > LARGEST_BYTES:
            raise ConfigError(f"{path}: larger than {LARGEST_BYTES >> 10} KiB; is it the right file?")
        root = yaml.SafeLoader(text).get_single_node()
        if root is not None:
            _written_out(path, root, {})
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; check the path and its permissions") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise invalid(path, error) from None
    return root


def invalid(path: Path, error: Exception) -> ConfigError:
    """What is no YAML, with the line where that is known."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = f"{mark.line + 1}:" if mark else ""
        said = error.problem or error.context or "it cannot be parsed"
        return ConfigError(f"{path}:{line} not valid YAML: {said}; correct it there or just above")
    return ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}; correct it")


def _written_out(path: Path, node: yaml.Node, known: dict[int, int]) -> int:
    """Return the characters of a node with its aliases written out, each node looked at once."""
    if id(node) not in known:
        known[id(node)] = 0  # for who meets it again inside itself, which takes no memory
        characters = 1
        if isinstance(node, yaml.ScalarNode):
            characters += len(node.value)
        else:
            inner = chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else node.value
            characters += sum(_written_out(path, part, known) for part in inner)
        if characters > LARGEST_BYTES:
            line = node.start_mark.line + 1
            said = f"with its aliases (*name) written out this is longer than {LARGEST_BYTES >> 10} KiB"
            raise ConfigError(f"{path}:{line}: {said}; write out what is meant")
        known[id(node)] = characters
    return known[id(node)]
