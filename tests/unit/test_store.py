import dataclasses
import errno
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from trtbuild import store as store_module
from trtbuild.artifacts import StoredFile
from trtbuild.errors import BuildError, OutputError
from trtbuild.store import Recipe, Store, check_writable, code_digest, publish, toolchain


@dataclass(frozen=True)
class Result:
    file: StoredFile
    number: int


class Maker:
    def __init__(self, text="content", number=1):
        self.text, self.number, self.calls = text, number, 0

    def __call__(self, folder):
        self.calls += 1
        (folder / "out.txt").write_text(self.text)
        return Result(StoredFile.of(folder / "out.txt"), self.number)


RECIPE = Recipe("stage", "code", {"model": "abc"}, {"n": 1}, {"onnx": "1"})


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache")


def test_second_call_is_a_hit_with_the_same_result(store):
    make = Maker()
    first, second = (store.get_or_make(RECIPE, Result, make) for _ in range(2))
    assert (first.hit, second.hit, make.calls) == (False, True, 1)
    assert first.artifact == second.artifact
    assert first.key == second.key == RECIPE.key
    assert second.artifact.file.path.read_text() == "content"


def test_an_entry_can_be_moved_with_its_cache(store, tmp_path):
    store.get_or_make(RECIPE, Result, Maker())
    store.root.rename(tmp_path / "elsewhere")
    moved = Store(tmp_path / "elsewhere").get_or_make(RECIPE, Result, Maker())
    assert moved.hit
    assert moved.artifact.file.path.is_relative_to(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    "other",
    [
        Recipe("other", "code", {"model": "abc"}, {"n": 1}, {"onnx": "1"}),
        Recipe("stage", "edoc", {"model": "abc"}, {"n": 1}, {"onnx": "1"}),
        Recipe("stage", "code", {"model": "abd"}, {"n": 1}, {"onnx": "1"}),
        Recipe("stage", "code", {"ledom": "abc"}, {"n": 1}, {"onnx": "1"}),
        Recipe("stage", "code", {"model": "abc"}, {"n": 2}, {"onnx": "1"}),
        Recipe("stage", "code", {"model": "abc"}, {"n": 1}, {"onnx": "2"}),
    ],
)
def test_every_field_of_a_recipe_is_in_the_key(store, other):
    store.get_or_make(RECIPE, Result, Maker())
    assert other.key != RECIPE.key
    assert not store.get_or_make(other, Result, Maker()).hit


def test_layout_of_the_store_is_in_the_key(monkeypatch):
    before = RECIPE.key
    monkeypatch.setattr(store_module, "_LAYOUT", "another")
    assert RECIPE.key != before


@pytest.mark.parametrize("name", ["out.txt", "result.json"])
@pytest.mark.parametrize("damage", ["changed", "truncated", "removed", "emptied"])
def test_a_damaged_entry_is_made_again(store, name, damage):
    file = store.get_or_make(RECIPE, Result, Maker()).artifact.file.path.with_name(name)
    data = file.read_bytes()
    if damage == "removed":
        file.unlink()
    else:
        file.write_bytes({"changed": data[:-3] + b"#" + data[-2:], "truncated": data[:-1], "emptied": b""}[damage])
    make = Maker()
    again = store.get_or_make(RECIPE, Result, make)
    assert (again.hit, make.calls) == (False, 1)
    assert again.artifact.file.path.read_text() == "content"
    assert store.get_or_make(RECIPE, Result, make).hit


def test_a_result_of_another_type_is_made_again(store):
    @dataclass(frozen=True)
    class Other:
        word: str

    store.get_or_make(RECIPE, Other, lambda _folder: Other("x"))
    assert not store.get_or_make(RECIPE, Result, Maker()).hit


def test_a_failing_stage_leaves_nothing_behind(store):
    def fail(folder):
        (folder / "half.txt").write_text("half")
        raise BuildError("no")

    with pytest.raises(BuildError):
        store.get_or_make(RECIPE, Result, fail)
    assert not [p for p in store.root.rglob("*") if p.name in ("half.txt", "result.json")]
    assert not store.get_or_make(RECIPE, Result, Maker()).hit


def test_a_killed_run_leaves_its_lock_free_and_its_half_is_not_taken(store):
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from trtbuild.store import Recipe, Store\n"
        "def make(folder):\n"
        "    (folder / 'out.txt').write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
        f"recipe = Recipe(**{dataclasses.asdict(RECIPE)})\n"
        "Store(Path(sys.argv[1])).get_or_make(recipe, object, make)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(store.root)]).returncode == -9
    assert list(store.root.rglob("*.partial/out.txt"))
    done = store.get_or_make(RECIPE, Result, Maker())
    assert not done.hit
    assert done.artifact.file.path.read_text() == "content"
    assert not list(store.root.rglob("*.partial"))


