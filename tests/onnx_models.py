"""Small ONNX models that tests share, made with onnx.helper."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def weights(shape, seed=0, scale=1.0):
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def tensor(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def node(op, inputs, outputs, name="", **attributes):
    return helper.make_node(op, inputs, outputs, name or f"{op.lower()}_{outputs[0]}", **attributes)


def model(nodes, inputs, outputs, initializers=None, *, opset=17, ir=9):
    """Inputs and outputs are value infos, or (name, shape) pairs of float tensors; initializers name to array."""
    graph = helper.make_graph(
        nodes,
        "g",
        [i if isinstance(i, onnx.ValueInfoProto) else tensor(*i) for i in inputs],
        [o if isinstance(o, onnx.ValueInfoProto) else tensor(*o) for o in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (initializers or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def relu():
    return model([node("Relu", ["x"], ["y"])], [("x", ["n", 4])], [("y", ["n", 4])])


def matmul(rows=4, columns=4, *, scale=1.0):
    """One MatMul and a Relu: the smallest thing with matrix work."""
    return model(
        [node("MatMul", ["x", "w"], ["a"], "matmul"), node("Relu", ["a"], ["y"], "relu")],
        [("x", ["n", rows])],
        [("y", ["n", columns])],
        {"w": weights((rows, columns), scale=scale)},
    )


def mlp(width=8):
    """Gemm, Relu, Gemm (transB), Add of the input."""
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["h1"], "fc1"),
        node("Relu", ["h1"], ["h2"], "relu"),
        node("Gemm", ["h2", "w2", "b2"], ["h3"], "fc2", transB=1),
        node("Add", ["h3", "x"], ["y"], "skip"),
    ]
    parameters = {
        "w1": weights((width, 2 * width), 1, 0.5),
        "b1": weights((2 * width,), 2),
        "w2": weights((width, 2 * width), 3, 0.5),
        "b2": weights((width,), 4),
    }
    return model(nodes, [("x", ["n", width])], [("y", ["n", width])], parameters)


def cnn(opset=17):
    """Conv, BatchNormalization, Relu, Conv, GlobalAveragePool, Flatten, Gemm."""
    nodes = [
        node("Conv", ["x", "k1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c1", "s", "o", "m", "v"], ["b1"], "bn"),
        node("Relu", ["b1"], ["r1"], "relu"),
        node("Conv", ["r1", "k2", "kb2"], ["c2"], "conv2"),
        node("GlobalAveragePool", ["c2"], ["p"], "pool"),
        node("Flatten", ["p"], ["f"], "flatten"),
        node("Gemm", ["f", "w", "b"], ["y"], "head", transB=1),
    ]
    parameters = {
        "k1": weights((4, 2, 3, 3), 1, 0.3),
        "s": weights(4, 2),
        "o": weights(4, 3),
        "m": weights(4, 4),
        "v": np.abs(weights(4, 5)) + 0.5,
        "k2": weights((6, 4, 3, 3), 6, 0.3),
        "kb2": weights(6, 7),
        "w": weights((3, 6), 8),
        "b": weights(3, 9),
    }
    return model(nodes, [("x", ["n", 2, 6, 6])], [("y", ["n", 3])], parameters, opset=opset)


def branching():
    """An If whose branches read a computed tensor, a weight and a constant of the graph around it."""
    branches = {
        key: helper.make_graph([node(op, ["h", "c"], [f"{key}_out"])], key, [], [tensor(f"{key}_out", ["n", 4])])
        for key, op in (("then_branch", "Add"), ("else_branch", "Mul"))
    }
    nodes = [
        node("Constant", [], ["c"], "two", value=numpy_helper.from_array(np.full(4, 2, np.float32))),
        node("MatMul", ["x", "w"], ["h"], "matmul"),
        node("If", ["which"], ["y"], "if", **branches),
    ]
    inputs = [("x", ["n", 4]), tensor("which", [], TensorProto.BOOL)]
    return model(nodes, inputs, [("y", ["n", 4])], {"w": weights((4, 4), 1)})


def save(proto, path):
    onnx.save(proto, str(path))
    return path


def random_feed(proto, seed=0, n=3):
    """One feed of float inputs in [-1, 1]; named axes are ``n``, booleans are True."""
    random = np.random.default_rng(seed)
    given = {t.name for t in proto.graph.initializer}
    feed = {}
    for value in proto.graph.input:
        if value.name not in given:
            kind = value.type.tensor_type
            shape = [d.dim_value or n for d in kind.shape.dim]
            dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
            numbers = np.ones(shape) if dtype.kind == "b" else random.uniform(-1, 1, shape)
            feed[value.name] = np.asarray(numbers, dtype)
    return feed


def run(proto, feed):
    """Outputs by name, from ONNX Runtime with optimisation off."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def measured(proto, *feeds):
    """Smallest and largest value of every tensor that a node makes, and of the inputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    given = {o.name for o in proto.graph.output}
    made = [name for n in proto.graph.node for name in n.output if name not in given]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    found = {}
    for feed in feeds:
        for name, array in (run(copy, feed) | dict(feed)).items():
            low, high = found.get(name, (np.inf, -np.inf))
            found[name] = (min(low, float(array.min())), max(high, float(array.max())))
    return found


def same_outputs(before, after, *, atol=1e-4, n=3):
    """Whether two models give the same on one random feed."""
    feed = random_feed(before, n=n)
    left, right = run(before, feed), run(after, feed)
    return list(left) == list(right) and all(
        left[k].shape == right[k].shape and np.allclose(left[k], right[k], rtol=0, atol=atol) for k in left
    )


def ops(proto):
    return [n.op_type for n in proto.graph.node]


def initializer(proto, name):
    return next(numpy_helper.to_array(t) for t in proto.graph.initializer if t.name == name)
