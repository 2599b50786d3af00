"""Which PyTorch module an ONNX node comes from."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import NodeProto


def module_path(node: NodeProto) -> str:
    """The PyTorch module a node comes from, as the exporters keep it; empty where they do not.

    dynamo writes the list of scopes into the node's metadata, TorchScript the path into the node's name.
    """
    scopes = next((p.value for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes"), "")
    if scopes:
        try:
            path = [str(s) for s in ast.literal_eval(scopes) if s]
        except (ValueError, SyntaxError):
            return ""
        return path[-2].removeprefix("model.") if len(path) > 1 else ""  # the last one is the node itself
    if node.name.startswith("/") and node.name.count("/") > 1:
        return ".".join(node.name.split("/")[1:-1])
    return ""
