import numpy as np
import pytest
from onnx_models import matmul, random_feed, save, weights

from trtbuild import golden
from trtbuild.errors import IntegrityError, UsageError
from trtbuild.verification import CallableModel, Rule, verify, verify_against


@pytest.fixture
def path(tmp_path):
    return save(matmul(), tmp_path / "m.onnx")


@pytest.fixture
def recorded(path, tmp_path):
    feeds = [random_feed(matmul(), seed, n=2) for seed in range(5)]
    done = verify(
        path, path, feeds, rule=Rule("cosine", min=0.999), golden_folder=tmp_path / "golden", golden_requests=3
    )
    assert [f.path.name for f in done.golden] == ["000.npz", "001.npz", "002.npz", "golden.json"]
    return golden.read(tmp_path / "golden")


def test_the_same_model_passes_by_the_recorded_rule(path, recorded):
    done = verify_against(recorded, path)
    assert done.passed
    assert [g.rule for g in done.gates][1:] == ["cosine >= 0.999"]
    assert (done.samples, done.reference_digest) == (6, recorded.reference)


def test_another_model_does_not(recorded, tmp_path):
    worse = matmul()
    worse.graph.initializer[0].raw_data = weights((4, 4), 99).tobytes()
    assert not verify_against(recorded, save(worse, tmp_path / "worse.onnx")).passed


def test_a_callable_is_compared_too(path, recorded):
    def call(feed):
        return {"y": np.maximum(feed["x"] @ weights((4, 4)), 0)}

    same = CallableModel("numpy", "digest", call)
    assert verify_against(recorded, same).passed
    assert verify(path, same, [random_feed(matmul(), 7, n=3)]).subject == "callable"
    assert verify(same, path, [random_feed(matmul(), 7, n=3)]).passed
    with pytest.raises(UsageError, match="what its inputs are"):
        verify(same, same, [])


def test_a_changed_request_is_refused(path, recorded):
    file = recorded.files[1].path
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="not the one that was recorded"):
        verify_against(recorded, path)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", '{"schema": 1, "inputs": [], "outputs": [], "requests": [{"file": "../x", "sha256": ""}]}'],
)
def test_a_broken_index_is_refused(tmp_path, text):
    (tmp_path / "golden.json").write_text(text)
    with pytest.raises(IntegrityError, match="not an index"):
        golden.read(tmp_path)


def test_no_index_at_all(tmp_path):
    with pytest.raises(IntegrityError, match="no golden requests"):
        golden.read(tmp_path)
