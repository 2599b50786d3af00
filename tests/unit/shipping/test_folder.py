"""Versions in a folder: what is served, what is kept, what is refused."""

import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from shipped_builds import look, make_build, plan_of

from trtbuild.errors import AccuracyError, IntegrityError, OutputError, UsageError
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
    read_versions,
    rollback,
    ship,
    stage,
)


class Repository:
    """A folder, and builds to ship into it."""

    def __init__(self, folder):
        self.builds, self.place = folder / "builds", folder / "models"
        self.storage = open_storage(self.place)

    def ship(self, number, **options):
        keep = options.pop("keep", 3)
        build = make_build(self.builds / str(number), number, **options)
        return ship(self.storage, read_shipment(build), keep=keep)

    def versions(self, model="net"):
        return [v.number for v in read_model(self.storage, model).versions]


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


def test_the_first_version_arrives_with_its_config(repository):
    done = repository.ship(1)
    assert (done.version, done.new, done.served, done.served_before) == (1, True, (1,), ())
    assert look(repository.place) == {"net": [1]}
    inside = sorted(p.relative_to(repository.place).as_posix() for p in repository.place.rglob("*") if p.is_file())
    assert inside == [
        "net/1/model.plan",
        "net/1/shipped/config.pbtxt",
        "net/1/shipped/golden/golden.json",
        "net/1/shipped/manifest.json",
        "net/1/shipped/record.json",
        "net/config.pbtxt",
    ]


def test_a_new_version_replaces_the_one_before_and_old_ones_go(repository):
    for number in range(1, 6):
        repository.ship(number, keep=3)
    assert look(repository.place) == {"net": [5]}
    assert repository.versions() == [3, 4, 5]
    assert plan_of(repository.place).startswith(b"plan 5")


def test_the_same_build_is_not_put_there_twice(repository):
    first, second = repository.ship(1), repository.ship(1)
    assert (first.new, second.new, second.version) == (True, False, 1)
    config = repository.place / "net" / "config.pbtxt"
    before = config.stat().st_mtime_ns, config.stat().st_ino
    repository.ship(1)
    assert (config.stat().st_mtime_ns, config.stat().st_ino) == before, "a polling server would load it again"


def test_rollback_goes_back_and_then_further(repository):
    for number in (1, 2, 3):
        repository.ship(number)
    assert rollback(repository.storage, "net").served == (2,)
    assert rollback(repository.storage, "net").served == (1,)
    assert look(repository.place) == {"net": [1]}
    with pytest.raises(UsageError, match="served before"):
        rollback(repository.storage, "net")
    assert look(repository.place) == {"net": [1]}


def test_rollback_after_promote_goes_to_what_was_served(repository):
    for number in (1, 2, 3):
        repository.ship(number)
    assert promote(repository.storage, "net", 1).served == (1,)
    assert rollback(repository.storage, "net").served == (3,)


def test_what_a_rollback_needs_outlives_newer_versions(repository):
    repository.ship(1)
    for number in (2, 3, 4):
        build = make_build(repository.builds / str(number), number)
        stage(repository.storage, read_shipment(build))
    promote(repository.storage, "net", 2)
    assert prune(repository.storage, "net", keep=2) == (3, 4)
    assert rollback(repository.storage, "net").served == (1,)
    assert prune(repository.storage, "net", keep=1) == (2,)
    assert repository.versions() == [1]


def test_a_staged_version_is_there_and_not_served(repository):
    repository.ship(1)
    done = stage(repository.storage, read_shipment(make_build(repository.builds / "2", 2)))
    assert (done.version, done.served) == (2, (1,))
    assert look(repository.place) == {"net": [1]}
    assert activate(repository.storage, "net", [1, 2]).served == (1, 2)
    assert look(repository.place) == {"net": [1, 2]}
    assert deactivate(repository.storage, "net", 1).served == (2,)
    assert rollback(repository.storage, "net").served == (1,), "both at once is no state to go back to"
    with pytest.raises(UsageError, match="all that is served"):
        deactivate(repository.storage, "net", 1)


