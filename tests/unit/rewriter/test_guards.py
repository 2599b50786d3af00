"""The test of the tests: every guard of every rule, once switched off, lets a wrong graph through."""

import importlib.util
from pathlib import Path

import pytest
from rewriting import guard_matters, guards_of

from trtbuild.rewriter.rule import RULES


def _tests_of(rule):
    file = Path(__file__).parent / "rules" / f"test_{rule}.py"
    spec = importlib.util.spec_from_file_location(f"guards_{rule}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("rule", RULES.summaries())
def test_every_guard_has_a_model_that_needs_it(rule):
    module = _tests_of(rule)
    models = getattr(module, "GUARDS", {})
    assert set(models) == guards_of(rule)
    for guard, make in models.items():
        guard_matters(make(), rule, guard, backend=getattr(module, "BACKEND", None))