def test_a_journal_outlives_a_failing_run_and_goes_when_the_entry_is_complete(store):
    def fail(folder):
        store.journal(RECIPE).write_text("measured")
        raise BuildError("killed")

    with pytest.raises(BuildError):
        store.get_or_make(RECIPE, Result, fail)
    assert store.journal(RECIPE).read_text() == "measured"
    other = dataclasses.replace(RECIPE, parameters={"n": 2})
    store.get_or_make(other, Result, Maker())
    assert store.journal(RECIPE).exists(), "another recipe's entry leaves it alone"
    store.get_or_make(RECIPE, Result, Maker())
    assert not store.journal(RECIPE).exists()


def test_two_runs_at_once_share_the_work(tmp_path):
    begun, go_on = threading.Event(), threading.Event()
    waited, results, make = [], [], Maker()

    def slow(folder):
        begun.set()
        go_on.wait(20)
        return make(folder)

    def on_wait(stage):
        waited.append(stage)
        go_on.set()

    first = threading.Thread(target=lambda: results.append(Store(tmp_path).get_or_make(RECIPE, Result, slow)))
    first.start()
    begun.wait(20)
    second = Store(tmp_path, on_wait=on_wait).get_or_make(RECIPE, Result, slow)
    first.join()
    assert waited == ["stage"]
    assert make.calls == 1
    assert second.hit
    assert second.artifact == results[0].artifact


def test_a_cache_that_is_a_file_is_an_output_error(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputError) as caught:
        Store(tmp_path / "cache").get_or_make(RECIPE, Result, Maker())
    assert caught.value.hint


def test_a_full_disk_is_an_output_error_that_says_what_to_do(store):
    def full(_folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    with pytest.raises(OutputError, match="disk is full"):
        store.get_or_make(RECIPE, Result, full)


def test_the_cache_folder_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TRTBUILD_CACHE", str(tmp_path / "mine"))
    assert Store().root == tmp_path / "mine"


def test_toolchain_names_versions_and_what_is_absent():
    found = toolchain("numpy", "no-such-package-at-all")
    assert found["numpy"][0].isdigit()
    assert found["no-such-package-at-all"] == "absent"
    assert {"trtbuild", "python", "platform"} <= set(found)


@pytest.mark.parametrize(
    "file",
    ["errors.py", "spec/model.py", "feeds/samples.py", "quantization/qdq.py", "backends/tensorrt.py", "artifacts/tensors.py"],
)  # fmt: skip
def test_a_changed_line_of_what_all_stages_lean_on_changes_every_stages_digest(tmp_path, monkeypatch, file):
    ours = Path(store_module.__file__).parent
    shutil.copytree(ours, tmp_path / "trtbuild", ignore=shutil.ignore_patterns("__pycache__", "_shipped"))
    monkeypatch.setattr(store_module, "__file__", str(tmp_path / "trtbuild" / "store.py"))
    before = code_digest.__wrapped__("trtbuild.calibration")  # without its cache
    with (tmp_path / "trtbuild" / file).open("a") as stream:
        stream.write("# changed\n")
    assert code_digest.__wrapped__("trtbuild.calibration") != before


def test_each_stage_has_a_code_digest_of_its_own():
    packages = ("rewriter", "calibration", "precision", "engine", "verification", "triton")
    assert len({code_digest(f"trtbuild.{p}") for p in packages}) == len(packages)


def test_publish_writes_files_and_text_and_the_manifest(tmp_path):
    source = tmp_path / "plan"
    source.write_bytes(b"plan")
    out, name, last = tmp_path / "out", tmp_path / "x", tmp_path / "y"
    name, last = (type(tmp_path)(p) for p in ("m/1/model.plan", "manifest.json"))
    publish({last: "{}", name: StoredFile.of(source)}, out, last=last)
    assert (out / name).read_bytes() == b"plan"
    assert (out / last).read_text() == "{}"
    assert sorted(p.name for p in out.iterdir()) == ["m", "manifest.json"]


def test_publish_changes_nothing_when_a_file_cannot_be_copied(tmp_path):
    source = tmp_path / "plan"
    source.write_bytes(b"plan")
    stored = StoredFile.of(source)
    source.unlink()
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text("old")
    path = type(tmp_path)
    with pytest.raises(OutputError):
        publish({path("manifest.json"): "new", path("plan"): stored}, out, last=path("manifest.json"))
    assert [p.name for p in out.iterdir()] == ["manifest.json"]
    assert (out / "manifest.json").read_text() == "old"


def test_publish_sweeps_what_a_dead_run_left_and_spares_a_living_one(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    dead, living = tmp_path / f".incoming-{child.pid}", tmp_path / f".incoming-{os.getppid()}"
    dead.mkdir()
    living.mkdir()
    path = type(tmp_path)
    publish({path("manifest.json"): "{}"}, tmp_path, last=path("manifest.json"))
    assert not dead.exists()
    assert living.exists()


def test_check_writable_makes_the_folder_and_leaves_it_empty(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        check_writable(tmp_path / "file" / "below")