def test_versions_of_another_interface_are_not_served_side_by_side(repository):
    repository.ship(1)
    stage(repository.storage, read_shipment(make_build(repository.builds / "2", 2, batch=16)))
    with pytest.raises(UsageError, match="differ in their config"):
        activate(repository.storage, "net", [1, 2])
    assert look(repository.place) == {"net": [1]}
    promote(repository.storage, "net", 2)
    assert "max_batch_size: 16" in (repository.place / "net" / "config.pbtxt").read_text()
    rollback(repository.storage, "net")
    assert "max_batch_size: 8" in (repository.place / "net" / "config.pbtxt").read_text()


def labels_of(repository):
    """The labels that the config names, which Triton reads from the model's folder."""
    folder = repository.place / "net"
    (name,) = re.findall(r'label_filename: "(.*)"', (folder / "config.pbtxt").read_text())
    return (folder / name).read_text()


def test_labels_go_with_their_version(repository):
    repository.ship(1, labels="cat")
    assert labels_of(repository) == "cat"
    repository.ship(2, labels="dog")
    assert labels_of(repository) == "dog"
    rollback(repository.storage, "net")
    assert labels_of(repository) == "cat"


def test_the_manifest_travels_with_the_plan(repository):
    repository.ship(1)
    inside = repository.place / "net" / "1" / "shipped" / "manifest.json"
    assert inside.read_bytes() == (repository.builds / "1" / "manifest.json").read_bytes()


def test_records_lie_where_triton_does_not_look(repository):
    repository.ship(1)
    repository.ship(2)
    assert [p.name for p in repository.place.iterdir()] == ["net"]
    journal = sorted((repository.place.parent / ".trtbuild" / "models" / "journal" / "net").iterdir())
    lines = [json.loads(file.read_text()) for file in journal]
    assert [(line["event"], line["version"]) for line in lines] == [("shipped", 1), ("shipped", 2), ("activated", 2)]
    assert [line["served"] for line in lines] == [[1], [1], [2]]
    assert len({line["manifest"] for line in lines}) == 2


def test_a_journal_that_cannot_be_written_is_told_and_stops_nothing(repository):
    repository.ship(1)
    journal = repository.storage.records / "journal"
    shutil.rmtree(journal)
    journal.write_text("a file is in the way")
    done = repository.ship(2)
    assert done.served == (2,)
    assert any("journal could not be written" in note for note in done.notes)
    assert repository.ship(2).notes == (), "nothing happened, and nothing is written down"


def test_a_record_that_points_elsewhere_is_not_trusted(repository):
    from trtbuild.shipping.versions import RECORD, ShippedVersion

    repository.ship(1)
    repository.ship(2)
    (known, _) = read_model(repository.storage, "net").versions
    config = repository.storage.digest("net/config.pbtxt")
    forged = ShippedVersion(
        1, known.shipped_at, known.manifest, known.payload, {**known.files, "../config.pbtxt": config}
    )
    (repository.place / "net" / "1" / RECORD).write_bytes(forged.document())
    with pytest.raises(IntegrityError, match="record"):
        promote(repository.storage, "net", 1)


def test_a_record_that_leaves_out_a_plan_is_not_trusted(repository):
    from trtbuild.shipping.versions import RECORD, ShippedVersion

    repository.ship(1)
    repository.ship(2)
    (known, _) = read_model(repository.storage, "net").versions
    fewer = {name: digest for name, digest in known.files.items() if name != "model.plan"}
    forged = ShippedVersion(1, known.shipped_at, known.manifest, known.payload, fewer)
    (repository.place / "net" / "1" / RECORD).write_bytes(forged.document())
    (repository.place / "net" / "1" / "model.plan").unlink()
    with pytest.raises(IntegrityError, match="was not shipped"):
        promote(repository.storage, "net", 1)


