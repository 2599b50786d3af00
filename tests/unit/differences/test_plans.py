"""Plans that TensorRT-RTX built, and plans made of values."""

from collections import Counter
from dataclasses import replace

import pytest
from onnx_models import mlp, model, node, random_feed, save, weights
from plan_values import plan as plan_value

from trtbuild.artifacts import (
    AxisRange,
    EngineLayer,
    EngineLayers,
    LayerTensor,
    OptimizationProfile,
    PrecisionShare,
    Target,
    TensorSpec,
)
from trtbuild.calibration import calibrate
from trtbuild.differences import PlanFile, diff_plans, headline, in_words
from trtbuild.engine import compile as compile_plan
from trtbuild.engine.header import PlanHeader, read_header
from trtbuild.precision import assign_precision

SM89 = Target("rtx4090", "tensorrt_rtx", "8.9")
PROFILE = OptimizationProfile({"n": AxisRange(1, 4, 16)})
HEADS, LENGTH, DEPTH = 4, 64, 32


def encoder():
    """One attention as an encoder has it: queries, keys and values from weights, scores, softmax, product."""
    width = HEADS * DEPTH
    nodes = []
    for name in "qkv":
        nodes += [
            node("MatMul", ["x", f"w{name}"], [f"{name}0"], f"{name}/MatMul"),
            node("Reshape", [f"{name}0", "split"], [f"{name}1"], f"{name}/Reshape"),
            node(
                "Transpose",
                [f"{name}1"],
                [name],
                f"{name}/Transpose",
                perm=[0, 2, 3, 1] if name == "k" else [0, 2, 1, 3],
            ),
        ]
    nodes += [
        node("MatMul", ["q", "k"], ["scores"], "scores/MatMul"),
        node("Mul", ["scores", "scale"], ["scaled"], "scores/Mul"),
        node("Softmax", ["scaled"], ["weights"], "Softmax", axis=-1),
        node("MatMul", ["weights", "v"], ["heads"], "context/MatMul"),
        node("Transpose", ["heads"], ["turned"], "Transpose", perm=[0, 2, 1, 3]),
        node("Reshape", ["turned", "join"], ["joined"], "Reshape"),
        node("MatMul", ["joined", "wo"], ["y"], "out/MatMul"),
    ]
    import numpy as np

    parameters = {f"w{n}": weights((width, width), i, 0.05) for i, n in enumerate("qkvo")}
    parameters |= {
        "split": np.array([0, LENGTH, HEADS, DEPTH]),
        "join": np.array([0, LENGTH, width]),
        "scale": np.float32(DEPTH**-0.5),
    }
    return model(nodes, [("x", ["n", LENGTH, width])], [("y", ["n", LENGTH, width])], parameters)


