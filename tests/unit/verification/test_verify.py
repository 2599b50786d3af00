import numpy as np
import pytest
from onnx_models import cnn, matmul, mlp, model, node, random_feed, relu, save, weights

from trtbuild.artifacts import AxisRange, OptimizationProfile, TensorSpec, Verification, from_json, to_json
from trtbuild.calibration import calibrate
from trtbuild.errors import FeedError, IntegrityError, InvalidOnnxError, UsageError
from trtbuild.feeds import Sample, Samples
from trtbuild.precision import assign_precision
from trtbuild.verification import Rule, verify


def feeds(proto, count=3):
    return [random_feed(proto, seed, n=1 + seed) for seed in range(count)]


@pytest.fixture
def path(tmp_path):
    return save(mlp(), tmp_path / "m.onnx")


def test_a_model_is_like_itself(path):
    told = []
    done = verify(path, path, feeds(mlp()), on_sample=told.append)
    assert done.passed
    assert (done.samples, told) == (6, [1, 3, 6])
    assert (done.outputs[0].max_abs, done.outputs[0].sqnr_db) == (0, None)
    assert done.subject == "typed onnx"
    assert done.plan is None
    assert done.subject_digest == done.reference_digest
    assert "not run on a GPU" in done.notes[0]
    assert from_json(Verification, to_json(done)) == done


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_every_precision_passes_its_own_default_and_is_measured(tmp_path, precision):
    proto = cnn(opset=22)
    path = save(proto, tmp_path / "m.onnx")
    table = calibrate(path, [random_feed(proto, 100 + i, n=4) for i in range(8)], method="minmax")
    typed = assign_precision(path, tmp_path, precision=precision, table=table)
    done = verify(path, typed, feeds(proto, 6), calibrated_on=table.row_digests)
    assert done.passed
    assert [g.source for g in done.gates] == ["always", f"default for {precision}"]
    assert (done.outputs[0].max_abs > 0) == (precision != "fp32")
    assert any("emulated" in n for n in done.notes) == (precision != "fp32")


def test_a_worse_model_does_not_pass_and_its_worst_element_is_named(tmp_path):
    good, bad = matmul(), matmul()
    other = weights((4, 4), 99)
    bad.graph.initializer[0].raw_data = other.tobytes()
    done = verify(
        save(good, tmp_path / "a.onnx"), save(bad, tmp_path / "b.onnx"), feeds(good), rule=Rule("cosine", min=0.99)
    )
    assert not done.passed
    worst = done.outputs[0].worst
    assert abs(worst.reference - worst.subject) == pytest.approx(done.outputs[0].max_abs)
    assert 0 <= worst.sample < 3


def test_overflow_in_fp16_fails_the_gate(tmp_path):
    proto = model(
        [node("Mul", ["x", "big"], ["a"]), node("Mul", ["a", "small"], ["y"])], [("x", ["n", 4])], [("y", ["n", 4])],
        {"big": np.float32(6e4), "small": np.float32(1e-4)},
    )  # fmt: skip
    path = save(proto, tmp_path / "m.onnx")
    typed = assign_precision(path, tmp_path, precision="fp16")
    done = verify(path, typed, [{"x": np.full((1, 4), 3, np.float32)}])
    assert not done.passed
    assert done.gates[0].value == 4


def test_more_feeds_than_fit_one_chunk(path):
    done = verify(path, path, feeds(mlp(), 20))
    assert done.samples == sum(range(1, 21))


def test_labels_reach_the_metric(tmp_path):
    path = save(relu(), tmp_path / "m.onnx")
    sample = Sample({"x": np.eye(4, dtype=np.float32)}, np.array([0, 1, 2, 0]), "digest")
    done = verify(path, path, [sample], rule=Rule("top1", min=0.75))
    assert (done.task.reference, done.task.subject) == (0.75, 0.75)
    assert done.passed


def test_a_calibration_sample_is_refused(path):
    table = calibrate(path, feeds(mlp(), 2))
    with pytest.raises(FeedError, match="held-out sample 2 was used for calibration"):
        verify(
            path,
            path,
            [random_feed(mlp(), 50), random_feed(mlp(), 51), feeds(mlp())[1]],
            calibrated_on=table.row_digests,
        )


def test_a_calibration_row_is_known_again_in_another_batch(path):
    used, fresh = feeds(mlp(), 2)[1], random_feed(mlp(), 50)
    table = calibrate(path, [used])
    mixed = {name: np.concatenate([fresh[name][:2], used[name][1:2]]) for name in fresh}
    with pytest.raises(FeedError, match="row 2 of held-out sample 0 was used for calibration"):
        verify(path, path, [mixed], calibrated_on=table.row_digests)


def test_a_sample_outside_of_the_profiles_is_refused(path):
    profile = OptimizationProfile({"n": AxisRange(1, 1, 2)})
    with pytest.raises(FeedError, match="sample 2: axis 'n' is 3, the profile takes 1 to 2"):
        verify(path, path, feeds(mlp()), profiles=[profile])


def test_no_sample_is_refused(path):
    with pytest.raises(FeedError, match="no held-out sample"):
        verify(path, path, [])


def test_random_samples_are_marked(path, tmp_path):
    assert verify(path, path, Samples("random", (TensorSpec("x", "float32", ("n", 8)),), tmp_path, 3)).synthetic


def test_other_outputs_are_refused(path, tmp_path):
    other = model([node("Relu", ["x"], ["z"])], [("x", ["n", 8])], [("z", ["n", 8])])
    with pytest.raises(IntegrityError, match="other outputs"):
        verify(path, save(other, tmp_path / "o.onnx"), feeds(mlp()))
    shape = model([node("Flatten", ["x"], ["y"], axis=0)], [("x", ["n", 8])], [("y", [1, None])])
    with pytest.raises(IntegrityError, match="output 'y' is"):
        verify(path, save(shape, tmp_path / "s.onnx"), feeds(mlp()))


def test_a_plan_file_is_no_onnx(path, tmp_path):
    plan = tmp_path / "model.plan"
    plan.write_bytes(b"vtrt" + bytes(100))
    with pytest.raises((UsageError, InvalidOnnxError)):
        verify(path, plan, feeds(mlp()))