def test_one_model_of_a_build_is_enough(tmp_path):
    build = make_build(tmp_path / "b", 1)
    assert read_shipment(build / "model_repository" / "net") == read_shipment(build)


@pytest.mark.parametrize("name", ["", ".net", "-net", "a/b", "../x", "a b", "net\n", "ü", "x" * 201])
def test_a_name_that_triton_forbids(tmp_path, name):
    repository = Repository(tmp_path)
    build = make_build(tmp_path / "b", 1)
    with pytest.raises(UsageError):
        ship(repository.storage, read_shipment(build, model=name or " "))
    with pytest.raises(UsageError, match="cannot have this name"):
        promote(repository.storage, name, 1)
    assert not repository.place.exists()


def damage_plan(build):
    file = build / "model_repository/net/1/model.plan"
    file.write_bytes(file.read_bytes()[:-1] + b"!")


def remove_plan(build):
    (build / "model_repository/net/1/model.plan").unlink()


def edit_config(build):
    file = build / "model_repository/net/config.pbtxt"
    file.write_text(file.read_text().replace("max_batch_size: 8", "max_batch_size: 64"))


def add_file(build):
    (build / "model_repository/net/1/model.py").write_text("import os")


def no_json(build):
    (build / "manifest.json").write_text("{")


def no_outputs(build):
    (build / "manifest.json").write_text('{"passed": true, "verified": [{"passed": true}]}')


def point_outside(build):
    place = build / "manifest.json"
    place.write_text(place.read_text().replace("net.onnx", "../net.onnx"))


@pytest.mark.parametrize(
    "damage", [damage_plan, remove_plan, edit_config, add_file, no_json, no_outputs, point_outside]
)
def test_a_tampered_build_is_refused_and_the_old_version_serves(repository, damage):
    repository.ship(1)
    build = make_build(repository.builds / "2", 2)
    damage(build)
    with pytest.raises(IntegrityError):
        ship(repository.storage, read_shipment(build))
    assert plan_of(repository.place).startswith(b"plan 1")
    shutil.rmtree(build)
    assert repository.ship(2).served == (2,), "made again, it is taken"


def drop_proofs(document):
    document["verified"] = []


def fail_one(document):
    document["verified"].append({"passed": False})


def fail_all(document):
    document["passed"] = False


def say_yes(document):
    document["passed"] = "yes"


