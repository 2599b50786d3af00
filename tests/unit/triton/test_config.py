import pytest
from plan_values import USUAL, X, Y, plan, profile, proof
from tritonclient.grpc import model_config_pb2 as pb

from trtbuild.artifacts import TensorSpec
from trtbuild.errors import BuildError, SpecError
from trtbuild.spec import TritonSpec
from trtbuild.spec.triton import PrioritySpec, QueueSpec, RateLimiterSpec, ResourceSpec
from trtbuild.triton import package
from trtbuild.triton.config import batch_axis, model_config
from trtbuild.triton.messages import read_text


def config(plans, files=None, *, provenance=None, labels=None, **settings):
    return model_config(
        "net", plans[0], files or {"8.9": "model.plan"}, TritonSpec(**settings),
        provenance=provenance or {}, labels=labels or {},
    )  # fmt: skip


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


def test_profiles_of_different_sizes_share_a_group(tmp_path):
    other = profile(batch=(1, 16, 128), height=(8, 8, 8))
    found = config([plan(tmp_path, profiles=(USUAL, other))])
    assert [list(g.profile) for g in found.instance_group] == [["0", "1"]], "they take different sizes"
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


def test_profiles_of_one_range_make_a_group_each(tmp_path):
    other = profile(batch=(1, 32, 32), height=(8, 64, 64))
    plans = [plan(tmp_path, profiles=(USUAL, other))]
    assert [list(g.profile) for g in config(plans).instance_group] == [["0"], ["1"]]
    assert [list(g.profile) for g in config(plans, profile_groups="one").instance_group] == [["0", "1"]]


def test_a_group_each_can_be_asked_for(tmp_path):
    other = profile(batch=(1, 16, 128), height=(8, 8, 8))
    found = config([plan(tmp_path, profiles=(USUAL, other))], profile_groups="each")
    assert [list(g.profile) for g in found.instance_group] == [["0"], ["1"]]


def test_warmup_runs_every_profile_at_its_smallest_and_largest(tmp_path):
    other = profile(batch=(1, 16, 128), height=(8, 8, 8))
    found = config([plan(tmp_path, profiles=(USUAL, other))], warmup=2)
    seen = [(s.batch_size, list(s.inputs["x"].dims), s.count) for s in found.model_warmup]
    assert seen == [(1, [3, 8], 2), (32, [3, 64], 2), (128, [3, 8], 2)], (
        "a sample that is there already is not repeated"
    )
    assert all(s.inputs["x"].zero_data for s in found.model_warmup)
    assert not config([plan(tmp_path)], warmup=0).model_warmup


def test_warmup_without_a_batch_axis_has_whole_shapes(tmp_path):
    found = config([plan(tmp_path, inputs=(X, TensorSpec("scale", "float32", (4,))))])
    assert [(s.batch_size, list(s.inputs["x"].dims)) for s in found.model_warmup] == [(1, [1, 3, 8]), (1, [32, 3, 64])]


def test_cuda_graphs_name_every_input_at_opt(tmp_path):
    ids = TensorSpec("ids", "int64", ("batch", "height"))
    found = config([plan(tmp_path, inputs=(X, ids))], cuda_graphs=True, preferred_batch_sizes=[4])
    specs = found.optimization.cuda.graph_spec
    assert [s.batch_size for s in specs] == [1, 4, 8, 32]
    assert {n: list(d.dim) for n, d in specs[0].input.items()} == {"x": [3, 16], "ids": [16]}


def test_a_preferred_size_of_one_is_left_out(tmp_path):
    found = config([plan(tmp_path, profiles=(profile(batch=(1, 1, 8), height=(8, 8, 8)),))])
    assert list(found.dynamic_batching.preferred_batch_size) == []


def test_a_shape_tensor_counts_its_values_after_the_batch(tmp_path):
    size = TensorSpec("size", "int64", (3,))
    found = config([plan(tmp_path, inputs=(X, size))], shape_tensors=["size"])
    assert found.max_batch_size == 32
    assert [(t.name, list(t.dims), t.is_shape_tensor) for t in found.input] == [
        ("x", [3, -1], False),
        ("size", [2], True),
    ]
    assert not found.model_warmup
    fixed = plan(
        tmp_path, inputs=(TensorSpec("x", "float32", (1, 3)), size), outputs=(TensorSpec("y", "float32", (1, 2)),)
    )
    assert list(config([fixed], shape_tensors=["size"]).input[1].dims) == [3]


def test_a_tensor_that_the_plan_has_not_is_refused(tmp_path):
    with pytest.raises(SpecError, match="did you mean 'x'"):
        config([plan(tmp_path)], shape_tensors=["xx"])


