"""What is advised for models whose bottleneck is known: one of arithmetic, one of weights, one of many small kernels."""

import numpy as np
import pytest
from onnx_models import model, node, random_feed, save, weights

from trtbuild.advising import advise
from trtbuild.errors import UsageError
from trtbuild.spec import load_spec
from trtbuild.spec.targets import find_target


def chain(width, layers, rows="n", between="Softmax"):
    """Products with a weight each; a Softmax behind each is a kernel of its own, a Relu is not."""
    nodes, parameters, tensor = [], {}, "x"
    for number in range(layers):
        parameters[f"w{number}"] = weights((width, width), number, width**-0.5)
        last = "y" if number == layers - 1 else f"h{number}"
        nodes.append(node("MatMul", [tensor, f"w{number}"], [f"m{number}"], f"/net/layer.{number}/MatMul"))
        nodes.append(node(between, [f"m{number}"], [last], f"/net/layer.{number}/{between}"))
        tensor = last
    return model(nodes, [("x", [rows, width])], [("y", [rows, width])], parameters)


PRODUCT, ROWS = chain(1024, 1, between="Relu"), 2048


def advised(tmp_path, proto, rows, target="l4", **more):
    fields = find_target(target)
    feed = random_feed(proto, 0, n=rows)
    return advise(save(proto, tmp_path / "m.onnx"), feed, rates=fields.rates(), target=fields.target(), runs=1, **more)


def verdicts(found):
    return {step.name: step.verdict for step in found.steps}


def test_arithmetic_asks_for_the_switch_and_then_for_a_lower_precision(tmp_path):
    found = advised(tmp_path, PRODUCT, ROWS, launch_s=1e-9)
    assert (found.bound, found.next.name) == ("compute", "tf32")
    assert found.next.how == ("precision: tf32",)
    assert (verdicts(found)["fp16"], verdicts(found)["int8"]) == ("do", "do")


def test_a_target_without_tf32_begins_with_fp16(tmp_path):
    found = advised(tmp_path, PRODUCT, ROWS, "t4", launch_s=1e-9)
    assert found.next.name == "fp16"
    assert "cannot do tf32" in found.steps[0].why


def test_weights_read_for_one_row_ask_for_a_batch(tmp_path):
    found = advised(tmp_path, chain(1024, 2), 1, most={"n": 32})
    assert (found.bound, found.next.name) == ("memory", "batching")
    assert found.next.rows == 32
    assert found.next.how[0] == "profiles: [{n: [1, 32, 32]}]"
    assert found.next.estimated_seconds < 4 * found.next.estimated_seconds_before, "the weights are read once"
    assert verdicts(found)["tf32"] == "skip"


def test_many_small_kernels_ask_for_one_launch(tmp_path):
    found = advised(tmp_path, chain(16, 12), 4)
    assert (found.bound, found.next.name) == ("launch", "cuda graphs")
    assert found.estimated_seconds == pytest.approx(found.launches * found.launch_seconds)
    assert found.launches == 24
    assert found.next.how == ("triton: {cuda_graphs: true}",)
    assert verdicts(found)["fp16"] == "skip", "the host is no quicker for it"


def test_it_stops_where_the_latency_is_met(tmp_path):
    proto = PRODUCT
    met = advised(tmp_path, proto, ROWS, latency_s=1.0, launch_s=1e-9)
    assert set(verdicts(met).values()) == {"not needed"}
    assert (met.next, met.estimated_met) == (None, True)

    steps = {s.name: s for s in advised(tmp_path, proto, ROWS, launch_s=1e-9).steps}
    asked = steps["fp16"].estimated_seconds * 1.01
    some = advised(tmp_path, proto, ROWS, latency_s=asked, launch_s=1e-9)
    assert verdicts(some) == {
        "tf32": "do", "cuda graphs": "skip", "batching": "skip", "fp16": "do", "int8": "not needed",
        "sparsity": "not needed", "distillation": "not needed",
    }  # fmt: skip
    assert some.estimated_met


