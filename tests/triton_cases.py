"""Settings and configs of a Triton model, wrong ones and right ones: one table for us and for a real server.

``REFUSED`` are wrong in a way that we say; ``ACCEPTED`` have to pass our checks and Triton's own parser. ``EDITS`` are
faults in a config that a person wrote: they are found where one is read. ``UNNOTICED`` names those of all of these that
a server of release 24.10 takes in silence until it looks for the backend.
"""

from plan_values import USUAL, X, Y, plan, profile

from trtbuild.artifacts import TensorSpec

GRAPH = {"batchSize": 8, "input": {"x": {"dim": [3, 16]}}}
SAMPLE = {"name": "s", "batchSize": 1, "count": 1}
FILLED = {"dataType": "TYPE_FP32", "dims": [3, 16], "zeroData": True}


def over(**fields):
    """Settings with nothing but an override."""
    return {"override": fields}


def graph(**fields):
    return over(optimization={"cuda": {"graphs": True, "graphSpec": [{**GRAPH, **fields}]}})


def warm(**inputs):
    return over(model_warmup=[{**SAMPLE, "inputs": inputs}])


def group(**fields):
    return over(instance_group=[{"kind": "KIND_GPU", "count": 1, **fields}])


def batching(**fields):
    return over(dynamic_batching=fields)


