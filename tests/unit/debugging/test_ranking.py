"""Which node's INT8 costs most: debug's ranking against quantising each node by itself, and what FP16 would cost."""

import numpy as np
import pytest
from onnx_models import model, node, random_feed, save, weights

from trtbuild.calibration import calibrate
from trtbuild.content import feed_digest
from trtbuild.debugging import debug
from trtbuild.feeds import Sample
from trtbuild.precision import assign_precision
from trtbuild.precision.searching.sensitivity import measure
from trtbuild.spec.targets import find_target


def tower():
    """Four products in a row; outliers in the inputs of the second and, more, of the last cost INT8 its steps."""
    nodes, parameters, tensor = [], {}, "x"
    for number, outlier in enumerate((1, 12, 1, 60)):
        spread = np.ones((1, 32), np.float32)
        spread[0, 3] = outlier
        parameters |= {f"s{number}": spread, f"w{number}": weights((32, 32), number, 0.2) / spread.T}
        last = "y" if number == 3 else f"h{number}"
        nodes += [
            node("Mul", [tensor, f"s{number}"], [f"m{number}"], f"spread{number}"),
            node("MatMul", [f"m{number}", f"w{number}"], [f"p{number}"], f"product{number}"),
            node("Tanh", [f"p{number}"], [last], f"tanh{number}"),
        ]
        tensor = last
    return model(nodes, [("x", ["n", 32])], [("y", ["n", 32])], parameters)


@pytest.fixture(scope="module")
def quantised(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranking")
    proto = tower()
    path = save(proto, folder / "m.onnx")
    feeds = [random_feed(proto, seed, n=16) for seed in range(4)]
    table = calibrate(path, feeds, method="minmax")
    typed = assign_precision(path, folder, precision="int8", table=table, rest="fp32").model.path
    exact = measure(path, table, [Sample(f, None, feed_digest(f)) for f in feeds], how="exact")
    return path, typed, exact, {"x": np.concatenate([f["x"] for f in feeds])}


def test_the_nodes_are_ranked_as_exact_measurement_ranks_them(quantised):
    path, typed, exact, feed = quantised
    wanted = [n.node for n in sorted(exact.nodes, key=lambda n: -n.noise)]
    found = debug(path, typed, feed)
    assert [s.node for s in found.suspects if s.op == "MatMul"] == wanted
    assert wanted[:2] == ["product3", "product1"]


def test_what_a_node_in_half_precision_costs_is_estimated_for_a_target(quantised):
    path, typed, _, feed = quantised
    found = debug(path, typed, feed, rates=find_target("l4").rates())
    shares = [s.estimated_time_share for s in found.suspects if s.op == "MatMul"]
    assert all(share > 1 for share in shares)
    assert "estimated +" in found.advice[0]
    assert found.advice[0].endswith("% time")
    assert not any("time" in line for line in debug(path, typed, feed).advice)
