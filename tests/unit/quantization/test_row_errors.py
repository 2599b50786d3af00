import numpy as np
import pytest
from onnx_models import matmul

from trtbuild.content import feed_digest
from trtbuild.feeds import Sample
from trtbuild.quantization import Fidelity, place, write_qdq


def samples(*arrays):
    return [Sample({"x": a}, None, feed_digest({"x": a})) for a in arrays]


def test_rows_add_up_to_the_comparison_of_all():
    random = np.random.default_rng(0)
    network = matmul()
    fidelity = Fidelity(network, samples(*(random.normal(size=(n, 4)).astype(np.float32) for n in (3, 5))))
    typed = write_qdq(network, place(network), {"x": 2.0})
    (rows,), (whole,) = fidelity.rows(typed), fidelity.of(typed)
    assert rows.output == whole.output == "y"
    assert rows.signal.shape == rows.noise.shape == rows.cosine.shape == (8,)
    assert 10 * np.log10(rows.signal.sum() / rows.noise.sum()) == pytest.approx(whole.sqnr_db)
    assert rows.cosine.mean() == pytest.approx(whole.cosine)
    assert rows.nonfinite == whole.nonfinite == 0


def test_nan_is_counted_and_kept_out_of_the_sums():
    network, broken = matmul(), matmul(scale=np.inf)
    (rows,) = Fidelity(network, samples(np.ones((2, 4), np.float32))).rows(broken)
    assert rows.nonfinite > 0
    assert np.isfinite(rows.noise).all()
