import math
from dataclasses import replace

import pytest
from onnx_models import cnn, mlp, tensor

from trtbuild.artifacts import TargetRates
from trtbuild.precision.searching.costs import NodeWork, costs_of, matrix_work, roofline
from trtbuild.spec import shipped_targets

RATES = TargetRates("gpu", {"fp16": 100e12, "int8": 200e12, "fp32": 25e12}, 1e12, "made up")


def test_a_hand_worked_node_is_bound_by_the_larger_of_its_two_times():
    # 1024 x 1024 times 1024 x 1024: 2 * 2^30 operations, 2^20 elements each way
    work = NodeWork(macs=2**30, read=2**20, weight=2**20, written=2**20)
    roof = roofline(RATES)
    assert roof.seconds(work, "fp16", "fp16") == pytest.approx(2 * 2**30 / 100e12)  # 21.5 us against 6.3 us of bytes
    assert roof.seconds(work, "int8", "fp16") == pytest.approx(2 * 2**30 / 200e12)  # 10.7 us against 4.2 us
    # one row: the weight's bytes decide
    row = NodeWork(macs=2**20, read=2**10, weight=2**20, written=2**10)
    assert roof.seconds(row, "fp16", "fp16") == pytest.approx((2 * 2**10 + 2 * 2**20 + 2 * 2**10) / 1e12)
    assert roof.seconds(row, "int8", "fp16") == pytest.approx((2**10 + 2**20 + 2 * 2**10) / 1e12)
    assert roof.seconds(row, "int4", "fp16") == pytest.approx((2 * 2**10 + 2**19 + 2 * 2**10) / 1e12)


def test_weights_in_a_format_do_not_make_products_faster():
    work = NodeWork(macs=2**30, read=2**20, weight=2**20, written=2**20)
    roof = roofline(RATES)
    for stored in ("int8_weights", "int4"):
        assert roof.seconds(work, stored, "fp16") == roof.seconds(work, "fp16", "fp16")


def test_the_work_of_a_convolution_and_a_gemm_is_counted_at_the_sizes_given():
    work = matrix_work(cnn(), {"n": 2})
    shapes = {name: (w.macs, w.weight) for name, w in work.items()}
    first = work["conv1"]
    pixels = first.read // (2 * 2)  # two images of two channels
    assert shapes["conv1"] == (2 * pixels * 4 * 2 * 9, 4 * 2 * 9)
    assert (first.written, work["conv2"].read) == (0, 2 * 2 * 4 * pixels)  # through BatchNormalization and Relu
    assert work["head"].read == 2 * 6  # pooling lies between
    assert matrix_work(mlp(8), {"n": 3}) == {
        "fc1": NodeWork(macs=3 * 8 * 16, read=24, weight=128, written=0),
        "fc2": NodeWork(macs=3 * 8 * 16, read=2 * 48, weight=128, written=24),
    }


def test_a_result_that_others_read_too_is_written_by_its_own_node():
    shared = mlp(8)
    shared.graph.output.append(tensor("h2", ["n", 16]))
    work = matrix_work(shared, {"n": 3})
    assert (work["fc1"].written, work["fc2"].read) == (48, 48)


def test_a_rate_that_is_not_known_is_taken_in_ratio_and_said():
    roof = roofline(TargetRates("orin", {"int8": 85e12}, 2e11))
    assert roof.peak["fp16"] == pytest.approx(42.5e12)
    assert roof.peak["int8"] == 85e12
    assert "in ratio to int8" in roof.assumed[0]
    unknown = roofline(TargetRates("new", {}, None))
    assert unknown.peak["int8"] == 2 * unknown.peak["fp16"]
    assert len(unknown.assumed) == 2
    assert roofline(RATES).assumed == ()


def test_shares_and_bytes_count_weighted_nodes():
    costs = costs_of(mlp(8), {"n": 4}, [RATES], "fp16")
    assert costs.shares({"fc1": "int8"}) == {"int8": 0.5, "fp16": 0.5}
    assert costs.weight_bytes({"fc1": "int8"}) == 128 + 2 * 128
    assert costs.total({})["gpu"] == pytest.approx(costs.unquantised()["gpu"])
    assert costs.relative("fc1", "fp16") + costs.relative("fc2", "fp16") == pytest.approx(1)


def test_the_shipped_figures_are_plausible():
    rates = {name: t.rates() for name, t in shipped_targets().items()}
    for name, found in rates.items():
        peak = found.peak
        assert found.source, name
        assert 1e11 < found.bandwidth < 1e13, name
        assert all(1e12 < rate < 2e16 for rate in peak.values()), name
        for low, high in (("fp16", "int8"), ("fp16", "fp8"), ("int8", "int4"), ("fp8", "fp4")):
            if low in peak and high in peak:  # each halving of the bits doubles the rate, without sparsity
                assert math.isclose(peak[high], 2 * peak[low], rel_tol=0.02), (name, low, high)
        if "bf16" in peak:
            assert peak["bf16"] in (peak["fp16"], pytest.approx(peak["fp16"] / 2, rel=0.01)), name
        known = [peak[n] for n in ("fp32", "tf32", "fp16", "int8") if n in peak]
        assert known == sorted(known), name
    assert rates["h100"].peak["int8"] == 1979e12
    assert rates["t4"].peak["int8"] == 130e12
    memory = {name: t.memory_gb for name, t in shipped_targets().items()}
    assert memory["h200"] > memory["h100"] == memory["a100"]


def test_an_activation_that_fits_into_the_cache_costs_no_bandwidth():
    work = NodeWork(macs=1_000_000, read=4_000_000, weight=1_000_000, written=2_000_000)
    rates = TargetRates("t", {"fp16": 1e15, "int8": 2e15}, 1e12)
    small, large = (roofline(replace(rates, cache=c)).seconds(work, "int8", "fp16") for c in (7e6, 8e6))
    assert small == (4_000_000 + 1_000_000 + 2 * 2_000_000) / 1e12
    assert large == 1_000_000 / 1e12