REACHES = {
    "release": ("24.12", lambda c: c.parameters["trtbuild.release"].string_value == "24.12"),
    "dynamic_batching": (False, lambda c: not c.HasField("dynamic_batching")),
    "max_queue_delay_us": (123, lambda c: c.dynamic_batching.max_queue_delay_microseconds == 123),
    "preferred_batch_sizes": ([4, 16], lambda c: list(c.dynamic_batching.preferred_batch_size) == [4, 16]),
    "preserve_ordering": (True, lambda c: c.dynamic_batching.preserve_ordering),
    "queue": (
        {"max_size": 7, "timeout_us": 9, "on_timeout": "delay", "allow_timeout_override": True},
        lambda c: [(q.max_queue_size, q.default_timeout_microseconds, q.timeout_action, q.allow_timeout_override)
                   for q in [c.dynamic_batching.default_queue_policy]] == [(7, 9, 1, True)],
    ),
    "priorities": (
        {"levels": 3, "default": 2, "queues": {1: {"max_size": 5}}},
        lambda c: (c.dynamic_batching.priority_levels, c.dynamic_batching.default_priority_level,
                   c.dynamic_batching.priority_queue_policy[1].max_queue_size) == (3, 2, 5),
    ),
    "instances": (4, lambda c: c.instance_group[0].count == 4),
    "gpus": ([0, 2], lambda c: list(c.instance_group[0].gpus) == [0, 2]),
    "profile_groups": ("one", lambda c: len(c.instance_group) == 1),
    "context_memory": (
        "on_profile_change",
        lambda c: c.parameters["execution_context_allocation_strategy"].string_value == "ON_PROFILE_CHANGE",
    ),
    "response_cache": (True, lambda c: c.response_cache.enable),
    "warmup": (3, lambda c: {s.count for s in c.model_warmup} == {3}),
    "versions": ([1, 4], lambda c: list(c.version_policy.specific.versions) == [1, 4]),
    "cuda_graphs": (True, lambda c: c.optimization.cuda.graphs),
    "rate_limiter": (
        {"priority": 2, "resources": {"r": {"count": 3, "shared": True}}},
        lambda c: [(r.name, r.count, getattr(r, "global")) for r in c.instance_group[0].rate_limiter.resources]
        == [("r", 3, True)] and c.instance_group[0].rate_limiter.priority == 2,
    ),
    "shape_tensors": (["size"], lambda c: c.input[1].is_shape_tensor),
    "labels": ({"y": "labels.txt"}, lambda c: c.output[0].label_filename == "labels.txt"),
    "metrics": ({"m": [1.0, 2.0]}, lambda c: [list(m.histogram_options.buckets) for m in c.model_metrics.metric_control] == [[1, 2]]),
    "metric_tags": ({"a": "b"}, lambda c: c.metric_tags["a"] == "b"),
    "parameters": ({"a": "b"}, lambda c: c.parameters["a"].string_value == "b"),
    "override": ({"optimization": {"eagerBatching": True}}, lambda c: c.optimization.eager_batching),
}  # fmt: skip
IN_THE_ENSEMBLE = {"preprocess", "postprocess", "max_inflight_requests"}  # test_ensemble.py


def test_every_key_of_the_triton_block_is_known_to_this_test():
    assert {*REACHES, *IN_THE_ENSEMBLE} == set(TritonSpec.model_fields)


@pytest.mark.parametrize("key", REACHES)
def test_every_key_of_the_triton_block_reaches_the_config(tmp_path, key):
    (tmp_path / "labels.txt").write_text("label\n" * 10)
    value, reached = REACHES[key]
    one = plan(tmp_path, inputs=(X, TensorSpec("size", "int64", (3,))), profiles=(USUAL, USUAL))

    def packaged(**settings):
        settings = {"shape_tensors": [] if key in ("warmup", "cuda_graphs") else ["size"], "versions": 1, **settings}
        version = 4 if key == "versions" else 1
        done = package([one], [proof()], tmp_path / "o", name="net", version=version, folder=tmp_path, **settings)
        return read_text(done.files["config.pbtxt"].path.read_text(), "config.pbtxt")

    assert reached(packaged(**{key: value}))
    without = packaged(shape_tensors=[]) if key == "shape_tensors" else packaged()
    assert not reached(without), "the test would not see it missing"


def test_queues_and_steps_have_no_key_that_is_lost():
    assert set(QueueSpec.model_fields) == {"max_size", "timeout_us", "on_timeout", "allow_timeout_override"}
    assert set(PrioritySpec.model_fields) == {"levels", "default", "queues"}
    assert set(RateLimiterSpec.model_fields) == {"priority", "resources"}
    assert set(ResourceSpec.model_fields) == {"count", "shared"}


def test_graphs_are_not_recorded_where_a_shape_tensor_would_make_them_wrong(tmp_path):
    one = plan(tmp_path, inputs=(X, TensorSpec("size", "int64", (3,))))
    with pytest.raises(SpecError, match="played for other values of the shape tensor 'size'"):
        package([one], [proof()], tmp_path / "o", name="net", shape_tensors=["size"], cuda_graphs=True)