def test_where_nothing_cheaper_is_enough_it_comes_to_a_smaller_model(tmp_path):
    found = advised(tmp_path, PRODUCT, ROWS, latency_s=1e-9, launch_s=1e-12)
    assert (verdicts(found)["sparsity"], verdicts(found)["distillation"]) == ("do", "do")
    assert found.estimated_met is False
    assert found.steps[-1].estimated_seconds is None


def test_what_is_done_already_is_not_advised_again(tmp_path):
    found = advised(tmp_path, PRODUCT, ROWS, precision="fp16", launch_s=1e-9)
    assert (verdicts(found)["tf32"], verdicts(found)["fp16"], found.next.name) == ("done", "done", "int8")


def test_a_fixed_batch_and_a_backend_without_sparse_kernels_are_told(tmp_path):
    found = advised(tmp_path, chain(64, 2, rows=1), 1, "rtx4090@tensorrt_rtx")
    by_name = {s.name: s for s in found.steps}
    assert "dynamic" in by_name["batching"].why
    assert "2:4" in by_name["sparsity"].why


def test_sparse_kernels_count_without_figures_too(tmp_path):
    proto = PRODUCT
    found = advise(save(proto, tmp_path / "m.onnx"), random_feed(proto, 0, n=ROWS), launch_s=1e-9, runs=1)
    sparsity = next(s for s in found.steps if s.name == "sparsity")
    assert sparsity.estimated_seconds < sparsity.estimated_seconds_before
    assert any("only ratios" in note for note in found.notes)


def test_a_latency_needs_a_target_with_figures(tmp_path):
    proto = chain(16, 1)
    with pytest.raises(UsageError, match="how fast the target is"):
        advise(save(proto, tmp_path / "m.onnx"), random_feed(proto), latency_s=1.0)


def test_a_file_in_half_precision_is_refused(tmp_path):
    proto = model(
        [node("Cast", ["x"], ["h"], to=10), node("MatMul", ["h", "w"], ["m"], "p"), node("Cast", ["m"], ["y"], to=1)],
        [("x", ["n", 4])], [("y", ["n", 4])], {"w": weights((4, 4)).astype(np.float16)},
    )  # fmt: skip
    with pytest.raises(UsageError, match="fp16"):
        advise(save(proto, tmp_path / "m.onnx"), random_feed(proto))


def test_the_profile_is_of_the_nodes_of_the_file(tmp_path):
    found = advised(tmp_path, chain(64, 3), 8).profile
    assert {s.name for s in found.nodes} == {f"/net/layer.{i}/{op}" for i in range(3) for op in ("MatMul", "Softmax")}
    assert {(s.name, s.nodes) for s in found.operators} == {("MatMul", 3), ("Softmax", 3)}
    assert {(s.name, s.nodes) for s in found.modules} == {(f"net/layer.{i}", 2) for i in range(3)}
    for shares in (found.nodes, found.operators, found.modules):
        assert sum(s.share for s in shares) == pytest.approx(1)
        assert sum(s.seconds for s in shares) == pytest.approx(found.seconds)


def test_every_line_for_the_spec_is_one_that_a_spec_takes(tmp_path):
    spec = "model: {name: m, source: m.onnx}\ntargets: [l4]\naccuracy: {data: readers.py:held_out, metric: cosine, min: 0.9}\n"
    lines = set()
    for width, layers, rows, most in ((1024, 2, 1, {"n": 32}), (16, 12, 4, {})):
        lines |= {line for step in advised(tmp_path, chain(width, layers), rows, most=most).steps for line in step.how}
    far = advised(tmp_path, PRODUCT, ROWS, latency_s=1e-9, launch_s=1e-12)
    lines |= {line for step in far.steps for line in step.how if step.name != "distillation"}
    assert len(lines) >= 7
    kinds = {line.partition(":")[0] for line in lines}
    assert kinds == {"precision", "profiles", "triton", "calibration", "build"}
    for line in lines:
        file = tmp_path / "trtbuild.yaml"
        file.write_text(spec + line + "\n" + ("calibration: {reader: random}\n" if "int8" in line else ""))
        load_spec(file, environment={})
