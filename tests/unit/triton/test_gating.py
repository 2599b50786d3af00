"""Every release of the table, with a schema that lacks what it does not know."""

import pytest
import triton_cases as cases
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from plan_values import proof
from tritonclient.grpc import model_config_pb2 as pb

from trtbuild.errors import SpecError
from trtbuild.triton import package
from trtbuild.triton.gating import FIELDS_SINCE
from trtbuild.triton.messages import read_text
from trtbuild.triton.releases import releases

RELEASES = [name for name in releases() if name >= "24.01"]


def schema_of(release):
    """Triton's messages without the fields that came later than a release."""
    file = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(file)
    for message in file.message_type:
        for field in list(message.field):
            if FIELDS_SINCE.get((f"{file.package}.{message.name}", field.name), "") > release:
                message.field.remove(field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))


def text_of(folder, release, settings):
    done = package(
        [cases.usual(folder)], [proof()], folder / "out", name="net", folder=folder, release=release, **settings
    )
    return [f.path.read_text() for n, f in {**done.files, **done.beside}.items() if n.endswith("config.pbtxt")]


def step_file(folder):
    (folder / "step.py").write_text("class TritonPythonModel:\n    def execute(self, requests):\n        return []\n")
    return {"preprocess": {"file": "step.py", "inputs": {"text": {"dtype": "string", "shape": ["batch", 1]}},
                           "outputs": {"x": None}}}  # fmt: skip


@pytest.mark.parametrize("release", RELEASES)
def test_a_config_for_a_release_is_read_by_its_schema(tmp_path, release):
    everything = {
        "cuda_graphs": True, "response_cache": True, "labels": {"y": "labels.txt"}, **cases.ACCEPTED["rate limiter"],
        **cases.ACCEPTED["priorities"], **cases.ACCEPTED["parameters"], **step_file(tmp_path),
    }  # fmt: skip
    if release >= "24.11":
        everything |= cases.NEWER["metrics"][0]
    if release >= "25.12":
        everything["max_inflight_requests"] = 8
    kind = schema_of(release)
    for text in text_of(tmp_path, release, everything):
        parsed = text_format.Parse(text, kind())
        assert parsed.name.startswith("net")
        assert text_format.Parse(text, pb.ModelConfig()).SerializeToString(
            deterministic=True
        ) == parsed.SerializeToString(deterministic=True)


@pytest.mark.parametrize("release", RELEASES)
def test_a_field_is_refused_exactly_where_the_schema_lacks_it(tmp_path, release):
    newer = {
        "runtime": {"override": {"runtime": "libtriton_tensorrt.so"}},
        "model_metrics": cases.NEWER["metrics"][0],
        "max_inflight_requests": {"max_inflight_requests": 8, **step_file(tmp_path)},
    }
    sinces = {field: since for (_, field), since in FIELDS_SINCE.items()}
    for field, settings in newer.items():
        if release < sinces[field]:
            with pytest.raises(SpecError, match=f"{sinces[field]} is the first that has it"):
                text_of(tmp_path, release, settings)
        else:
            assert any(field in text for text in text_of(tmp_path, release, settings))


def test_a_schema_without_a_field_refuses_a_text_with_it():
    with pytest.raises(text_format.ParseError, match="model_metrics"):
        text_format.Parse("model_metrics { }", schema_of("24.10")())
    text_format.Parse("model_metrics { }", schema_of("24.11")())


@pytest.mark.parametrize(
    ("text", "words", "remedy"),
    [
        ('name: "a"\nmax_batch: 3', 'no field named "max_batch"', "max_batch_size"),
        ('name: "a"\ninput { nam: "x" }', 'no field named "nam"', "'name'"),
        ("dynamic_batching { } sequence_batching { }", "oneof", "one scheduler"),
        ("max_batch_size: x", "integer", "type"),
        ('instance_group { kind: KIND_TPU }', "KIND_TPU", "type"),
        ("input {", "Expected", "type"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_config_is_refused_with_its_line(text, words, remedy):
    with pytest.raises(SpecError) as caught:
        read_text(text, "config.pbtxt")
    assert words in caught.value.message
    assert remedy in caught.value.hint
    assert caught.value.place == f"config.pbtxt:{text.count(chr(10)) + 1}"