REFUSED = {
    # the spec's own words
    "preferred over the maximum": ({"preferred_batch_sizes": [64]}, "64 is more than max_batch_size 32"),
    "preferred twice": ({"preferred_batch_sizes": [8, 8]}, "a size is there twice"),
    "default priority out of range": ({"priorities": {"levels": 2, "default": 3}}, "3 is not one of the levels 1 to 2"),
    "queue of no level": (
        {"priorities": {"levels": 2, "default": 1, "queues": {3: {"max_size": 4}}}}, "no priority level 3",
    ),
    "order and priorities": (
        {"preserve_ordering": True, "priorities": {"levels": 2, "default": 1}}, "order cannot be kept",
    ),
    "order and delay": (
        {"preserve_ordering": True, "queue": {"timeout_us": 5, "on_timeout": "delay"}}, "cannot keep their order",
    ),
    "queue without a batcher": ({"queue": {"max_size": 3}, "dynamic_batching": False}, "queue is the dynamic batcher's"),
    "a version that is not there": ({"versions": [7]}, "the folder has [1], none of [7]"),
    "a version twice": ({"versions": [1, 1]}, "a version is there twice"),
    "no versions": ({"versions": []}, "no versions in []"),
    "a GPU twice": ({"gpus": [0, 0]}, "not GPU numbers, each once"),
    "no instances": ({"instances": 0}, "greater than or equal to 1"),
    "unknown key": ({"instance": 2}, "unknown key 'instance'"),
    "unknown release": ({"release": "26.94"}, "'26.94' is not known"),
    "shape tensor of no plan": ({"shape_tensors": ["z"]}, "no tensor 'z'"),
    "shape tensor of floats": ({"shape_tensors": ["x"]}, "a shape tensor holds whole numbers"),
    "labels of no output": ({"labels": {"x": "labels.txt"}}, "no tensor 'x'"),
    "labels that are not there": ({"labels": {"y": "none.txt"}}, "cannot read the labels"),
    "descending buckets": ({"metrics": {"m": [2.0, 1.0]}}, "not ascending upper bounds"),
    "metrics before 24.11": ({"metrics": {"m": [1.0]}, "release": "24.10"}, "24.11 is the first that has it"),
    "inflight without a step": ({"max_inflight_requests": 4}, "is an ensemble's"),
    # overrides that protobuf does not take
    "unknown field": (over(max_batchsize=4), 'no field named "max_batchsize"'),
    "unknown inner field": (batching(delay=4), 'no field named "delay"'),
    "a word for a number": (over(max_batch_size="many"), "max"),
    "unknown enum": (group(kind="KIND_TPU"), "KIND_TPU"),
    "too large a number": (over(max_batch_size=2**40), "1099511627776"),
    "negative unsigned": (batching(max_queue_delay_microseconds=-1), "-1"),
    "a second scheduler": (over(sequence_batching={}), "a second scheduler"),
    "an ensemble's scheduling": (over(ensemble_scheduling={"step": []}), "a second scheduler"),
    "two policies": (over(version_policy={"all": {}, "latest": {}}), "policy_choice"),
    # fields that are the build's
    "another name": (over(name="other"), "not yours to set"),
    "another platform": (over(platform="onnxruntime_onnx"), "not yours to set"),
    "another backend": (over(backend="python"), "not yours to set"),
    "another file": (over(default_model_filename="../plan"), "not yours to set"),
    "other fleet": (over(ccModelFilenames={"8.9": "x.plan"}), "not yours to set"),
    # tensors
    "an input that is not there": (over(input=[{"name": "z"}]), "the plan has no input 'z'"),
    "an input twice": (over(input=[{"name": "x"}, {"name": "x"}]), "named twice"),
    "an input without a name": (over(input=[{"dims": [3]}]), "not a list of tensors with names"),
    "dims with the batch axis": (over(input=[{"name": "x", "dims": [-1, 3, -1]}]), "hold the batch axis"),
    "dims of 0": (over(input=[{"name": "x", "dims": [3, 0]}]), "dims hold 0"),
    "dims of -2": (over(input=[{"name": "x", "dims": [3, -2]}]), "dims hold -2"),
    "other dims": (over(input=[{"name": "x", "dims": [4, -1]}]), "dims [4, -1] where the plan has [3, -1]"),
    "any size for a fixed one": (over(output=[{"name": "y", "dims": [-1]}]), "promise any size"),
    "no dims": (over(output=[{"name": "y", "dims": []}]), "it has no dims"),
    "other type": (over(input=[{"name": "x", "data_type": "TYPE_FP16"}]), "TYPE_FP16 where the plan has float32"),
    "no type": (over(output=[{"name": "y", "data_type": "TYPE_INVALID"}]), "it has no data_type"),
    "format of 2 dims": (over(input=[{"name": "x", "format": "FORMAT_NCHW"}]), "are for 3 dims"),
    "reshape of another size": (over(output=[{"name": "y", "reshape": {"shape": [3]}}]), "different numbers of values"),
    "optional input": (over(input=[{"name": "x", "optional": True}]), "needs all of its inputs"),
    "non-linear of 2 dims": (over(input=[{"name": "x", "isNonLinearFormatIo": True}]), "3 dims"),
    "non-linear before 24.08": (
        {"release": "24.07", **over(input=[{"name": "x", "isNonLinearFormatIo": True}])}, "24.08 is the first",
    ),
    # batch, groups, files
    "batch over the profile": (over(max_batch_size=64), "64 is more than the profiles take"),
    "negative batch": (over(max_batch_size=-1), "-1 is below 0"),
    "count of -1": (group(count=-1), "a count of -1"),
    "CPU": (group(kind="KIND_CPU"), "a plan runs on a GPU"),
    "KIND_MODEL with GPUs": (group(kind="KIND_MODEL", gpus=[0]), "names GPUs and does not run on them"),
    "negative GPU": (group(gpus=[-1]), "not GPU numbers"),
    "a profile that is not there": (group(profile=["3"]), "profile '3' is not there"),
    "a profile by name": (group(profile=["fast"]), "profile 'fast' is not there"),
    "groups of one name": (
        over(instance_group=[{"name": "a", "kind": "KIND_GPU"}, {"name": "a", "kind": "KIND_GPU"}]), "two groups",
    ),
    "resource without a count": (group(rateLimiter={"resources": [{"name": "r"}]}), "a resource has a name and a count"),
    "resource of both kinds": (
        group(rateLimiter={"resources": [{"name": "r", "count": 1}, {"name": "r", "count": 1, "global": True}]}),
        "both global and a GPU's own",
    ),
    "label file elsewhere": (over(output=[{"name": "y", "labelFilename": "no.txt"}]), "there is no label file"),
    "latest 0": (over(version_policy={"latest": {"numVersions": 0}}), "0 versions would be served"),
    "decoupled": (over(model_transaction_policy={"decoupled": True}), "one answer a request"),
    "context memory": (
        over(parameters={"execution_context_allocation_strategy": {"stringValue": "USER"}}), "'USER' is not known",
    ),
    "metric without a name": (over(model_metrics={"metricControl": [{"histogramOptions": {"buckets": [1]}}]}), "no metric"),
    # batching
    "preferred 0": (batching(preferred_batch_size=[0]), "a batch of 0 is not possible"),
    "policy without levels": (batching(priorityQueuePolicy={"1": {"maxQueueSize": 2}}), "there are no levels"),
    "cache of sequences": (
        {"dynamic_batching": False, "response_cache": True, **over(sequence_batching={"direct": {}})}, "no cache for sequences",
    ),
    "slot share": (
        {"dynamic_batching": False, **over(sequence_batching={"direct": {"minimumSlotUtilization": 2.0}})}, "it is a share",
    ),
    "oldest over the maximum": (
        {"dynamic_batching": False, **over(sequence_batching={"oldest": {"preferredBatchSize": [99]}})}, "99 is more than",
    ),
    "batch input of nothing": (
        over(batch_input=[{"kind": "BATCH_ELEMENT_COUNT", "dataType": "TYPE_INT32", "targetName": ["n"]}]), "one source_input",
    ),
    "batch input type": (
        over(batch_input=[{"dataType": "TYPE_FP16", "targetName": ["n"], "sourceInput": ["x"]}]), "TYPE_INT32 or TYPE_FP32",
    ),
    "batch output of nothing": (over(batch_output=[{"targetName": ["z"], "sourceInput": ["x"]}]), "its targets are not"),
    # warm-up and graphs
    "warm-up of no input": (warm(z=FILLED, x=FILLED), "there is no input 'z'"),
    "warm-up without an input": (warm(), "leaves out the input 'x'"),
    "warm-up of any size": (warm(x={**FILLED, "dims": [3, -1]}), "are not sizes for"),
    "warm-up of another type": (warm(x={**FILLED, "dataType": "TYPE_FP16"}), "its data_type is not the input's"),
    "warm-up of nothing": (warm(x={"dataType": "TYPE_FP32", "dims": [3, 16]}), "nothing says what is in it"),
    "warm-up file": (warm(x={"dataType": "TYPE_FP32", "dims": [3, 16], "inputDataFile": "n"}), "no file warmup/n"),
    "warm-up batch": (over(model_warmup=[{**SAMPLE, "batchSize": 33, "inputs": {"x": FILLED}}]), "a batch of 33"),
    "graph of no input": (graph(input={}), "leaves out the input 'x'"),
    "graph of another input": (graph(input={"x": {"dim": [3, 16]}, "q": {"dim": [1]}}), "there is no input 'q'"),
    "graph over the maximum": (graph(batchSize=40), "a batch of 40"),
    "graph with the batch axis": (graph(input={"x": {"dim": [8, 3, 16]}}), "are not sizes for"),
    "graph of any size": (graph(input={"x": {"dim": [3, -1]}}), "are not sizes for"),
    "graph not asked for": (over(optimization={"cuda": {"graphSpec": [GRAPH]}}), "graph_spec without graphs"),
    "lower bound above": (
        graph(graphLowerBound={"batchSize": 9, "input": {"x": {"dim": [3, 16]}}}), "is no lower bound of 8",
    ),
    "lower bound larger": (
        graph(graphLowerBound={"batchSize": 1, "input": {"x": {"dim": [3, 17]}}}), "larger than the graph's",
    ),
}  # fmt: skip
"""Name to (settings, words of the error), for the plan of ``usual``."""

