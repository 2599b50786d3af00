"""Rules from a user's file: the worked example of docs/rewriting.md, several in one file, and what goes wrong."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_models import model, node, ops, same_outputs, save

from trtbuild.errors import UsageError
from trtbuild.rewriter import rewrite
from trtbuild.rewriter.rule import rules_from

DOCS = Path(__file__).resolve().parents[3] / "docs" / "rewriting.md"


def example():
    return re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]


def product(value, shape=()):
    nodes = [node("Relu", ["x"], ["a"]), node("Mul", ["a", "c"], ["y"], "product")]
    return model(
        nodes, [("x", ["n", 4])], [("y", [*([1] * (len(shape) - 2)), "n", 4])], {"c": np.full(shape, value, np.float32)}
    )


def own(tmp_path, text, name="my_rule.py"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def test_the_example_in_the_docs_works(tmp_path):
    rule = own(tmp_path, example())
    done = rewrite(save(product(1), tmp_path / "in.onnx"), tmp_path, rules=[rule], skip=["clean_up"], prove=True)
    assert [(e.rule, e.node) for e in done.applied] == [("my_rule", "product")]
    assert ops(onnx.load(str(done.model.path))) == ["Relu"]


def test_the_example_leaves_other_products_alone(tmp_path):
    rule = own(tmp_path, example())
    done = rewrite(save(product(2), tmp_path / "in.onnx"), tmp_path, rules=[rule], skip=["clean_up"])
    assert done.applied == ()
    done = rewrite(save(product(1, (1, 1, 1)), tmp_path / "in.onnx"), tmp_path, rules=[rule], skip=["clean_up"])
    assert [(d.rule, d.reason) for d in done.declined] == [("my_rule", "the constant adds an axis")]


def test_a_wrong_rule_of_the_users_is_undone(tmp_path):
    text = example().replace("(operands[1] == 1)", "(operands[1] == 2)")
    proto = product(2)
    done = rewrite(save(proto, tmp_path / "in.onnx"), tmp_path, rules=[own(tmp_path, text)], skip=["clean_up"])
    assert "undone: my_rule at product" in done.notes[0]
    assert same_outputs(proto, onnx.load(str(done.model.path)))


def test_several_rules_in_one_file_and_only_and_skip_know_them(tmp_path):
    text = """
from trtbuild.rewriter import Rule
from trtbuild.rewriter.graph import Edit

def to(op):
    return lambda node, graph: Edit(op, lambda: setattr(node, "op", op))

RULES = (Rule("first", "", ("Relu",), to("Abs")), Rule("second", "", ("Mul",), to("Div")))
"""
    file = own(tmp_path, text)
    assert [r.name for r in rules_from(file)] == ["first", "second"]
    source = save(product(1), tmp_path / "in.onnx")
    done = rewrite(source, tmp_path, rules=[file], only=["second"], check=False)
    assert [e.rule for e in done.applied] == ["second"]
    with pytest.raises(UsageError, match="did you mean 'second'"):
        rewrite(source, tmp_path, rules=[file], skip=["secnd"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("OPS = ()", "it holds no rule"),
        ("RULES = (1,)", "not a Rule"),
        ("1 / 0", "ZeroDivisionError"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
    ],
)
def test_a_file_without_a_rule_is_an_error_that_names_it(tmp_path, text, says):
    with pytest.raises(UsageError, match=says) as caught:
        rules_from(own(tmp_path, text))
    assert "my_rule.py" in str(caught.value)
    assert caught.value.hint


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        rules_from(tmp_path / "gone.py")


def test_what_a_users_rule_raises_names_their_line(tmp_path):
    rule = own(tmp_path, '"""?"""\nOPS = ("Mul",)\n\n\ndef propose(node, graph):\n    raise KeyError("mine")\n')
    with pytest.raises(UsageError, match="KeyError") as caught:
        rewrite(save(product(1), tmp_path / "in.onnx"), tmp_path, rules=[rule], skip=["clean_up"])
    assert "my_rule.py:6" in str(caught.value)
