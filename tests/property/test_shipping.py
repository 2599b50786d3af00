"""Any sequence of ships, promotions, rollbacks and removals leaves a repository that can be served."""

import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shipped_builds import make_build

pytest.importorskip("fsspec", reason="the repositories of this test lie in fsspec's memory")
from trtbuild.errors import UsageError
from trtbuild.shipping import (
    activate,
    check_version,
    deactivate,
    open_storage,
    promote,
    prune,
    read_model,
    read_policy,
    read_shipment,
    rollback,
    ship,
    stage,
)
from trtbuild.shipping.serving import Served

STEPS = st.one_of(
    st.tuples(st.just("ship"), st.integers(0, 4), st.integers(1, 4)),
    st.tuples(st.just("stage"), st.integers(0, 4)),
    st.tuples(st.just("promote"), st.integers(1, 8)),
    st.tuples(st.just("both"), st.integers(1, 8), st.integers(1, 8)),
    st.tuples(st.just("deactivate"), st.integers(1, 8)),
    st.tuples(st.just("rollback")),
    st.tuples(st.just("prune"), st.integers(1, 4)),
)


@pytest.fixture(scope="module")
def builds():
    with tempfile.TemporaryDirectory() as folder:
        yield [read_shipment(make_build(Path(folder, str(n)), n, size=70)) for n in range(5)]


def take(storage, step, builds):
    verb, *values = step
    if verb == "ship":
        ship(storage, builds[values[0]], keep=values[1])
    elif verb == "stage":
        stage(storage, builds[values[0]])
    elif verb == "promote":
        promote(storage, "net", values[0])
    elif verb == "both":
        activate(storage, "net", values)
    elif verb == "deactivate":
        deactivate(storage, "net", values[0])
    elif verb == "rollback":
        rollback(storage, "net")
    else:
        prune(storage, "net", keep=values[0])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEPS, max_size=10))
def test_any_sequence_leaves_what_can_be_served(builds, steps):
    storage = open_storage(f"memory://{uuid.uuid4().hex}/models")
    for step in steps:
        before = read_model(storage, "net")
        try:
            take(storage, step, builds)
        except UsageError:
            assert read_model(storage, "net") == before, "what is refused changes nothing"
            continue
        found = read_model(storage, "net")
        numbers = [v.number for v in found.versions]
        assert not found.broken
        assert not found.others
        assert set(found.served.versions) <= set(numbers)
        assert bool(found.served.versions) == bool(numbers), "where there is a version, one is served"
        assert len({v.payload for v in found.versions}) == len(numbers), "no build is there twice"
        if step[0] == "ship":
            assert len(found.served.versions) == 1
            assert found.version(found.served.versions[0]).payload == builds[step[1]].payload
            assert len(numbers) <= step[2]
        if step[0] == "rollback":
            assert found.served.versions == (next(v for v in before.served.before if v in numbers),)
    for version in read_model(storage, "net").versions:
        check_version(storage, "net", version, read_policy(storage))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=8))
def test_rollback_goes_through_what_was_served_and_ends(numbers):
    served = Served(())
    for number in numbers:
        served = served.then([number])
    last_first = list(dict.fromkeys(reversed(numbers)))
    assert [*served.versions, *served.before] == last_first
    seen = [*served.versions]
    while served.before:
        served = served.back()
        seen += served.versions
    assert seen == last_first