ACCEPTED = {
    "nothing said": {},
    "instances": {"instances": 3},
    "delay": {"max_queue_delay_us": 0, "preferred_batch_sizes": []},
    "preferred": {"preferred_batch_sizes": [4, 16, 32], "preserve_ordering": True},
    "queue": {"queue": {"max_size": 16, "timeout_us": 1000, "on_timeout": "delay", "allow_timeout_override": True}},
    "priorities": {"priorities": {"levels": 3, "default": 2, "queues": {1: {"max_size": 4}}}, "queue": {"max_size": 9}},
    "no batcher": {"dynamic_batching": False},
    "cache": {"response_cache": True},
    "no warm-up": {"warmup": 0},
    "warm-up twice": {"warmup": 2},
    "all versions": {"versions": "all"},
    "two versions": {"versions": 2},
    "one version": {"versions": [1]},
    "graphs": {"cuda_graphs": True},
    "rate limiter": {
        "rate_limiter": {"priority": 2, "resources": {"r": {"count": 2}, "s": {"count": 1, "shared": True}}}
    },
    "labels": {"labels": {"y": "labels.txt"}},
    "parameters": {"parameters": {"a": "b"}, "metric_tags": {"team": "vision"}, "context_memory": "on_profile_change"},
    "a delay by override": batching(max_queue_delay_microseconds=77),
    "parameters by override": over(parameters={"mine": {"stringValue": "1"}}),
    "a smaller batch by override": {"preferred_batch_sizes": [], "warmup": 0, **over(max_batch_size=16)},
    "pinned memory": over(optimization={"inputPinnedMemory": {"enable": False}, "eagerBatching": True}),
    "narrower dims": {"warmup": 0, **over(input=[{"name": "x", "dims": [3, 16]}])},
    "a reshape": over(output=[{"name": "y", "reshape": {"shape": [10]}}]),
    "a lower bound": graph(graphLowerBound={"batchSize": 1, "input": {"x": {"dim": [3, 8]}}}),
    "sequences": {"dynamic_batching": False, **over(sequence_batching={"oldest": {"maxCandidateSequences": 4}})},
    "warm-up by override": warm(x={"dataType": "TYPE_FP32", "dims": [3, 64], "randomData": True}),
}
"""Name to settings that are right for the plan of ``usual``, with any release from 24.01 on."""

NEWER = {"metrics": ({"metrics": {"nv_inference_first_response_histogram_ms": [1.0, 10.0]}}, "24.11")}
"""Name to (settings, the first release that takes them)."""

