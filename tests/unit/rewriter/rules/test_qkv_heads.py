import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper
from onnx_models import model, node, tensor, weights
from rewriting import apply, holds

TURNED = [0, 2, 3, 1]


def split(
    heads=(2, 2, 2), *, size=4, sizes=None, rows=("batch", "seq"), source=None, shapes="copied", bias=(True, False),
    factor=(None, 0.5), turned=(), handed_out=(), allowzero=0, reshapes=None,
):  # fmt: skip
    """A Split, and for each part a bias, a factor, a Reshape into heads and a Transpose."""
    sizes = sizes or [size] * len(heads)
    widths = [h * s for h, s in zip(heads, sizes, strict=True)]
    source = [*(source or rows), sum(widths)]
    nodes = [node("Split", ["x", "widths"], [f"p{i}" for i in range(len(heads))], "split", axis=-1)]
    fixed = {"widths": np.array(widths)}
    outputs = []
    if shapes == "computed":
        nodes.append(node("Shape", ["like"], ["begin"], end=2))
    for i, count in enumerate(heads):
        last = f"p{i}"
        if bias[i % len(bias)]:
            fixed[f"b{i}"] = weights((widths[i],), i)
            nodes.append(node("Add", [last, f"b{i}"], [f"a{i}"]))
            last = f"a{i}"
        if factor[i % len(factor)] is not None:
            fixed[f"f{i}"] = np.array(factor[i % len(factor)], np.float32)
            nodes.append(node("Mul", [last, f"f{i}"], [f"m{i}"]))
            last = f"m{i}"
        if shapes == "computed":
            fixed[f"tail{i}"] = np.array([count, sizes[i]])
            nodes.append(node("Concat", ["begin", f"tail{i}"], [f"s{i}"], axis=0))
        else:
            given_rows = (reshapes or {}).get(i) or ([0, 0] if shapes == "copied" else [-1, rows[1]])
            fixed[f"s{i}"] = np.array([*given_rows, count, sizes[i]])
        nodes.append(node("Reshape", [last, f"s{i}"], [f"h{i}"], allowzero=allowzero))
        nodes.append(node("Transpose", [f"h{i}"], [f"y{i}"], perm=TURNED if i in turned else [0, 2, 1, 3]))
        places = [count, sizes[i], rows[1]] if i in turned else [count, rows[1], sizes[i]]
        outputs.append((f"y{i}", [None if reshapes else rows[0], *(None if reshapes else d for d in places)]))
    outputs += [(o, [*rows, size * heads[0]] if o[0] != "h" else [*rows, heads[0], size]) for o in handed_out]
    inputs = [("x", source), *([("like", list(rows))] if shapes == "computed" else [])]
    return model(nodes, inputs, outputs, fixed)


@settings(max_examples=40, deadline=None)
@given(
    heads=st.lists(st.sampled_from([1, 2, 3]), min_size=2, max_size=4),
    size=st.sampled_from([1, 4]),
    rows=st.sampled_from([("batch", "seq"), (2, "seq"), (2, 3)]),
    shapes=st.sampled_from(["copied", "computed"]),
    bias=st.lists(st.booleans(), min_size=1, max_size=3),
    factor=st.lists(st.sampled_from([None, 0.5]), min_size=1, max_size=3),
    turned=st.sets(st.sampled_from([0, 1])),
)
def test_parts_go_into_heads_together(heads, size, rows, shapes, bias, factor, turned):
    proto = split(heads, size=size, rows=rows, shapes=shapes, bias=bias, factor=factor, turned=turned)
    after = holds(proto, "qkv_heads")
    assert [e.rule for e in after.done.applied] == ["qkv_heads"]
    assert after.ops.count("Reshape") == 1
    assert after.ops.count("Add") <= 1
    axes = [a.i for n in after.model.graph.node if n.op_type == "Split" for a in n.attribute]
    assert axes == [1]


def test_a_part_that_is_turned_both_ways_is_turned_once_each():
    proto = split(turned={1})
    proto.graph.node.extend(
        [node("Transpose", ["h1"], [f"z{i}"], perm=p) for i, p in enumerate([[0, 2, 1, 3], TURNED] * 2)]
    )
    columns = [["batch", 2, "seq", 4], ["batch", 2, 4, "seq"]] * 2
    proto.graph.output.extend([tensor(f"z{i}", c) for i, c in enumerate(columns)])
    after = holds(proto, "qkv_heads")
    assert [e.rule for e in after.done.applied] == ["qkv_heads"]
    assert after.ops.count("Transpose") == 2


def test_heads_that_a_reshape_leaves_open_are_what_is_left_of_the_width():
    proto = split(shapes="computed")
    for t in proto.graph.initializer:
        if t.name.startswith("tail"):
            t.CopyFrom(numpy_helper.from_array(np.array([-1, 4]), t.name))
    after = holds(proto, "qkv_heads")
    assert [e.rule for e in after.done.applied] == ["qkv_heads"]


