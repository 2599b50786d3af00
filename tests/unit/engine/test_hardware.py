"""What a target cannot compute is refused with the nodes named, and TensorRT-RTX agrees with every word of it."""

from typing import get_args

import numpy as np
import pytest
from onnx import TensorProto
from onnx_models import cnn, matmul, model, node, random_feed, save, tensor, weights
from tiny_builds import built

from trtbuild.artifacts import AxisRange, OptimizationProfile, Precision, Target
from trtbuild.backends.tensorrt_rtx import CAPABILITIES
from trtbuild.calibration import calibrate
from trtbuild.engine import compile as compile_plan
from trtbuild.engine import typed_from_file
from trtbuild.engine.hardware import formats_of, hold_to_hardware
from trtbuild.errors import SpecError
from trtbuild.onnxfile import load
from trtbuild.precision import assign_precision
from trtbuild.spec import check_target, shipped_targets

PROFILE = OptimizationProfile({"n": AxisRange(1, 4, 16)})
PRECISIONS = [p for p in get_args(Precision) if p != "best"]
KERNEL = {"tf32": "fp32"}  # TF32 is stored in FP32: the log says no more


def rtx(capability):
    return Target("mine", "tensorrt_rtx", capability)


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    """A MatMul and a small CNN in every precision."""
    folder = tmp_path_factory.mktemp("hardware")
    found = {}
    for name, proto in {"matmul": matmul(64, 64, scale=0.1), "cnn": cnn()}.items():
        path = save(proto, folder / f"{name}.onnx")
        table = calibrate(path, [random_feed(proto, n=16)], method="minmax")
        for precision in PRECISIONS:
            place = folder / name / precision
            place.mkdir(parents=True)
            found[name, precision] = assign_precision(
                path, place, precision=precision, table=table, profiles=[PROFILE], allow_fallback=True
            )
    return found


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_what_is_accepted_builds_as_asked_and_what_is_refused_does_not(typed, tmp_path, capability):
    pytest.importorskip("tensorrt_rtx")
    graphs = {precision: typed["matmul", precision] for precision in PRECISIONS}
    results = built(graphs, capability, PROFILE, tmp_path)
    for precision, graph in graphs.items():
        shares, error = results[precision]
        if refused(precision, graph, rtx(capability)):
            assert "matmul" in error or "HW-specific datatypes" in error
        else:
            assert shares == {KERNEL.get(precision, precision): 1}, error


def refused(precision, graph, target):
    """Whether the check of the spec refuses it, and the check of the graph with it."""
    answers = []
    for check, asked in ((check_target, (target, precision)), (hold_to_hardware, (graph, target))):
        try:
            check(*asked)
            answers.append(False)
        except SpecError:
            answers.append(True)
    assert len(set(answers)) == 1, (precision, target, answers)
    return answers[0]


def test_every_target_that_ships_is_built_for_by_one_of_the_capabilities_above():
    served = {t.compute_capability for t in shipped_targets().values() if "tensorrt_rtx" in t.backends}
    assert served == set(CAPABILITIES) - {"8.0"}  # its only parts are for data centres: sm80 names it


def test_fp8_in_a_ready_made_file_is_refused_by_its_nodes(typed, tmp_path):
    file = typed["matmul", "fp8"].model.path
    with pytest.raises(SpecError) as caught:
        compile_plan(file, tmp_path, target=rtx("8.6"), profiles=[PROFILE])
    named = {n.name for n in load(file).graph.node}
    assert "compute capability 8.6 cannot do fp8: " in caught.value.message
    shown = caught.value.message.partition(": ")[2].split(" and ")[0].split(", ")
    assert set(shown) <= named
    assert shown[0] == "matmul"
    assert len(shown) > 1
    assert caught.value.hint == "take precision int8 or fp16; fp8 begins at compute capability 8.9"
    assert list(tmp_path.iterdir()) == []


def test_a_node_without_a_name_is_told_by_what_it_makes():
    x, y = tensor("x", [4], TensorProto.FLOAT), tensor("y", [4], TensorProto.BFLOAT16)
    proto = model([node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)], [x], [y])
    proto.graph.node[0].name = ""
    assert formats_of(proto) == {"bf16": ["the Cast that makes 'y'"]}


def test_formats_are_found_inside_of_branches_and_nowhere_else():
    inner = model(
        [node("Cast", ["x"], ["c"], "low", to=TensorProto.BFLOAT16), node("Cast", ["c"], ["z"], "high", to=1)],
        [("x", [4])], [("z", [4])],
    ).graph  # fmt: skip
    outer = model(
        [node("If", ["b"], ["y"], "choice")], [tensor("x", [4]), tensor("b", [], TensorProto.BOOL)], [("y", [4])]
    )
    for name in ("then_branch", "else_branch"):
        attribute = outer.graph.node[0].attribute.add(name=name, type=5)
        attribute.g.CopyFrom(inner)
        del attribute.g.input[:]
    found = formats_of(outer)
    assert set(found) == {"bf16"}
    assert set(found["bf16"]) == {"low"}
    assert formats_of(cnn()) == {}


def test_only_the_nodes_that_are_in_it_are_named(typed):
    mixed = typed["cnn", "int8"]
    with pytest.raises(SpecError, match="INT8 convolutions in FP16 .* 7.5: conv1, conv2\n") as caught:
        hold_to_hardware(mixed, rtx("7.5"))
    assert "allow_precision_fallback" in caught.value.hint
    hold_to_hardware(mixed, rtx("7.5"), allow_precision_fallback=True)
    hold_to_hardware(mixed, Target("t4", "tensorrt", "7.5"))
    hold_to_hardware(mixed, rtx("8.6"))
    with pytest.raises(SpecError, match="no FP32 matrix multiplication for compute capability 7.5: head\n"):
        hold_to_hardware(typed["cnn", "fp32"], rtx("7.5"), allow_precision_fallback=True)


def test_int8_convolutions_really_run_in_fp16_on_turing_and_only_there(typed, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    graph = {"int8": typed["cnn", "int8"]}
    (turing, _), (ampere, _) = (built(graph, c, PROFILE, tmp_path)["int8"] for c in ("7.5", "8.0"))
    assert set(turing) == {"fp16", "int8"}  # the head is in INT8
    assert ampere == {"int8": 1}


def test_convolutions_alone_do_without_fp32_matrices(tmp_path):
    pytest.importorskip("tensorrt_rtx")
    proto = model(
        [node("Conv", ["x", "w"], ["y"], "only", pads=[1, 1, 1, 1])],
        [("x", ["n", 8, 8, 8])], [("y", ["n", 8, 8, 8])], {"w": weights((8, 8, 3, 3), scale=0.1)},
    )  # fmt: skip
    plan = compile_plan(save(proto, tmp_path / "m.onnx"), tmp_path, target=rtx("7.5"), profiles=[PROFILE])
    assert plan.work.nodes == {"only": "fp32"}


def test_tf32_is_no_part_of_the_graph_and_is_refused_all_the_same(tmp_path):
    proto = model(
        [node("MatMul", ["x", "w"], ["y"], "it")], [("x", [2, 4])], [("y", [2, 4])], {"w": np.ones((4, 4), np.float32)}
    )
    typed = typed_from_file(save(proto, tmp_path / "m.onnx"), tf32=True)
    with pytest.raises(SpecError, match="7.5 cannot do tf32: it"):
        hold_to_hardware(typed, Target("t4", "tensorrt", "7.5"))
