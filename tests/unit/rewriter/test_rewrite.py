import numpy as np
import onnx
import pytest
from onnx_models import model, node, run, save
from onnx_text import parsed

from trtbuild import onnxfile
from trtbuild.rewriter import rewrite


@pytest.mark.parametrize("training", [True, False])
def test_a_model_in_training_mode_is_held_against_its_inference_form(tmp_path, training):
    nodes = [node("Dropout", ["x", "ratio", "mode"], ["d"], "drop"), node("Relu", ["d"], ["y"], "relu")]
    parameters = {"ratio": np.float32(0.5), "mode": np.array(training)}
    proto = model(nodes, [("x", ["n", 64])], [("y", ["n", 64])], parameters)
    done = rewrite(save(proto, tmp_path / "in.onnx"), tmp_path)
    assert done.nodes_after == 1
    assert (done.reference is not None) is training
    assert any("training mode" in note for note in done.notes) is training
    if done.reference is not None:
        feed = {"x": np.ones((2, 64), np.float32)}
        assert np.array_equal(run(onnx.load(str(done.reference.path)), feed)["y"], feed["x"])


def test_nan_is_not_folded_away(tmp_path):
    proto = parsed("g (float[n, 1] x) => (float[n, 1] y) { p = Softmax <axis = -1> (x)  y = Neg (p) }")
    done = rewrite(save(proto, tmp_path / "in.onnx"), tmp_path, check=False)
    got = run(onnx.load(str(done.model.path)), {"x": np.array([[0], [np.nan]], np.float32)})["y"]
    assert np.array_equal(got, [[-1], [np.nan]], equal_nan=True)


def test_axis_names_that_inference_makes_up_are_not_kept(tmp_path):
    graph = "g (float[n, 4] x) => (int64[2, k] y) { r = Relu (x)  i = NonZero (r)  y = Neg (i) }"
    proto = parsed(graph)
    assert any(d.dim_param.startswith("unk__") for v in onnxfile.inferred(proto) for d in v.type.tensor_type.shape.dim)
    done = rewrite(save(proto, tmp_path / "in.onnx"), tmp_path, check=False)
    kept = {v.name: v.type.tensor_type.shape.dim for v in onnx.load(str(done.model.path)).graph.value_info}
    assert [d.dim_value or d.dim_param for d in kept["i"]] == [2, ""]
