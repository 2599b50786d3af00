"""Models that are not as tidy as an exporter's: nameless nodes, files of one name, other inputs and outputs."""

import numpy as np
import pytest
from onnx_models import cnn, model, node, random_feed, save, weights

from trtbuild.debugging import debug
from trtbuild.errors import IntegrityError


def nameless(operators=("Relu", "Sigmoid", "Tanh")):
    nodes = [
        node("MatMul", ["x", "w0"], ["a"]),
        node(operators[0], ["a"], ["b"]),
        node("MatMul", ["b", "w1"], ["c"]),
        node(operators[1], ["c"], ["d"]),
        node("MatMul", ["d", "w2"], ["e"]),
        node(operators[2], ["e"], ["y"]),
    ]
    made = model(nodes, [("x", ["n", 8])], [("y", ["n", 8])], {f"w{i}": weights((8, 8), i) for i in range(3)})
    for each in made.graph.node:
        each.ClearField("name")
    return made


def test_a_node_without_a_name_is_called_by_what_it_makes(tmp_path):
    right = save(nameless(), tmp_path / "a.onnx")
    wrong = save(nameless(("Relu", "Softplus", "Tanh")), tmp_path / "b.onnx")
    found = debug(right, wrong, random_feed(nameless()))
    worst = found.suspects[0]
    assert (worst.node, worst.op, worst.tensor, worst.cause) == ("d", "Softplus", "d", "other operators")
    assert worst.segment == ("Softplus",)


def test_two_files_of_one_name_keep_their_own_weights(tmp_path):
    sides = []
    for seed, folder in enumerate("ab"):
        nodes = [
            node("Cast", ["x"], ["x16"], "into", to=10),
            node("MatMul", ["x16", "w"], ["h"], "first"),
            node("MatMul", ["h", "v"], ["y16"], "second"),
            node("Cast", ["y16"], ["y"], "back", to=1),
        ]
        parameters = {"w": weights((8, 8), seed).astype(np.float16), "v": weights((8, 8), 7).astype(np.float16)}
        proto = model(nodes, [("x", ["n", 8])], [("y", ["n", 8])], parameters)
        (tmp_path / folder).mkdir()
        sides.append(save(proto, tmp_path / folder / "model.onnx"))
    found = debug(sides[0], sides[1], random_feed(proto))
    assert (found.suspects[0].node, found.suspects[0].cause) == ("first", "other weight")
    assert found.output_db < 10


def test_other_outputs_are_refused(tmp_path):
    right, other = cnn(), cnn()
    other.graph.node[-1].output[0] = other.graph.output[0].name = "z"
    sides = [save(p, tmp_path / f"{i}.onnx") for i, p in enumerate((right, other))]
    with pytest.raises(IntegrityError, match="output 'z'"):
        debug(*sides, random_feed(right))


def test_an_input_that_the_feed_has_not_is_refused(tmp_path):
    right, other = cnn(), cnn()
    other.graph.node[0].input[0] = other.graph.input[0].name = "image"
    sides = [save(p, tmp_path / f"{i}.onnx") for i, p in enumerate((right, other))]
    with pytest.raises(IntegrityError, match="input 'image'"):
        debug(*sides, {"x": np.zeros((1, 2, 6, 6), np.float32)})
