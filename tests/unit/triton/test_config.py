import pytest
from google.protobuf import text_format
from plan_values import USUAL, X, Y, plan, profile
from tritonclient.grpc import model_config_pb2 as pb

from trtbuild.artifacts import TensorSpec
from trtbuild.errors import BuildError
from trtbuild.triton.config import batch_axis, model_config


def config(plans, files=None, **options):
    text = model_config(
        "net", plans, files or {"8.9": "model.plan"},
        **{"max_queue_delay_us": 500, "instances": 1, "response_cache": False, "provenance": {}, **options},
    )  # fmt: skip
    return text_format.Parse(text, pb.ModelConfig())


def tensors(field):
    return [(t.name, pb.DataType.Name(t.data_type), list(t.dims)) for t in field]


def test_a_batching_model(tmp_path):
    found = config([plan(tmp_path)], instances=2)
    assert (found.name, found.platform, found.max_batch_size) == ("net", "tensorrt_plan", 32)
    assert tensors(found.input) == [("x", "TYPE_FP32", [3, -1])]
    assert tensors(found.output) == [("y", "TYPE_FP16", [10])]
    assert found.default_model_filename == "model.plan"
    assert list(found.dynamic_batching.preferred_batch_size) == [8]
    assert found.dynamic_batching.max_queue_delay_microseconds == 500
    (group,) = found.instance_group
    assert (group.count, group.kind, list(group.profile)) == (2, pb.ModelInstanceGroup.KIND_GPU, [])
    assert not found.HasField("response_cache")


@pytest.mark.parametrize(
    ("inputs", "outputs", "profiles"),
    [
        ((TensorSpec("x", "float32", (1, 3)),), (TensorSpec("y", "float32", (1, 2)),), ()),
        ((TensorSpec("x", "float32", ("n", 3)),), (TensorSpec("y", "float32", ("m", 2)),), (profile(n=(1, 2, 4)),)),
        ((TensorSpec("x", "float32", ("n", 3)),), (TensorSpec("y", "float32", ()),), (profile(n=(1, 2, 4)),)),
    ],
    ids=["fixed", "other axis", "scalar output"],
)
def test_a_model_without_one_leading_axis_is_not_batched(tmp_path, inputs, outputs, profiles):
    found = config([plan(tmp_path, inputs=inputs, outputs=outputs, profiles=profiles)])
    assert found.max_batch_size == 0
    assert not found.HasField("dynamic_batching")
    assert len(found.input[0].dims) == 2


def test_a_batch_of_one_is_a_batch_axis_without_a_batcher(tmp_path):
    found = config([plan(tmp_path, profiles=(profile(batch=(1, 1, 1), height=(8, 8, 8)),))])
    assert found.max_batch_size == 1
    assert not found.HasField("dynamic_batching")
    assert list(found.input[0].dims) == [3, -1]


def test_a_dynamic_axis_without_batching_is_minus_one(tmp_path):
    found = config([plan(tmp_path, inputs=(X, TensorSpec("scale", "float32", (4,))))])
    assert tensors(found.input) == [("x", "TYPE_FP32", [-1, 3, -1]), ("scale", "TYPE_FP32", [4])]


def test_one_value_a_row_is_reshaped(tmp_path):
    found = config([plan(tmp_path, outputs=(TensorSpec("y", "float32", ("batch",)),))])
    (out,) = found.output
    assert list(out.dims) == [1]
    assert out.HasField("reshape")
    assert list(out.reshape.shape) == []


def test_several_profiles_make_a_group_each(tmp_path):
    other = profile(batch=(1, 16, 128), height=(8, 8, 8))
    found = config([plan(tmp_path, profiles=(USUAL, other))])
    assert [list(g.profile) for g in found.instance_group] == [["0"], ["1"]]
    assert found.max_batch_size == 128
    assert list(found.dynamic_batching.preferred_batch_size) == [8, 16]


def test_a_fleet_is_told_by_compute_capability(tmp_path):
    files = {"8.9": "model.sm89.plan", "12.0": "model.sm120.plan"}
    found = config([plan(tmp_path), plan(tmp_path, "12.0")], files)
    assert dict(found.cc_model_filenames) == files
    assert found.default_model_filename == ""


def test_cache_and_provenance(tmp_path):
    found = config([plan(tmp_path)], response_cache=True, provenance={"trtbuild.plan.8.9": 'a "quoted" digest'})
    assert found.response_cache.enable
    assert found.parameters["trtbuild.plan.8.9"].string_value == 'a "quoted" digest'


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("float32", "TYPE_FP32"), ("float16", "TYPE_FP16"), ("float64", "TYPE_FP64"), ("bfloat16", "TYPE_BF16"),
        ("int64", "TYPE_INT64"), ("int32", "TYPE_INT32"), ("int8", "TYPE_INT8"), ("uint8", "TYPE_UINT8"),
        ("bool", "TYPE_BOOL"),
    ],
)  # fmt: skip
def test_every_dtype_has_its_word(tmp_path, dtype, kind):
    inputs = (TensorSpec("x", dtype, ("batch", 3)),)
    found = config([plan(tmp_path, inputs=inputs, profiles=(profile(batch=(1, 2, 4)),))])
    assert tensors(found.input) == [("x", kind, [3])]


def test_a_dtype_that_triton_has_not_is_refused(tmp_path):
    with pytest.raises(BuildError, match="no type for complex64"):
        config([plan(tmp_path, inputs=(TensorSpec("x", "complex64", ("batch",)),))])


def test_the_batch_axis_leads_every_tensor():
    assert batch_axis((X, Y)) == "batch"
    assert batch_axis((X, TensorSpec("y", "float32", ("height",)))) is None
    assert batch_axis((TensorSpec("y", "float32", (1, 2)),)) is None