EDITS = {
    "two inputs of one name": (lambda c: c.input.add().CopyFrom(c.input[0]), "the name is there more than once"),
    "an output called like an input": (lambda c: setattr(c.output[0], "name", "x"), "the name is there more than once"),
    "no inputs": (lambda c: c.ClearField("input"), "there is no input"),
    "no outputs": (lambda c: c.ClearField("output"), "there is no output"),
    "no name of a tensor": (lambda c: setattr(c.input[0], "name", ""), "it has no name"),
    "another name than the folder's": (lambda c: setattr(c, "name", "other"), "lies in the folder 'net'"),
    "no name": (lambda c: setattr(c, "name", ""), "there is no name"),
    "a name that leads out": (lambda c: setattr(c, "name", "../net"), "Triton forbids the name"),
    "another backend": (lambda c: setattr(c, "backend", "onnxruntime"), "is none of ours"),
    "no platform": (lambda c: setattr(c, "platform", ""), "is none of ours"),
    "an ensemble without steps": (lambda c: setattr(c, "platform", "ensemble"), "go together"),
    "a plan that is not there": (lambda c: setattr(c, "default_model_filename", "b.plan"), "no version folder has"),
    "a plan elsewhere": (lambda c: setattr(c, "default_model_filename", "../b.plan"), "leads out"),
    "a capability in words": (
        lambda c: c.cc_model_filenames.update({"sm89": "model.plan"}),
        "not a compute capability",
    ),
    "a batch axis that is not": (
        lambda c: (setattr(c, "max_batch_size", 0), c.ClearField("model_warmup")),
        "does not batch",
    ),
    "zero count of a batcher": (lambda c: c.dynamic_batching.preferred_batch_size.append(-3), "a batch of -3"),
    "warm-up of batch 0": (lambda c: setattr(c.model_warmup[0], "batch_size", 0), "a batch of 0"),
    "scalar shape tensor": (lambda c: setattr(c.input[0], "is_shape_tensor", True), "holds whole numbers"),
}
"""Name to (an edit of the usual config, words of the error)."""

UNNOTICED = (
    "two inputs of one name", "an output called like an input", "no inputs", "no outputs", "no name",
    "no platform", "a plan that is not there", "a plan elsewhere", "a capability in words", "warm-up of batch 0",
    "scalar shape tensor", "dims with the batch axis", "other dims", "any size for a fixed one", "other type",
    "optional input", "batch over the profile", "count of -1", "CPU", "KIND_MODEL with GPUs", "negative GPU",
    "a profile that is not there", "a profile by name", "groups of one name", "resource without a count",
    "resource of both kinds", "label file elsewhere", "decoupled", "context memory", "policy without levels",
    "warm-up of no input", "warm-up without an input", "warm-up of any size", "warm-up of another type",
    "warm-up of nothing", "warm-up file", "warm-up batch", "graph of no input", "graph of another input",
    "graph over the maximum", "graph with the batch axis", "graph of any size", "graph not asked for",
    "lower bound above", "lower bound larger",
)  # fmt: skip
"""Seen with the server of 24.10: these it takes in silence up to the point where it looks for the backend."""

FORBIDDEN_NAMES = (
    "",
    "  ",
    ".",
    "..",
    "...",
    "a/b",
    "../a",
    "a\\b",
    " a",
    "a ",
    "a\n",
    ".hidden",
    "a:b",
    "a*",
    "a?",
    "a|b",
)


def usual(folder, **changes):
    """The plan that the cases are about: x [batch, 3, height] to y [batch, 10], batches of 1 to 32."""
    (folder / "labels.txt").write_text("".join(f"class {n}\n" for n in range(10)))
    return plan(folder, **changes)


def odd_plans(folder):
    """Plans of other kinds, by name: each has to give a config that is accepted."""
    two = (profile(batch=(1, 8, 32), height=(8, 16, 64)), profile(batch=(1, 1, 32), height=(8, 8, 64)))
    apart = (USUAL, profile(batch=(1, 16, 128), height=(8, 8, 8)))
    flat, made = TensorSpec("x", "float32", (1, 3)), TensorSpec("y", "float32", (1, 2))
    ids = TensorSpec("ids", "int64", ("batch", "height"))
    return {
        "two profiles of one range": {"profiles": two},
        "two profiles of other ranges": {"profiles": apart},
        "fixed shapes": {"inputs": (flat,), "outputs": (made,), "profiles": ()},
        "a value a row": {"inputs": (TensorSpec("x", "int64", ("batch",)),), "profiles": (profile(batch=(1, 4, 8)),)},
        "batch of one": {"profiles": (profile(batch=(1, 1, 1), height=(8, 8, 8)),)},
        "two inputs": {"inputs": (X, ids), "outputs": (Y, TensorSpec("z", "bool", ("batch", "height")))},
        "no batch axis": {"inputs": (X, TensorSpec("scale", "float32", (4,)))},
    }
