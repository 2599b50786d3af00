"""The table of right and wrong configs; a real server takes the same in its own tests."""

import pytest
import triton_cases as cases
from google.protobuf import text_format
from plan_values import proof
from tritonclient.grpc import model_config_pb2 as pb

from trtbuild.errors import SpecError
from trtbuild.triton import package
from trtbuild.triton.checks import Premises, check_config, check_model_name


def packaged(folder, settings, **changes):
    out = folder / "out"
    return package([cases.usual(folder, **changes)], [proof()], out, name="net", folder=folder, **settings)


def config_of(done):
    return text_format.Parse(done.files["config.pbtxt"].path.read_text(), pb.ModelConfig())


@pytest.mark.parametrize("name", cases.REFUSED)
def test_what_is_wrong_is_refused_with_place_cause_and_remedy(tmp_path, name):
    settings, words = cases.REFUSED[name]
    with pytest.raises(SpecError) as caught:
        packaged(tmp_path, settings)
    assert words in str(caught.value)
    assert caught.value.place
    assert caught.value.hint
    assert not (tmp_path / "out" / "config.pbtxt").exists(), "nothing is written that was refused"


@pytest.mark.parametrize("name", cases.ACCEPTED)
def test_what_is_right_is_packaged_for_the_oldest_release(tmp_path, name):
    found = config_of(packaged(tmp_path, {"release": "24.01", **cases.ACCEPTED[name]}))
    assert found.name == "net"


@pytest.mark.parametrize("name", cases.EDITS)
def test_a_fault_in_a_config_that_was_edited_is_found(tmp_path, name):
    edit, words = cases.EDITS[name]
    done = packaged(tmp_path, {})
    config, premises = config_of(done), Premises("net", frozenset(done.files))
    check_config(config, premises, "config.pbtxt")
    edit(config)
    with pytest.raises(SpecError) as caught:
        check_config(config, premises, "config.pbtxt")
    assert words in str(caught.value)
    assert caught.value.hint


def test_there_are_at_least_forty_wrong_ones():
    assert len(cases.REFUSED) + len(cases.EDITS) >= 40
    assert set(cases.UNNOTICED) <= {*cases.REFUSED, *cases.EDITS}


@pytest.mark.parametrize("name", cases.FORBIDDEN_NAMES)
def test_a_name_that_triton_forbids_is_refused(name):
    with pytest.raises(SpecError, match="name"):
        check_model_name(name)


@pytest.mark.parametrize("name", ["net", "net.v2", "Net-3_x", "a" * 200])
def test_other_names_are_taken(name):
    check_model_name(name)


@pytest.mark.parametrize("kind", ["two profiles of one range", "two profiles of other ranges", "fixed shapes",
                                  "a value a row", "batch of one", "two inputs", "no batch axis"])  # fmt: skip
@pytest.mark.parametrize("settings", [{}, {"cuda_graphs": True, "response_cache": True, "warmup": 3}])
def test_other_plans_give_configs_without_a_fault(tmp_path, kind, settings):
    found = config_of(packaged(tmp_path, settings, **cases.odd_plans(tmp_path)[kind]))
    assert len(found.optimization.cuda.graph_spec) >= bool(settings)
    assert all(not s.inputs.keys() - {t.name for t in found.input} for s in found.model_warmup)
