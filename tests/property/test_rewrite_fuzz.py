"""Random graphs through every rule: never wrong, never invalid, never a crash, and a second run changes nothing.

`make fuzz` holds 10,000 of them to that; the ordinary run fewer. Graphs that ONNX Runtime cannot run do not count.
"""

import os
import tempfile
from pathlib import Path

import onnx
import onnx.printer
from graph_strategies import graphs
from hypothesis import HealthCheck, assume, given, note, settings
from rewriting import NothingRanError, difference

from trtbuild import onnxfile
from trtbuild.errors import InvalidOnnxError
from trtbuild.onnxrun import session
from trtbuild.rewriter import rewrite

EXAMPLES = int(os.environ.get("TRTBUILD_FUZZ", "150"))


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), print_blob=True)
@given(case=graphs())
def test_no_random_graph_is_rewritten_wrongly(case):
    proto, batch = case
    try:
        onnx.checker.check_model(proto, full_check=True)
        session(proto)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, InvalidOnnxError):
        assume(condition=False)  # not a model: the generator's fault
    note(onnx.printer.to_text(proto))
    with tempfile.TemporaryDirectory() as name:
        hold(proto, batch, Path(name))


def hold(proto, batch, folder):
    onnxfile.save(proto, folder / "in.onnx")
    done = rewrite(folder / "in.onnx", folder, check=False)
    after = onnxfile.load(done.model.path)
    note(f"{done.applied}\n{onnx.printer.to_text(after)}")
    (folder / "again").mkdir()
    again = rewrite(done.model.path, folder / "again", check=False)
    assert again.applied == (), again.applied
    assert again.model.sha256 == done.model.sha256
    sizes = [{"n": batch}, {"n": 2}] if any(isinstance(d, str) for t in done.inputs for d in t.shape) else [{}]
    try:
        found = difference(proto, after, sizes)
    except NothingRanError:
        assume(condition=False)
    assert found is None, found
