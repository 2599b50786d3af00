"""The common clean-up, by onnxsim: shapes folded, dead nodes, common subexpressions, Identity, Cast and Reshape chains.

It sees the graph without its weights (they are inputs to it), so it can neither fold nor copy them, and a model of any
size is cleaned in little memory. What it renames gets its name and its metadata back: they hold the module's
path. Its passes that fuse are left out: MatMul + Add to Gemm puts Reshapes around a rank-3 product, and what touches
weights is the rules' work, where each edit is guarded.

Measured with onnxsim 0.8.1, the version whose passes the list was read from; what an other version does is checked
like any edit, and dropped on a mismatch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtbuild import onnxfile

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

NAME = "onnxsim"

_LEFT_OUT = [
    "fuse_matmul_add_bias_into_gemm", "fuse_bn_into_conv", "fuse_add_bias_into_conv", "fuse_pad_into_conv",
    "fuse_pad_into_pool", "fuse_transpose_into_gemm", "fuse_qkv", "replace_einsum_with_matmul", "adjust_add",
    "adjust_slice_and_matmul", "rename_input_output", "set_unique_name_for_nodes", "rewrite_input_dtype",
    "rewrite_where",
    "eliminate_nop_softmax",  # over an axis of one element: makes ones of NaN and Inf, and so hides what is broken
]  # fmt: skip


def clean(model: ModelProto) -> tuple[ModelProto, str | None]:
    """Cleans a model up.

    Args:
        model: The model; left unchanged.

    Returns:
        The cleaned model and None, or the model as it was and why it could not be cleaned.
    """
    import onnx
    import onnxsim

    if any(n.domain not in ("", "ai.onnx") for g in onnxfile.graphs(model.graph) for n in g.node):
        return model, f"not cleaned up: {NAME} takes another domain's operators for ONNX's of the same name"
    light = onnxfile.without_weights(model, and_without=_is_weight)
    own = {v.name for v in model.graph.input}
    try:
        cleaned, _ = onnxsim.simplify(light, skipped_optimizers=_LEFT_OUT, certify=False)
        cleaned = _with_weights(cleaned, model, own)
        onnx.checker.check_model(onnxfile.without_weights(cleaned))
    except Exception as error:  # noqa: BLE001  a library's clean-up is a help, never a reason to fail
        return model, f"{NAME} could not clean the graph up: {str(error).strip().splitlines()[0][:200]}"
    if [v.name for v in cleaned.graph.output] != [v.name for v in model.graph.output]:
        return model, f"{NAME} changed the outputs; its result was dropped"
    return cleaned, None


def _is_weight(tensor: TensorProto) -> bool:
    """Whether an initializer, however small, is what a Conv or MatMul multiplies with, and no shape, axis or scalar."""
    from onnx import TensorProto

    return len(tensor.dims) > 1 and tensor.data_type in (
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.BFLOAT16,
        TensorProto.DOUBLE,
    )


def _with_weights(cleaned: ModelProto, model: ModelProto, own: set[str]) -> ModelProto:
    """Puts back the weights that are still read, and names and metadata of nodes by what they make."""
    graph = cleaned.graph
    inputs = [v for v in graph.input if v.name in own]
    del graph.input[:]
    graph.input.extend(inputs)
    present = {t.name for t in graph.initializer}
    read = {name for node in graph.node for name in onnxfile.reads(node)} | {o.name for o in graph.output}
    graph.initializer.extend(t for t in model.graph.initializer if t.name in read and t.name not in present)
    makers = {name: node for node in model.graph.node for name in node.output if name}
    for node in graph.node:
        before = next((makers[name] for name in node.output if name in makers), None)
        if before is not None:
            node.name = before.name
            del node.metadata_props[:]
            node.metadata_props.extend(before.metadata_props)
    cleaned.ir_version = model.ir_version
    del cleaned.metadata_props[:]
    cleaned.metadata_props.extend(model.metadata_props)
    return cleaned
