import math
from dataclasses import replace

from graph_strategies import graphs
from hypothesis import given, settings
from hypothesis import strategies as st

from trtbuild.artifacts import TargetRates
from trtbuild.roofline import NodeWork, graph_estimate, roofline

RATES = TargetRates("gpu", {"fp32": 25e12, "fp16": 100e12, "int8": 200e12}, 1e12, cache=1e6)
FORMATS = ("fp32", "fp16", "int8", "int8_weights", "int4")
SIZE = st.integers(0, 10**9)
WORKS = st.builds(NodeWork, SIZE, SIZE, SIZE, SIZE)


def rest_of(kind):
    return kind if kind in ("fp32", "fp16") else "fp16"


@given(WORKS, st.sampled_from(FORMATS), st.floats(1, 100), st.booleans())
def test_a_faster_target_is_never_slower(work, kind, faster, cached):
    base = roofline(RATES).node_limit(work, kind, rest_of(kind), cached=cached)
    for better in (
        replace(RATES, bandwidth=1e12 * faster),
        replace(RATES, cache=1e6 * faster),
        replace(RATES, peak={n: r * faster for n, r in RATES.peak.items()}),
    ):
        assert roofline(better).node_limit(work, kind, rest_of(kind), cached=cached).seconds <= base.seconds


@given(WORKS, st.booleans())
def test_a_finer_format_is_never_slower(work, cached):
    roof = roofline(RATES)
    times = [roof.node_limit(work, k, rest_of(k), cached=cached).seconds for k in ("int8", "fp16", "fp32")]
    assert times == sorted(times)


@given(WORKS, st.sampled_from(FORMATS))
def test_a_cache_never_costs_time(work, kind):
    roof = roofline(RATES)
    assert (
        roof.node_limit(work, kind, rest_of(kind)).seconds
        <= roof.node_limit(work, kind, rest_of(kind), cached=False).seconds
    )


@settings(max_examples=30)
@given(graphs(), st.sampled_from(["fp32", "fp16", "int8"]))
def test_every_graph_is_the_sum_of_its_parts(drawn, precision):
    proto, _ = drawn
    found = graph_estimate(proto, RATES, {"n": 2}, precision)
    assert math.isclose(found.estimated_seconds, sum(p.estimated_seconds for p in found.parts))
    assert found.estimated_seconds <= found.estimated_seconds_uncached
    assert math.isclose(sum(found.bound_shares.values()), 1) or found.estimated_seconds == 0
    nodes = [n for p in found.parts for n in p.nodes]
    assert len(nodes) == len(set(nodes)), "no node is in two parts"
    assert set(nodes) <= {n.name or n.output[0] for n in proto.graph.node}
