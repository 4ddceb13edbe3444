"""A YAML document as plain data that remembers the line and column of every value; refuses what no policy needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from services.policy.consistency import Path, format_path

MAX_BYTES = 1_000_000
_MAX_DEPTH = 16
_SCALARS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null")}
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


@dataclass(frozen=True)
class PolicyProblem:
    """One error of a policy file; line and column count from 1."""

    line: int
    column: int
    path: str
    detail: str


class PolicyError(ValueError):
    """A policy file that cannot be used; `problems` lists everything wrong with it, in the order of the file.

    As text, one line each: `policy.yaml:12:7: issues[1].actions.block: ...`.
    """

    def __init__(self, source: str, problems: Sequence[PolicyProblem]) -> None:
        self.source = source
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
        super().__init__("\n".join(f"{source}:{p.line}:{p.column}: {p.path}: {p.detail}" for p in self.problems))


@dataclass(frozen=True)
class Document:
    """Plain data and the marks of its parts: path to (line, column), both from 1."""

    data: Any
    marks: dict[Path, tuple[int, int]]
    problems: tuple[PolicyProblem, ...]

    def locate(self, path: Path) -> tuple[int, int]:
        """Line and column of the value at `path`, or of the nearest part of the document that encloses it."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path, (1, 1))

    def problem(self, path: Path, detail: str, *, at: Path | None = None) -> PolicyProblem:
        """A problem of the value at `path`, shown at `at` where that differs."""
        return PolicyProblem(*self.locate(path if at is None else at), format_path(path), detail)


def parse_document(text: str, source: str) -> Document:
    """Parse one YAML document of at most 1 MB.

    Duplicate keys, keys that are not text, and tags other than the core scalars are recorded in `problems`.

    Raises:
        PolicyError: too large, empty, not YAML, several documents, nested too deep, or with anchors and aliases (which
            a few lines can expand to gigabytes, and which hide where a value comes from).
    """
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise PolicyError(source, [PolicyProblem(1, 1, "policy", f"larger than {MAX_BYTES} bytes")])
    try:
        _refuse_hazards(text, source)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line, column = _position(error.problem_mark or error.context_mark)
        detail = f"not YAML: {error.problem or error}"
        raise PolicyError(source, [PolicyProblem(line, column, "policy", detail)]) from error
    except PolicyError:
        raise
    except (yaml.YAMLError, ValueError) as error:  # ValueError: PyYAML does not check an escape such as \U0011FFFF
        raise PolicyError(source, [PolicyProblem(1, 1, "policy", f"not YAML: {error}")]) from error
    if root is None:
        raise PolicyError(source, [PolicyProblem(1, 1, "policy", "the file is empty")])
    builder = _Builder()
    return Document(builder.build(root, ()), builder.marks, tuple(builder.problems))


def _position(mark: Any) -> tuple[int, int]:
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)


def _refuse_hazards(text: str, source: str) -> None:
    """Walk the events, which needs no recursion and expands nothing, before any node is built."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        detail = None
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            detail = f"nested deeper than {_MAX_DEPTH} levels" if depth > _MAX_DEPTH else None
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            detail = "anchors and aliases are not allowed; write the value out, or use `defaults`"
        if detail is not None:
            raise PolicyError(source, [PolicyProblem(*_position(event.start_mark), "policy", detail)])


class _Builder:
    """Turns nodes into plain data, recording marks and problems by the way."""

    def __init__(self) -> None:
        self.marks: dict[Path, tuple[int, int]] = {}
        self.problems: list[PolicyProblem] = []
        self._constructor = yaml.SafeLoader("")

    def build(self, node: yaml.Node, path: Path) -> Any:
        self.marks[path] = _position(node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*path, index)) for index, child in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(key_node, path, "a key must be text")
            elif key_node.value in result:
                self._report(key_node, (*path, key_node.value), "this key stands twice")
            else:
                # The key as written: `on:` and `1:` are the words on the page, never a boolean or a number.
                result[key_node.value] = self.build(value_node, (*path, key_node.value))
                self.marks[(*path, key_node.value)] = _position(value_node.start_mark)
        return result

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        if node.tag == _TIMESTAMP:
            return node.value
        if node.tag not in _SCALARS:
            self._report(node, path, f"the tag {node.tag} is not allowed")
            return None
        try:
            return self._constructor.construct_object(node)
        except (ValueError, LookupError, OverflowError) as error:
            self._report(node, path, f"not a usable value: {error}")
            return None

    def _report(self, node: yaml.Node, path: Path, detail: str) -> None:
        self.problems.append(PolicyProblem(*_position(node.start_mark), format_path(path), detail))