@pytest.mark.parametrize("shapes", ["copied", "computed"])
def test_what_stands_before_a_transpose_stays_there(shapes):
    proto = split(shapes=shapes)
    turn = next(n for n in proto.graph.node if n.input[0] == "h1")
    turn.input[0] = "r1"
    place = list(proto.graph.node).index(turn)
    proto.graph.node.insert(place, node("Relu", ["h1"], ["r1"]))
    after = holds(proto, "qkv_heads")
    assert [e.rule for e in after.done.applied] == ["qkv_heads"]
    assert after.ops.count("Transpose") == 3
    axes = [a.i for n in after.model.graph.node if n.op_type == "Split" for a in n.attribute]
    assert axes == [2]


def test_who_asks_for_a_shape_only_gets_it_as_before():
    proto = split(bias=(True,), factor=(None,))
    proto.graph.node.extend([node("Shape", ["p0"], ["z0"]), node("Shape", ["a1"], ["z1"])])
    proto.graph.output.extend([tensor("z0", [3], TensorProto.INT64), tensor("z1", [3], TensorProto.INT64)])
    after = holds(proto, "qkv_heads")
    assert [e.rule for e in after.done.applied] == ["qkv_heads"]


def test_rows_that_are_flat_before_come_from_the_reshapes():
    proto = split(rows=("batch", 3), source=["flat"], shapes="given")
    after = holds(proto, "qkv_heads", sizes=[{"flat": 6, "batch": 2}, {"flat": 3, "batch": 1}])
    assert [e.rule for e in after.done.applied] == ["qkv_heads"]


def asked_for(source="x", tail=(-1, 4)):
    """A Split whose rows have lost their names; each part's Reshape asks a tensor's shape for them."""
    nodes = [node("Concat", ["a", "a"], ["twice"], axis=0), node("Concat", ["twice", "twice"], ["x"], axis=1)]
    nodes += [
        node("Transpose", ["x"], ["turned"], perm=[1, 0, 2]),
        node("Split", ["x", "widths"], ["p0", "p1"], axis=2),
    ]
    fixed = {
        "widths": np.array([8, 16]),
        "begin": np.array([0]),
        "end": np.array([2]),
        "tail": np.array(tail),
    }
    for i in (0, 1):
        nodes += [node("Shape", [source], [f"all{i}"]), node("Slice", [f"all{i}", "begin", "end"], [f"rows{i}"])]
        nodes += [
            node("Concat", [f"rows{i}", "tail"], [f"s{i}"], axis=0),
            node("Reshape", [f"p{i}", f"s{i}"], [f"h{i}"]),
        ]
        nodes.append(node("Transpose", [f"h{i}"], [f"y{i}"], perm=[0, 2, 1, 3]))
    return model(nodes, [("a", ["b", "s", 24])], [(f"y{i}", [None] * 4) for i in (0, 1)], fixed)


def test_rows_without_a_name_are_those_of_the_product_where_its_shape_was_asked():
    after = holds(asked_for(), "qkv_heads", sizes=[{"b": 2, "s": 3}, {"b": 1, "s": 1}])
    assert [e.rule for e in after.done.applied] == ["qkv_heads"]
    (reshape,) = [n for n in after.model.graph.node if n.op_type == "Reshape"]
    target = next(t for t in after.model.graph.initializer if t.name == reshape.input[1])
    assert numpy_helper.to_array(target).tolist() == [0, 0, 6, 4]


def test_rows_of_another_tensor_are_not_taken_for_them():
    assert apply(asked_for(source="turned"), "qkv_heads").done.applied == ()


def test_zeros_mean_zero_where_they_did():
    proto = split(shapes="computed", allowzero=1)
    proto.graph.input[0].CopyFrom(tensor("x", ["any", "other", 24]))
    after = holds(proto, "qkv_heads", sizes=[{"any": 3, "other": 2, "batch": 2, "seq": 3}])
    reshape = next(n for n in after.model.graph.node if n.op_type == "Reshape")
    assert [a.i for a in reshape.attribute] == [1]


@pytest.mark.parametrize("tensor_name", ["p1", "a0", "m1", "h2"])
def test_a_part_that_is_handed_out_on_the_way_stays(tensor_name):
    assert holds(split(handed_out=[tensor_name]), "qkv_heads").done.applied == ()


def test_a_bias_that_is_no_vector_of_the_columns_is_left_alone():
    proto = split(bias=(True,), factor=(None,), rows=("batch", 3))
    bias = next(t for t in proto.graph.initializer if t.name == "b1")
    bias.CopyFrom(numpy_helper.from_array(weights((3, 8)), "b1"))
    assert holds(proto, "qkv_heads").done.applied == ()


def test_a_split_along_the_rows_is_another_matter():
    proto = split()
    proto.graph.node[0].attribute[0].i = 1
    assert apply(proto, "qkv_heads").done.applied == ()


GUARDS = {
    "the parts are not whole heads of one size": lambda: split((2, 4), sizes=[4, 2]),
    "it is not known that the parts get the same rows and columns": lambda: split(
        (2, 2), rows=(6, 4), reshapes={0: [6, 4], 1: [4, 6]}
    ),
}
