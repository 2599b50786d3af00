import numpy as np
import onnx
import pytest
from onnx_models import model, node, run, save

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
