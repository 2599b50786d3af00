import onnx
import pytest
from onnx_models import model, node, ops, same_outputs, save

from trtbuild.rewriter import rewrite


def apply(proto, tmp_path):
    done = rewrite(save(proto, tmp_path / "in.onnx"), tmp_path, only=["global_average_pool"])
    (tmp_path / "again").mkdir()
    again = rewrite(done.model, tmp_path / "again", only=["global_average_pool"])
    assert again.model.sha256 == done.model.sha256, "a second run changes nothing"
    return done, onnx.load(str(done.model.path))


def pool(x=("n", 3, 6, 4), y=("n", 3, 1, 1), **attributes):
    return model([node("AveragePool", ["x"], ["y"], "pool", **attributes)], [("x", list(x))], [("y", list(y))])


@pytest.mark.parametrize(
    "proto",
    [
        pool(kernel_shape=[6, 4]),
        pool(kernel_shape=[6, 4], strides=[6, 4]),
        pool(kernel_shape=[6, 4], auto_pad="VALID"),
        pool(kernel_shape=[6, 4], ceil_mode=1, count_include_pad=1, pads=[0, 0, 0, 0]),
        pool(kernel_shape=[9, 9], strides=[9, 9], ceil_mode=1, count_include_pad=1),
        pool(kernel_shape=[9, 4], strides=[9, 2], ceil_mode=1),
        pool(("n", 3, 7), ("n", 3, 1), kernel_shape=[7]),
        pool(("n", 3, 2, 3, 4), ("n", 3, 1, 1, 1), kernel_shape=[2, 3, 4]),
    ],
    ids=["plain", "strides", "valid", "ceil", "larger", "one larger", "1d", "3d"],
)
def test_a_window_over_the_whole_plane_becomes_global(proto, tmp_path):
    done, after = apply(proto, tmp_path)
    assert [(e.rule, e.node) for e in done.applied] == [("global_average_pool", "pool")]
    assert ops(after) == ["GlobalAveragePool"]
    assert not after.graph.node[0].attribute
    assert same_outputs(proto, after, atol=1e-6)


def test_a_plane_that_shape_inference_finds_counts(tmp_path):
    nodes = [node("Relu", ["x"], ["r"]), node("AveragePool", ["r"], ["y"], "pool", kernel_shape=[4, 4])]
    assert ops(apply(model(nodes, [("x", ["n", 2, 4, 4])], [("y", ["n", 2, 1, 1])]), tmp_path)[1]) == [
        "Relu", "GlobalAveragePool",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "proto",
    [
        pool(("n", 3, 6, 4), ("n", 3, 4, 2), kernel_shape=[3, 3]),
        pool(("n", 3, 6, 4), ("n", 3, 2, 1), kernel_shape=[4, 4], strides=[3, 3], ceil_mode=1),
        pool(("n", 3, "h", "w"), ("n", 3, None, None), kernel_shape=[3, 3]),
    ],
    ids=["smaller", "two positions", "dynamic"],
)
def test_another_window_is_left_alone(proto, tmp_path):
    done, after = apply(proto, tmp_path)
    assert done.applied == done.declined == ()
    assert ops(after) == ["AveragePool"]


@pytest.mark.parametrize(
    "options",
    [
        {"y": ("n", 3, 3, 3), "kernel_shape": [6, 4], "pads": [1, 1, 1, 1]},
        {"y": ("n", 3, 6, 4), "kernel_shape": [6, 4], "auto_pad": "SAME_UPPER"},
    ],
    ids=["pads", "same"],
)
def test_declines_padding(options, tmp_path):
    done, after = apply(pool(**options), tmp_path)
    assert [(d.rule, d.node, d.reason) for d in done.declined] == [("global_average_pool", "pool", "it pads")]
    assert ops(after) == ["AveragePool"]


GUARDS = {"it pads": lambda: pool(y=("n", 3, 3, 3), kernel_shape=[6, 4], pads=[1, 1, 1, 1])}
