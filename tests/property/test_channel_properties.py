"""Whatever the graph: scaling all channels that are free by powers of two changes no bit of the outputs."""

import numpy as np
import onnx
from graph_strategies import graphs
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st
from onnx_models import random_feed

from trtbuild.calibration.equalization.channels import ChannelMap, shapes_on
from trtbuild.errors import InvalidOnnxError
from trtbuild.onnxrun import run, session


def free_roots(channels):
    found = set()
    for name, layout in channels.at.items():
        if len(layout.axes) == 1:
            free = channels.free(name, layout.axes[0])
            found |= set() if free is None else {r for r in free.tolist() if r >= 0}
    return sorted(found)


@settings(max_examples=80, suppress_health_check=list(HealthCheck), print_blob=True)
@given(case=graphs(), seed=st.integers(0, 2**16))
def test_scaling_free_channels_changes_no_bit(case, seed):
    proto, batch = case
    try:
        original = session(proto)
        channels = ChannelMap(proto, shapes_on(proto, random_feed(proto, n=batch)))
    except InvalidOnnxError:
        assume(condition=False)  # not a model that runs: the generator's fault
    roots = free_roots(channels)
    exponents = np.random.default_rng(seed).integers(-3, 4, len(roots))
    changed = channels.apply(dict(zip(roots, (2.0**exponents).tolist(), strict=True)))
    note(onnx.printer.to_text(proto))
    dynamic = any(d.dim_param for v in proto.graph.input for d in v.type.tensor_type.shape.dim)
    scaled = session(changed)
    for n in (batch, batch + 1)[: 1 + dynamic]:  # the channels were found at the first size
        feed = random_feed(proto, seed, n=n)
        try:
            want = run(original, feed)
        except InvalidOnnxError:
            continue
        for name, values in run(scaled, feed).items():
            np.testing.assert_array_equal(values, want[name])
