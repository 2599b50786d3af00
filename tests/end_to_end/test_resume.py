"""Killed at any moment, two at once, and a damaged store: the result is the one of an undisturbed build."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path

import pytest
from harness import (
    Built,
    Tool,
    assert_manifest_fits,
    assert_store_sound,
    cnn,
    eventually,
    populate,
    processes,
    sha256,
    store_entries,
    tree,
    worker_of,
    write_spec,
)

KILLS = 20
SEED = 20_240
CHANGING = ("report.json", "report.md", "report.html", "build.log")  # they hold times


def results(folder: Path) -> dict[str, str]:
    """Digests of the plans, the typed ONNX, the Triton config and the manifest."""
    assert_manifest_fits(folder)
    found = {name: digest for name, digest in tree(folder).items() if name not in CHANGING}
    assert any(name.endswith(".plan") for name in found)
    assert any(name.endswith(".onnx") for name in found)
    assert "manifest.json" in found
    return found


def assert_nothing_half_written(tool: Tool) -> None:
    """What a reader can see right after a kill is whole, or not there."""
    assert_store_sound(tool.cache, killed=True)
    output = tool.folder / "out"
    if (output / "manifest.json").exists():
        assert_manifest_fits(output)


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_result(built: Built, tmp_path: Path) -> None:
    """Each kill falls into its own twentieth of a whole run's time, in random order.

    One life is a cache and an output folder: killed and resumed until a run is done before its kill; then the next life
    starts, and that kill is tried again. Where a life's first run is done before its kill, the machine has become
    faster since the whole run was timed, and the moments left are brought into what that run took.
    """
    wanted = results(built.output)
    dice = random.Random(SEED)
    moments = [built.seconds * (part + dice.random()) / KILLS for part in range(KILLS)]
    dice.shuffle(moments)
    whole, fresh = built.seconds, True
    life, tool = 0, Tool(populate(tmp_path / "life0"), tmp_path / "cache0")
    while moments:
        started = time.monotonic()
        process = tool.start("build", "--quiet")
        done = eventually(lambda p=process: p.poll() is not None, moments[-1])
        process.kill()
        _output, errors = process.communicate()
        assert_nothing_half_written(tool)
        if not done:
            moments.pop()
            fresh = False
            continue
        if fresh:
            took = time.monotonic() - started
            moments, whole = [m * took / whole for m in moments], took
        assert process.returncode == 0, errors
        assert results(tool.folder / "out") == wanted
        life += 1
        assert life <= 2 * KILLS, "the runs are over before they can be killed"
        fresh, tool = True, Tool(populate(tmp_path / f"life{life}"), tmp_path / f"cache{life}")
    tool.succeeds("build")
    assert results(tool.folder / "out") == wanted
    assert_store_sound(tool.cache)
    assert not list((tool.folder / "out").glob(".incoming-*")), "what the killed runs left is swept"
    assert eventually(lambda: not processes(str(tmp_path / "cache")))


def test_two_builds_at_once_share_the_cache_and_agree(tmp_path: Path) -> None:
    tool = Tool(populate(tmp_path / "work"), tmp_path / "cache")
    running = [tool.start("build", "-o", name) for name in ("one", "two")]
    for process in running:
        _output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert results(tool.folder / "one") == results(tool.folder / "two")
    assert_store_sound(tool.cache)
    hits = [
        {s["stage"]: s["hit"] for s in json.loads((tool.folder / n / "report.json").read_text())["stages"]}
        for n in ("one", "two")
    ]
    for stage in hits[0]:
        assert hits[0][stage] != hits[1][stage], f"{stage} was done once, by one of the two"


def test_two_builds_at_once_into_one_folder_leave_a_whole_result(tmp_path: Path) -> None:
    tool = Tool(populate(tmp_path / "work"), tmp_path / "cache")
    running = [tool.start("build", "-o", "out") for _ in range(2)]
    for process in running:
        _output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    results(tool.folder / "out")
    assert not list((tool.folder / "out").glob(".incoming-*"))


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink], ids=["flipped", "cut", "gone"])
def test_a_damaged_plan_in_the_store_is_noticed_and_built_again(built: Built, tmp_path: Path, damage: object) -> None:
    tool = built.copy(tmp_path)
    wanted = results(tool.folder / "out")
    (plan,) = [e / "model.plan" for e in store_entries(tool.cache) if (e / "model.plan").exists()]
    damage(plan)  # type: ignore[operator]
    stages = tool.json("build")["stages"]
    assert [s["stage"] for s in stages if not s["hit"]] == ["compile rtx4090"]
    assert results(tool.folder / "out") == wanted
    assert_store_sound(tool.cache)


def test_a_damaged_record_in_the_store_is_noticed_and_made_again(built: Built, tmp_path: Path) -> None:
    tool = built.copy(tmp_path)
    (table,) = [e for e in store_entries(tool.cache) if e.parent.parent.name == "calibrate"]
    text = (table / "result.json").read_text()
    (table / "result.json").write_text(text.replace('"amax":', '"amax":1'))
    stages = tool.json("build")["stages"]
    assert [s["stage"] for s in stages if not s["hit"]] == ["calibrate"]
    assert results(tool.folder / "out") == results(built.output)


def test_what_a_killed_run_left_in_the_output_is_swept(built: Built, tmp_path: Path) -> None:
    tool = built.copy(tmp_path)
    gone = 2**22 - 1  # above any process id there can be
    left = tool.folder / "out" / f".incoming-{gone}"
    left.mkdir()
    (left / "half.plan").write_bytes(b"vtrt")
    tool.succeeds("build")
    assert not left.exists()


def test_a_worker_does_not_outlive_its_killed_parent(tool: Tool) -> None:
    cnn(tool.folder / "deep.onnx", blocks=200, channels=64)
    for delay in (0.0, 0.5, 1.0):
        process = tool.start("compile", "deep.onnx", "--target", "rtx4090", "--axis", "batch=1:4:8")
        worker_of(process)
        time.sleep(delay)
        assert process.poll() is None, "the model is too small: the compile was over before the kill"
        process.kill()
        process.communicate()
        assert eventually(lambda: not processes(str(tool.cache)), 5), f"killed after {delay} s"
    assert not (tool.folder / "model.plan").exists()


def test_a_folder_with_an_old_build_stays_whole_when_the_next_is_killed(built: Built, tmp_path: Path) -> None:
    tool = built.copy(tmp_path)
    before = results(tool.folder / "out")
    write_spec(tool.folder, calibration={"method": "mse"})
    process = tool.start("build")
    worker_of(process)  # export to assign precision are done, the compile is under way
    process.kill()
    process.communicate()
    assert results(tool.folder / "out") == before
    shutil.rmtree(tool.folder / "out")
    tool.succeeds("build")
    plans = [n for n in results(tool.folder / "out") if n.endswith(".plan")]
    assert [sha256(tool.folder / "out" / n) for n in plans] != [before[n] for n in plans]