@pytest.mark.parametrize("change", [drop_proofs, fail_one, fail_all, say_yes])
def test_a_build_that_did_not_pass_is_refused(repository, change):
    build = make_build(repository.builds / "1", 1)
    document = json.loads((build / "manifest.json").read_text())
    change(document)
    (build / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(AccuracyError, match="did not pass"):
        read_shipment(build)


def test_a_folder_without_a_manifest_is_no_build(tmp_path):
    with pytest.raises(UsageError, match="no build here"):
        read_shipment(tmp_path)


def change_plan(version):
    (version / "model.plan").write_bytes(b"another")


def change_record(version):
    place = version / "shipped" / "record.json"
    place.write_text(place.read_text().replace('"schema": 1', '"schema": 2'))


def add_backend(version):
    (version / "model.py").write_text("import os")


def change_manifest(version):
    (version / "shipped" / "manifest.json").write_text("{}")


@pytest.mark.parametrize("damage", [change_plan, change_record, add_backend, change_manifest])
def test_a_version_that_was_changed_is_not_served_again(repository, damage):
    repository.ship(1)
    repository.ship(2)
    damage(repository.place / "net" / "1")
    for step in (rollback, lambda s, m: promote(s, m, 1)):
        with pytest.raises((IntegrityError, UsageError)):
            step(repository.storage, "net")
    with pytest.raises(IntegrityError):
        promote(repository.storage, "net", 1)
    assert read_model(repository.storage, "net").served.versions == (2,)
    assert repository.ship(1).version == 3, "shipped again, it gets a number of its own"


def test_a_record_made_anew_does_not_hide_another_plan(repository):
    """Whoever changes plan and record still has the manifest to change, and whoever changes that, the signature."""
    from trtbuild.shipping.versions import RECORD, ShippedVersion

    repository.ship(1)
    repository.ship(2)
    folder = repository.place / "net" / "1"
    (folder / "model.plan").write_bytes(b"another")
    (known, _) = read_model(repository.storage, "net").versions
    digest = repository.storage.digest("net/1/model.plan")
    forged = ShippedVersion(1, known.shipped_at, known.manifest, known.payload, {**known.files, "model.plan": digest})
    (folder / RECORD).write_bytes(forged.document())
    with pytest.raises(IntegrityError, match="its manifest names"):
        promote(repository.storage, "net", 1)


def test_a_model_that_trtbuild_did_not_ship_is_left_alone(repository):
    theirs = repository.place / "net"
    (theirs / "1").mkdir(parents=True)
    (theirs / "config.pbtxt").write_text('name: "net"')
    with pytest.raises(UsageError, match="did not ship it"):
        repository.ship(1)
    assert (theirs / "config.pbtxt").read_text() == 'name: "net"'


def test_a_version_put_there_by_hand_is_never_removed(repository):
    repository.ship(1)
    (repository.place / "net" / "7").mkdir()
    assert repository.ship(2, keep=1).version == 8
    (found,) = read_versions(repository.storage)
    assert (found.others, [v.number for v in found.versions]) == ((7,), [8])


def test_a_config_broken_by_hand_is_made_good_by_a_ship(repository):
    repository.ship(1)
    (repository.place / "net" / "config.pbtxt").write_text("name: ")
    assert repository.ship(2).served == (2,)
    assert look(repository.place) == {"net": [2]}


def test_what_a_killed_ship_left_is_swept(repository):
    repository.ship(1)
    left = repository.storage.records / "incoming" / "net" / "version" / "9"
    left.mkdir(parents=True)
    (left / "model.plan").write_bytes(b"half")
    repository.ship(2)
    assert not (repository.storage.records / "incoming" / "net").exists()


def test_two_ships_at_once_wait_for_each_other(tmp_path):
    repository = Repository(tmp_path)
    builds = [read_shipment(make_build(tmp_path / str(n), n)) for n in range(6)]
    with ThreadPoolExecutor(len(builds)) as pool:
        done = list(pool.map(lambda build: ship(open_storage(repository.place), build, keep=9), builds))
    assert sorted(change.version for change in done) == [1, 2, 3, 4, 5, 6]
    assert repository.versions() == [1, 2, 3, 4, 5, 6]
    for version in read_model(repository.storage, "net").versions:
        check_version(repository.storage, "net", version, read_policy(repository.storage))


def test_the_second_ship_says_who_holds_the_model(repository):
    repository.ship(1)
    heard = []
    other = open_storage(repository.place, on_wait=heard.append, wait_s=0.3)
    with repository.storage.locked("net"), pytest.raises(UsageError, match=f"process {os.getpid()} on"):
        promote(other, "net", 1)
    assert len(heard) == 1
    assert "waiting" in heard[0]
    assert promote(other, "net", 1).served == (1,)


def test_a_place_that_cannot_be_a_repository(tmp_path):
    with pytest.raises(UsageError, match="root of a file system"):
        open_storage("/")
    (tmp_path / "models").write_text("a file")
    with pytest.raises(OutputError, match="cannot write"):
        ship(open_storage(tmp_path / "models"), read_shipment(make_build(tmp_path / "b", 1)))


def test_a_repository_that_is_a_mount_of_its_own_is_refused(tmp_path):
    """Nothing can be renamed into it; /dev/shm is another file system than the one tests run on."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == memory.parent.stat().st_dev:
        pytest.skip("there is no /dev/shm that is a file system of its own")
    storage = open_storage(memory)
    storage.records = tmp_path / "records"
    with pytest.raises(UsageError, match="mount of its own"):
        ship(storage, read_shipment(make_build(tmp_path / "b", 1)))
    assert not (memory / "net").exists()
