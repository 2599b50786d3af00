"""Repositories in a store of objects, through fsspec's memory and local file systems."""

import uuid
from importlib.util import find_spec

import pytest
from shipped_builds import make_build

pytest.importorskip("fsspec", reason="stores of objects need the extra `remote`")
import fsspec

from trtbuild.errors import IntegrityError, MissingDependencyError, UsageError
from trtbuild.shipping import (
    check_version,
    open_storage,
    promote,
    read_model,
    read_policy,
    read_shipment,
    read_versions,
    rollback,
    ship,
)
from trtbuild.shipping.objects import ObjectStorage


@pytest.fixture(params=["memory", "local"])
def storage(request, tmp_path):
    if request.param == "memory":
        return open_storage(f"memory://{uuid.uuid4().hex}/models")
    return ObjectStorage(fsspec.filesystem("file", auto_mkdir=True), f"{tmp_path}/bucket/models", "local objects")


def build(folder, number, **options):
    return read_shipment(make_build(folder / str(number), number, **options))


def numbers(storage):
    return [v.number for v in read_model(storage, "net").versions]


def test_versions_come_and_go(storage, tmp_path):
    for number in range(1, 6):
        ship(storage, build(tmp_path, number), keep=3)
    assert numbers(storage) == [3, 4, 5]
    assert rollback(storage, "net").served == (4,)
    assert rollback(storage, "net").served == (3,)
    assert promote(storage, "net", 5).served == (5,)
    (found,) = read_versions(storage)
    assert (found.model, found.served.versions, found.others, found.broken) == ("net", (5,), (), ())
    for version in found.versions:
        check_version(storage, "net", version, read_policy(storage))


def test_the_same_build_is_not_put_there_twice(storage, tmp_path):
    assert ship(storage, build(tmp_path, 1)).new
    assert not ship(storage, build(tmp_path, 1)).new
    assert numbers(storage) == [1]


class Broken(Exception):
    pass


def broken_at(storage, number):
    """Lets the storage write ``number`` objects, and breaks off at the next, as a lost connection does."""
    put, left = storage._put, [number]

    def write(place, content):
        if not left[0]:
            raise Broken
        left[0] -= 1
        put(place, content)

    storage._put = write


def test_a_ship_that_is_broken_off_at_any_object_is_made_good_by_the_next(storage, tmp_path):
    first, second = build(tmp_path, 1), build(tmp_path, 2)
    ship(storage, first)
    whole, attempts = storage._put, 0
    while True:
        broken_at(storage, attempts)
        try:
            done = ship(storage, second)
        except Broken:
            storage._put = whole
            found = read_model(storage, "net")
            for number in found.served.versions:
                check_version(storage, "net", found.version(number), read_policy(storage))
            attempts += 1
            continue
        break
    assert attempts >= len(second.files) + 2, "every object was an end once"
    assert done.served == (2,)
    assert storage.versions("net") == [1, 2], "what was left half there is gone"


def test_a_tampered_object_is_not_served_again(storage, tmp_path):
    ship(storage, build(tmp_path, 1))
    ship(storage, build(tmp_path, 2))
    storage.replace("net/1/model.plan", b"another")
    with pytest.raises(IntegrityError, match=r"model\.plan"):
        rollback(storage, "net")
    assert read_model(storage, "net").served.versions == (2,)


def test_labels_and_records_lie_where_they_do_in_a_folder(storage, tmp_path):
    for number, label in ((1, b"cat"), (2, b"dog")):
        ship(storage, build(tmp_path, number, labels=label.decode()))
        name = f"{number}/shipped/shared/labels.txt"
        assert f'label_filename: "{name}"'.encode() in storage.read("net/config.pbtxt")
        assert storage.read(f"net/{name}") == label
    assert storage.models() == ["net"]


def test_an_address_that_cannot_be_a_repository():
    with pytest.raises(UsageError, match="fsspec cannot open"):
        open_storage("nonsense://bucket/models")
    with pytest.raises(UsageError, match="bucket"):
        open_storage("memory://models")
    if find_spec("s3fs") is None:
        with pytest.raises(MissingDependencyError, match="s3fs"):
            open_storage("s3://bucket/models")
