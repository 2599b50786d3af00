"""A rewrite rule as a value, and where rules come from: one file each in ``rules/``, or a file of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from trtbuild import sources
from trtbuild.errors import TrtbuildError, UsageError
from trtbuild.registry import Registry

if TYPE_CHECKING:
    from trtbuild.rewriter.graph import Edit, GraphView

RULES = Registry("trtbuild.rewriter.rules", "rule")


@dataclass(frozen=True)
class Rule:
    """One rewrite rule.

    Attributes:
        name: What ``--only`` and ``--skip`` call it.
        summary: What it does, in one line.
        ops: Operator types of the nodes it is asked about; all when empty.
        propose: Takes a node and the graph around it; gives an ``Edit``, or None where it has nothing to say; declines
            a match through ``graph.need`` and ``graph.prefer``. Changes nothing itself.
        after: Names of rules that go first.
        backends: Names of the backends it is for; all when empty.
    """

    name: str
    summary: str
    ops: tuple[str, ...]
    propose: Callable[[Any, GraphView], Edit | None]
    after: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()


def rule_of(module: ModuleType, name: str) -> Rule:
    """The rule that a module is: its ``OPS``, ``AFTER``, ``BACKENDS``, ``propose`` and the first line of its docstring.

    Raises:
        AttributeError: The module has no ``OPS`` or no ``propose``.
    """
    summary = (module.__doc__ or "").strip().split("\n", 1)[0].rstrip(".")
    return Rule(
        name=name,
        summary=summary,
        ops=tuple(module.OPS),
        propose=module.propose,
        after=tuple(getattr(module, "AFTER", ())),
        backends=tuple(getattr(module, "BACKENDS", ())),
    )


def shipped_rules(names: Sequence[str]) -> list[Rule]:
    """Trtbuild's own rules of those names."""
    return [rule_of(RULES.load(name), name) for name in names]


def rules_from(path: Path) -> list[Rule]:
    """The rules of a user's file: its ``RULES``, or the one rule that the file is, named like the file.

    Raises:
        UsageError: There is no such file, it fails, or it holds no rule.
    """
    module = sources.load_file(path)
    hint = "a rule file has OPS and propose(node, graph), or RULES = (Rule(...), ...): see docs/rewriting.md"
    found = getattr(module, "RULES", None)
    if found is not None:
        if not all(isinstance(r, Rule) for r in found):
            raise UsageError("RULES holds something that is not a Rule", place=str(path), hint=hint)
        return [_guarded(rule, path) for rule in found]
    try:
        return [_guarded(rule_of(module, path.stem), path)]
    except AttributeError as error:
        raise UsageError(f"it holds no rule: {error}", place=str(path), hint=hint) from error


def _guarded(rule: Rule, path: Path) -> Rule:
    """The rule; what its ``propose`` or its edits raise names the user's file and line."""

    def propose(node: Any, graph: GraphView) -> Edit | None:
        with _users_own(path):
            offer = rule.propose(node, graph)
        if offer is None:
            return None

        def apply() -> None:
            with _users_own(path):
                offer.apply()

        return replace(offer, apply=apply)

    return replace(rule, propose=propose)


@contextmanager
def _users_own(path: Path) -> Iterator[None]:
    from trtbuild.rewriter.graph import Declined

    declined: Declined | None = None
    with sources.user_code(str(path)):
        try:
            yield
        except Declined as why:  # no error of theirs
            declined = why
    if declined is not None:
        raise declined


def ordered(rules: Sequence[Rule]) -> list[Rule]:
    """The rules, each after the ones its ``after`` names."""
    by_name = {r.name: r for r in rules}
    done: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise TrtbuildError(f"rules come after each other in a ring: {' -> '.join((*path, name))}")
        if name in done or name not in by_name:
            return
        for earlier in by_name[name].after:
            visit(earlier, (*path, name))
        done.append(name)

    for rule in rules:
        visit(rule.name, ())
    return [by_name[name] for name in done]
