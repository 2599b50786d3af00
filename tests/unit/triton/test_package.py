import dataclasses

import pytest
from google.protobuf import text_format
from plan_values import plan, profile, proof
from tritonclient.grpc import model_config_pb2 as pb

from trtbuild.errors import AccuracyError, IntegrityError, SpecError
from trtbuild.triton import package
from trtbuild.triton.releases import release, releases


def packaged(plans, proofs, folder, **options):
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return package(plans, proofs, out, name="net", **options)


def test_a_verified_plan_becomes_a_model_folder(tmp_path):
    one = plan(tmp_path)
    done = packaged([one], [proof()], tmp_path)
    assert sorted(done.files) == ["1/model.plan", "config.pbtxt"]
    assert done.files["1/model.plan"] == one.plan
    assert done.plans == {one.plan.sha256: "1/model.plan"}
    found = text_format.Parse(done.files["config.pbtxt"].path.read_text(), pb.ModelConfig())
    assert found.parameters["trtbuild.plan.8.9"].string_value == one.plan.sha256


def test_a_fleet_shares_one_folder(tmp_path):
    done = packaged([plan(tmp_path), plan(tmp_path, "12.0")], [proof()], tmp_path, version=3)
    assert sorted(done.files) == ["3/model.sm120.plan", "3/model.sm89.plan", "config.pbtxt"]


def test_a_plan_that_nothing_verifies_is_refused(tmp_path):
    for proofs in ([], [proof(subject="another onnx")], [proof(of_plan="another plan")]):
        with pytest.raises(IntegrityError, match="nothing verifies this plan"):
            packaged([plan(tmp_path)], proofs, tmp_path)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_plan_that_failed_is_refused(tmp_path):
    with pytest.raises(AccuracyError, match=r"did not pass verification: cosine >= 0\.9"):
        packaged([plan(tmp_path)], [proof(passed=False)], tmp_path)


def test_a_plan_that_failed_itself_is_refused_although_its_onnx_passed(tmp_path):
    one = plan(tmp_path)
    with pytest.raises(AccuracyError):
        packaged([one], [proof(), proof(passed=False, of_plan=one.plan.digest)], tmp_path)


def test_every_plan_of_a_fleet_must_be_verified(tmp_path):
    first, second = plan(tmp_path), plan(tmp_path, "12.0")
    with pytest.raises(IntegrityError, match=r"gpu-12\.0"):
        packaged([first, second], [proof(of_plan=first.plan.digest)], tmp_path)


def test_plans_that_differ_in_their_interface_are_refused(tmp_path):
    other = plan(tmp_path, "12.0", profiles=(profile(batch=(1, 1, 1), height=(8, 8, 8)),))
    with pytest.raises(SpecError, match="differ in inputs, outputs or profiles"):
        packaged([plan(tmp_path), other], [proof()], tmp_path)


def test_plans_of_two_backends_are_refused(tmp_path):
    with pytest.raises(SpecError, match="package each backend's plans on their own"):
        packaged([plan(tmp_path), plan(tmp_path, "9.0", backend="tensorrt")], [proof()], tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"strip_weights": True, "refit": "any"}, "refitted first"), ({"runtime_platform": "windows_amd64"}, "windows")],
)
def test_a_plan_that_cannot_be_served_as_it_is_is_refused(tmp_path, options, words):
    one = dataclasses.replace(plan(tmp_path), options=options)
    with pytest.raises(SpecError, match=f"Triton cannot serve this plan.*{words}"):
        packaged([one], [proof()], tmp_path)


def test_what_triton_has_to_be_told_is_said(tmp_path):
    plain = packaged([plan(tmp_path)], [proof()], tmp_path).notes
    options = {"version_compatible": True, "plugins": ["a digest"]}
    noted = packaged([dataclasses.replace(plan(tmp_path), options=options)], [proof()], tmp_path).notes
    assert ["version-compatible=true" in n or "plugins=" in n for n in noted[len(plain) :]] == [True, True]


def test_no_plan_is_refused(tmp_path):
    with pytest.raises(SpecError, match="no plan to package"):
        packaged([], [proof()], tmp_path)


def test_two_targets_of_one_capability_share_their_plan(tmp_path):
    one = plan(tmp_path)
    other = dataclasses.replace(one, target=dataclasses.replace(one.target, name="its twin"))
    assert sorted(packaged([one, other], [proof()], tmp_path).files) == ["1/model.plan", "config.pbtxt"]


def test_rtx_plans_say_that_triton_does_not_load_them(tmp_path):
    done = packaged([plan(tmp_path)], [proof()], tmp_path)
    assert done.serving != "triton"
    assert "tensorrt_rtx 1.7.1.116" in done.notes[0]
    assert done.docker_run == "", "a line that is known to fail is not printed"


def test_a_plan_of_the_releases_own_tensorrt_is_served(tmp_path):
    there = next(r for r in releases().values() if r.tensorrt)
    one = plan(tmp_path, "9.0", backend="tensorrt", version=there.tensorrt)
    done = packaged([one], [proof()], tmp_path, release=there.name)
    assert (done.serving, done.notes) == ("triton", ())
    assert f"tritonserver:{there.name}-py3" in done.docker_run
    weak = next(r for r in releases().values() if r.weak and r.tensorrt)
    leaning = packaged(
        [dataclasses.replace(one, backend_version=weak.tensorrt)], [proof()], tmp_path, release=weak.name
    )
    assert (leaning.serving, weak.evidence in leaning.notes[0]) == ("triton", True)
    other = dataclasses.replace(one, backend_version="8.2.3")
    assert (
        f"Triton {there.name} has {there.tensorrt}"
        in packaged([other], [proof()], tmp_path, release=there.name).serving
    )


def test_an_unknown_release_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(SpecError, match="did you mean"):
        packaged([plan(tmp_path)], [proof()], tmp_path, release="26.94")
    with pytest.raises(SpecError, match="not known"):
        release("")


def test_releases_are_in_order_and_complete():
    assert list(releases()) == sorted(releases())
    assert "26.04" in releases()
    for one in releases().values():
        assert one.server
        assert one.cuda
        assert one.evidence
        assert one.tensorrt is None or one.tensorrt[0].isdigit()
