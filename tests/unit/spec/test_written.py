"""A spec as it was written: what is read again is the same spec."""

import pytest

from trtbuild.spec import as_written, load_spec
from trtbuild.spec.yamlfile import plain

HEAD = "model: {name: m, source: m.onnx}\n"


def read(folder, text):
    file = folder / "trtbuild.yaml"
    file.write_text(HEAD + text)
    return load_spec(file, environment={})


@pytest.mark.parametrize(
    "text",
    [
        "targets: [rtx4090, sm89, l4@tensorrt]",
        "targets: [{backend: tensorrt_rtx, compute_capability: '8.9'}]",
        "targets: [{name: mine, backends: [tensorrt], compute_capability: '8.6', peak: {fp16: 60}, bandwidth_gb_s: 300}]",
        "targets: [rtx4090]\nprecision: fp16\nprofiles: [{batch: [1, 2, 4]}]\ncost: {price_per_hour: 1.5}",
        "targets: [rtx4090]\nprecision: int8\ncalibration: {reader: 'a.py:b', args: {n: 3}, samples: 8}",
    ],
)
def test_what_was_written_is_read_as_the_same_spec(tmp_path, text):
    spec = read(tmp_path, text)
    written = as_written(spec)
    again = type(spec).model_validate(plain(written))
    for one, other in zip(spec.targets, again.targets, strict=True):
        assert (one.target(), one.rates()) == (other.target(), other.rates())
    assert spec.model_dump(exclude={"targets"}) == again.model_dump(exclude={"targets"})


def test_only_the_keys_that_were_set_are_written(tmp_path):
    written = as_written(read(tmp_path, "targets: [rtx4090]\nprecision: fp16"))
    assert written == {"model": {"name": "m", "source": "m.onnx"}, "precision": "fp16", "targets": ["rtx4090"]}


@pytest.mark.parametrize("cost", ["{price_per_hour: 0}", "{price_per_hour: 1, requests_per_second: 0}", "{price: 1}"])
def test_a_cost_that_means_nothing_is_refused(tmp_path, cost):
    from trtbuild.errors import SpecError

    with pytest.raises(SpecError, match="cost"):
        read(tmp_path, f"targets: [rtx4090]\ncost: {cost}")
