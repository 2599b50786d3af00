"""What is known of a plan, with and without what its build wrote beside it."""

import json
import shutil
import struct

import pytest
from onnx_models import matmul, save

from trtbuild.artifacts import AxisRange, OptimizationProfile, Target, from_json, to_json
from trtbuild.device import compute_capabilities
from trtbuild.engine import compile as compile_plan
from trtbuild.engine.inspection import inspect_plan
from trtbuild.errors import IntegrityError, MissingDependencyError

PROFILE = OptimizationProfile({"n": AxisRange(1, 4, 16)})


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A real plan for SM89."""
    pytest.importorskip("tensorrt_rtx")
    folder = tmp_path_factory.mktemp("built")
    path = save(matmul(16, 8), folder / "m.onnx")
    return compile_plan(path, folder, target=Target("mine", "tensorrt_rtx", "8.9"), profiles=(PROFILE,))


@pytest.fixture
def beside(built, tmp_path):
    """The plan with its description, as ``trtbuild compile`` leaves them."""
    plan = tmp_path / "m.plan"
    shutil.copy(built.plan.path, plan)
    described = to_json(built)
    described["plan"]["path"] = "m.plan"
    plan.with_name("m.plan.json").write_text(json.dumps(described))
    return plan


def entry(built):
    return {
        "target": "mine", "compute_capability": "8.9", "sha256": built.plan.sha256,
        "inputs": [to_json(t) for t in built.inputs], "outputs": [to_json(t) for t in built.outputs],
        "layers": [to_json(k) for k in built.layers], "tensors": [to_json(t) for t in built.layers.tensors],
        "vanished": list(built.layers.vanished), "work": dict(built.work.shares),
    }  # fmt: skip


@pytest.fixture
def published(built, tmp_path):
    """The plan in the folder that ``trtbuild build`` publishes."""
    plan = tmp_path / "model_repository" / "m" / "1" / "model.plan"
    plan.parent.mkdir(parents=True)
    shutil.copy(built.plan.path, plan)
    manifest = {
        "outputs": {"model_repository/m/1/model.plan": {"sha256": built.plan.sha256}}, "precision": "fp32",
        "plans": {built.plan.sha256: {"target": "mine"}}, "profiles": [{"n": [1, 4, 16]}],
    }  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "report.json").write_text(json.dumps({"plans": [entry(built)]}))
    return plan


def test_a_plan_with_its_description(beside, built):
    found = inspect_plan(beside)
    assert [p.name for p in found.described_by] == ["m.plan.json"]
    assert (found.target, found.compute_capability, found.precision) == ("mine", "8.9", "fp32")
    assert (found.inputs, found.outputs, found.profiles) == (built.inputs, built.outputs, (PROFILE,))
    assert found.layers == built.layers
    assert found.layers.share_by_flops().total == 2 * 4 * 16 * 8


def test_a_plan_without_its_description_still_tells_flavour_version_and_targets(beside, built):
    beside.with_name("m.plan.json").unlink()
    found = inspect_plan(beside)
    assert found.described_by == ()
    assert (found.header.backend, found.header.version) == ("tensorrt_rtx", built.backend_version)
    assert found.header.compute_capabilities == ("8.9",)
    assert (found.target, found.precision, len(found.layers)) == ("", "", 0)


def test_a_plan_of_a_published_folder(published, built):
    found = inspect_plan(published)
    assert [p.name for p in found.described_by] == ["manifest.json", "report.json"]
    assert (found.target, found.precision, found.compute_capability) == ("mine", "fp32", "8.9")
    assert (found.inputs, found.profiles) == (built.inputs, (PROFILE,))
    assert found.layers.layers == built.layers.layers
    assert found.layers.tensors == built.layers.tensors


def test_a_published_plan_whose_manifest_is_gone(published, tmp_path):
    (tmp_path / "manifest.json").unlink()
    found = inspect_plan(published)
    assert [p.name for p in found.described_by] == ["report.json"]
    assert (found.target, len(found.layers) > 0, found.profiles) == ("mine", True, ())
    (tmp_path / "report.json").unlink()
    assert inspect_plan(published).described_by == ()
    assert inspect_plan(published).header.compute_capabilities == ("8.9",)


def test_a_report_of_another_plan_describes_nothing(published, tmp_path):
    (tmp_path / "manifest.json").unlink()
    document = json.loads((tmp_path / "report.json").read_text())
    document["plans"][0]["sha256"] = "0" * 64
    (tmp_path / "report.json").write_text(json.dumps(document))
    assert inspect_plan(published).described_by == ()


@pytest.mark.parametrize("place", ["beside", "published"])
def test_a_plan_that_is_not_the_described_one_is_refused(place, request):
    plan = request.getfixturevalue(place)
    data = bytearray(plan.read_bytes())
    data[-1] ^= 1
    plan.write_bytes(data)
    with pytest.raises(IntegrityError, match="is not the plan that") as caught:
        inspect_plan(plan)
    assert "do not load it" in caught.value.hint
    with pytest.raises(IntegrityError):
        inspect_plan(plan, load=True)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"plan": 1}', '{"layers": []}'])
def test_a_description_that_cannot_be_read_is_left_aside(beside, text):
    beside.with_name("m.plan.json").write_text(text)
    found = inspect_plan(beside)
    assert (found.described_by, found.header.backend) == ((), "tensorrt_rtx")


@pytest.mark.parametrize("report", ["[]", '{"plans": 3}', '{"plans": [7]}', '{"plans": [{"sha256": "SHA"}]}'])
def test_a_report_that_cannot_be_read_is_left_aside(published, built, tmp_path, report):
    (tmp_path / "manifest.json").write_text("[1]")
    (tmp_path / "report.json").write_text(report.replace("SHA", built.plan.sha256))
    found = inspect_plan(published)
    assert (found.described_by, len(found.layers)) == ((), 0)


def test_a_plan_of_tensorrt_names_its_target_only_in_its_description(tmp_path):
    plan = tmp_path / "t.plan"
    head = b"ptrt".ljust(16, b"\0") + struct.pack("<Q", 100) + bytes((11, 4, 0, 106))
    plan.write_bytes(head.ljust(100, b"\xff"))
    found = inspect_plan(plan)
    assert (found.header.backend, found.header.version) == ("tensorrt", "11.4.0.106")
    assert found.header.compute_capabilities == ()


@pytest.mark.skipif(bool(compute_capabilities()), reason="this machine has a GPU")
def test_loading_needs_a_gpu(beside):
    with pytest.raises(MissingDependencyError, match="no NVIDIA GPU") as caught:
        inspect_plan(beside, load=True)
    assert "leave --load out" in caught.value.hint


def test_what_a_plan_says_comes_back_from_json(built):
    assert from_json(type(built), json.loads(json.dumps(to_json(built)))) == built
