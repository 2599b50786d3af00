"""A plan with steps before and after it is several models: they are shipped together, the ensemble last."""

import pytest
from shipped_builds import with_steps

from trtbuild.errors import UsageError
from trtbuild.shipping import open_storage, read_shipments, ship


def test_steps_go_first_and_the_ensemble_last(tmp_path):
    shipments = read_shipments(with_steps(tmp_path / "b"))
    names = [s.model for s in shipments]
    assert sorted(names) == ["net", "net_ensemble", "net_postprocess", "net_preprocess"]
    assert names[-1] == "net_ensemble"
    storage = open_storage(tmp_path / "models")
    assert {ship(storage, s).version for s in shipments} == {1}
    assert storage.models() == sorted(names)
    assert storage.read("net_preprocess/1/model.py") == b"preprocess"


def test_golden_requests_go_with_the_plan_alone(tmp_path):
    shipments = {s.model: s for s in read_shipments(with_steps(tmp_path / "b"))}
    with_golden = [name for name, s in shipments.items() if "shipped/golden/golden.json" in s.files]
    assert with_golden == ["net"]


def test_a_step_can_be_shipped_by_its_name(tmp_path):
    build = with_steps(tmp_path / "b")
    for shipments in (
        read_shipments(build, "net_preprocess"), read_shipments(build / "model_repository" / "net_preprocess")
    ):  # fmt: skip
        assert [s.model for s in shipments] == ["net_preprocess"]
    assert [s.model for s in read_shipments(build / "model_repository" / "net")] == ["net"]


def test_plans_of_several_backends_have_steps_of_their_own(tmp_path):
    build = with_steps(tmp_path / "b", ("net", "net_rtx"))
    with pytest.raises(UsageError, match="these models"):
        read_shipments(build)
    assert {s.model for s in read_shipments(build, "net_rtx")} == {
        "net_rtx", "net_rtx_ensemble", "net_rtx_postprocess", "net_rtx_preprocess",
    }  # fmt: skip
    assert "net_rtx" not in {s.model for s in read_shipments(build, "net")}