def file_of(made, header, **more):
    """All that compile's description says."""
    return PlanFile(
        sha256=more.pop("sha256", made.plan.sha256), size=header.size, backend=header.backend, version=header.version,
        compute_capabilities=header.compute_capabilities, described=True, precision=made.precision, inputs=made.inputs,
        outputs=made.outputs, profiles=made.profiles, layers=made.layers, work=made.work.shares, nodes=made.work.nodes,
        onnx=made.onnx, options=made.options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Real plans by name, described."""
    pytest.importorskip("tensorrt_rtx")
    folder = tmp_path_factory.mktemp("plans")
    wide = save(mlp(64), folder / "mlp.onnx")
    table = calibrate(wide, [random_feed(mlp(64), n=16)], method="minmax")
    attention = save(encoder(), folder / "attention.onnx")
    asked = {
        "mlp fp16": (wide, {"precision": "fp16"}),
        "mlp int8": (wide, {"precision": "int8", "table": table}),
        "mlp int8, fc2 kept": (wide, {"precision": "int8", "table": table, "overrides": {"fc2": "fp16"}}),
        "attention fp16": (attention, {"precision": "fp16"}),
        "attention fp32": (attention, {"precision": "fp32"}),
    }
    found = {}
    for name, (path, options) in asked.items():
        place = folder / name
        place.mkdir()
        typed = assign_precision(path, place, profiles=[PROFILE], **options)
        made = compile_plan(typed, place, target=SM89, profiles=[PROFILE])
        header = read_header(made.plan.path)
        found[name] = file_of(made, header)
    return found


def told(one, other):
    return "\n".join(in_words(diff_plans(one, other)))


def test_a_plan_does_not_differ_from_itself(built):
    for each in built.values():
        found = diff_plans(each, each)
        assert (found.same, found.changes, headline(found)) == (True, (), "the same plan")


def test_a_node_that_lost_int8_is_named_first(built):
    found = diff_plans(built["mlp int8"], built["mlp int8, fc2 kept"])
    first = found.changes[0]
    assert (first.topic, first.name, first.before, first.after) == ("node precision", "fc2", "int8", "fp16")
    assert [c.name for c in found.changes if c.topic == "node precision"] == ["fc2"]
    shares = {c.name: (c.before, c.after) for c in found.changes if c.topic == "matrix work"}
    assert shares == {"int8": (1, 0.5), "fp16": (0, 0.5)}
    words = told(built["mlp int8"], built["mlp int8, fc2 kept"])
    assert "precision of matrix work, 1 x int8 -> fp16:\n  fc2: int8 -> fp16" in words
    assert not any(c.topic in ("input", "output", "profile", "version", "target") for c in found.changes)


def test_a_model_that_lost_int8_everywhere(built):
    found = diff_plans(built["mlp int8"], built["mlp fp16"])
    lost = {c.name: (c.before, c.after) for c in found.changes if c.topic == "node precision"}
    assert lost == {"fc1": ("int8", "fp16"), "fc2": ("int8", "fp16")}
    assert ("int8", "fp16") in {(c.before, c.after) for c in found.changes if c.topic == "precision"}


def test_attention_that_is_no_longer_fused(built):
    found = diff_plans(built["attention fp16"], built["attention fp32"])
    (lost,) = [c for c in found.changes if c.topic == "attention"]
    assert lost.before == "one kernel"
    assert lost.after.startswith("not fused, ")
    counts = {c.name: (c.before, c.after) for c in found.changes if c.topic == "kernel count"}
    assert counts["attention"] == (1, 0)
    split = [c for c in found.changes if c.topic == "kernels" and "attention fp16" in c.before]
    assert len(split) == 1
    assert len(split[0].after) > 1
    assert not any("attention" in kernel for kernel in split[0].after)


@pytest.mark.parametrize(
    ("one", "other"),
    [("mlp int8", "mlp int8, fc2 kept"), ("mlp fp16", "mlp int8"), ("attention fp16", "attention fp32")],
)
def test_the_other_way_round_it_is_mirrored(one, other, built):
    there, back = diff_plans(built[one], built[other]), diff_plans(built[other], built[one])
    assert there.changes
    assert Counter(repr(c) for c in there.changes) == Counter(repr(c.mirrored) for c in back.changes)


def test_without_a_description_the_first_bytes_are_compared(built):
    mlp8 = built["mlp int8"]
    bare = PlanFile(mlp8.sha256, mlp8.size, mlp8.backend, mlp8.version, mlp8.compute_capabilities)
    found = diff_plans(bare, built["mlp fp16"])
    assert {c.topic for c in found.changes} == {"bytes"}
    assert "no description" in found.notes[0]
    assert headline(found) == "other bytes; nothing else that can be seen differs"
    older = diff_plans(replace(bare, version="1.4.0.76", compute_capabilities=("8.9", "12.0")), built["mlp fp16"])
    assert {(c.topic, c.before) for c in older.changes if c.topic != "bytes"} == {
        ("target", "8.9, 12.0"), ("version", "tensorrt_rtx 1.4.0.76"),
    }  # fmt: skip


# --- values ---------------------------------------------------------------------------------------------------------


def kernel(*nodes, kind="gemm", precision="fp16", name="k", tensors=()):
    inputs, outputs = tensors or ((), ())
    return EngineLayer(name, kind, precision, nodes, inputs, outputs, tactic="" if kind == "gemm" else name)


def generated(*nodes, steps="MulAdd", precision="fp16"):
    return kernel(*nodes, kind="kgen", precision=precision, name=f"__myl_{steps}_0x1")


def file(folder, *kernels, sha256="a", version="1.7.1.116", **more):
    made = replace(plan_value(folder), layers=EngineLayers(kernels, source="build log"), **more)
    return file_of(made, PlanHeader("tensorrt_rtx", version, ("8.9",), made.plan.size), sha256=sha256)


def changes(folder, before, after, **more):
    found = diff_plans(file(folder, *before), file(folder, *after, sha256="b", **more))
    return [(c.topic, c.name, c.before, c.after) for c in found.changes]


FUSED = kernel("fc", "add", "gelu", kind="runtime_fusion", name="__myl_FcAddGelu_0x1")


@pytest.mark.parametrize(
    ("before", "after", "topic", "said"),
    [
        ([FUSED], [kernel("fc"), generated("fc", "add", "gelu")], "kernels", "split: matrix fp16 -> generated fp16, matrix fp16"),
        ([kernel("fc"), generated("fc", "add", "gelu")], [FUSED], "kernels", "merged: generated fp16, matrix fp16 -> matrix fp16"),
        ([generated("a", "b"), generated("c", "d")], [generated("a", "c"), generated("b", "d")], "kernels", "cut in another way"),
        ([generated("a")], [generated("a", precision="fp32")], "kernel precision", "a: [fp16] -> [fp32]"),
    ],
    ids=["split", "merged", "cut", "typed"],
)  # fmt: skip
def test_what_became_of_kernels_is_told_by_their_nodes(before, after, topic, said, tmp_path):
    found = diff_plans(file(tmp_path, *before), file(tmp_path, *after, sha256="b"))
    assert [c.topic for c in found.changes if c.topic != "kernel count"] == [topic]
    assert said in "\n".join(in_words(found))


def test_without_nodes_the_kernels_say_what_lost_int8(tmp_path):
    sides = [replace(file(tmp_path, kernel("fc", precision=p), sha256=p), nodes=None) for p in ("int8", "fp16")]
    assert [(c.topic, c.name, c.before, c.after) for c in diff_plans(*sides).changes] == [
        ("kernel precision", "fc", ["int8"], ["fp16"])
    ]


def test_names_and_order_of_kernels_say_nothing(tmp_path):
    one = [kernel("a", name="a_myl0_1"), generated("b"), kernel("c", name="c_myl0_3")]
    other = [kernel("c", name="c_myl7_9"), kernel("a", name="a_myl7_2"), generated("b")]
    found = diff_plans(file(tmp_path, *one), file(tmp_path, *other, sha256="b"))
    assert found.changes == ()
    assert found.equivalent
    assert headline(found) == "the same kernels, other bytes"


def test_other_weights_in_the_same_kernels_are_said_so(tmp_path):
    found = diff_plans(file(tmp_path, FUSED), file(tmp_path, FUSED, sha256="b", onnx="other"))
    assert headline(found) == "the same kernels, other weights or names"


def reformat(source, *, coming="fp16", going="int8"):
    ends = (LayerTensor(source, coming, (4, 8), "(Linear) r"),), (LayerTensor("out", going, (4, 8), "(NHWC) c"),)
    return kernel(kind="reformat", tensors=ends, name="r")


def test_reformats_that_came_say_what_they_convert_and_where(tmp_path):
    made = kernel("fc", tensors=((), (LayerTensor("t", "fp16", (4, 8)),)))
    found = changes(tmp_path, [made], [made, reformat("t"), reformat("x")])
    assert [c for c in found if c[0] == "reformat"] == [
        ("reformat", "fp16 Linear -> int8 NHWC behind fc", 0, 1), ("reformat", "fp16 Linear -> int8 NHWC behind x", 0, 1),
    ]  # fmt: skip
    assert ("kernel count", "reformat", 0, 2) in found


def test_interface_profiles_and_versions(tmp_path):
    grown = OptimizationProfile({"batch": AxisRange(1, 8, 64), "height": AxisRange(8, 16, 64)})
    found = changes(
        tmp_path, [], [],
        inputs=(TensorSpec("x", "float16", ("batch", 3, "height")), TensorSpec("mask", "bool", ("batch",))),
        profiles=(grown, grown),
        version="1.8.0.1",
        precision="int8",
        options={"refit": True},
        work=PrecisionShare({"int8": 1.0}, {"fc": "int8"}, {}),
    )  # fmt: skip
    assert ("input", "x", "float32 [batch, 3, height]", "float16 [batch, 3, height]") in found
    assert ("input", "mask", None, "bool [batch]") in found
    assert ("version", "", "tensorrt_rtx 1.7.1.116", "tensorrt_rtx 1.8.0.1") in found
    assert ("precision", "", "fp16", "int8") in found
    assert ("option", "refit", None, True) in found
    assert ("node precision", "fc", None, "int8") in found
    profiles = [c for c in found if c[0] == "profile"]
    assert [(c[1], c[2] is None) for c in profiles] == [("profile 0", False), ("profile 1", True)]
    assert profiles[0][3]["batch"] == [1, 8, 64]


def test_lines_that_differ_in_numbers_alone_are_told_once(tmp_path):
    before = [generated(f"layer.{n}/add") for n in range(20)]
    after = [generated(f"layer.{n}/add", precision="fp32") for n in range(20)]
    found = diff_plans(file(tmp_path, *before), file(tmp_path, *after, sha256="b"))
    assert in_words(found)[1:] == ["precision of kernels:", "  layer.0/add: [fp16] -> [fp32] (and 19 alike)"]
    assert len(in_words(found, shown=None)) == 22
