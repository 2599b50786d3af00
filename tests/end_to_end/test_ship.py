"""Shipping as a user does it, and what it must stand: kills, a full disk, a tampered plan, two at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Built, Tool, tree
from shipped_builds import look, make_build, plan_of, play, with_steps


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a killed process loses nothing that a disk would keep."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


def test_killed_between_any_two_steps_the_old_version_or_the_new_one_serves(quick: Path) -> None:
    cases = play("kill_at_every_step", quick)["cases"]
    assert len(cases) > 30, "every file and every rename is a step"
    after = [tuple(case["after"]) for case in cases]
    assert set(after) == {(2,), (3,)}
    assert after == sorted(after), "from one step on it is the new one"
    assert {tuple(case["served"]) for case in cases} == {(3,)}
    assert {case["second"] for case in cases} == {3}, "the second try goes on with what is there"
    assert not [case["left"] for case in cases if case["left"]], "and sweeps the rest"
    assert {tuple(case["kept"]) for case in cases} == {(2, 3)}


def test_a_killed_first_ship_leaves_a_whole_model_or_none(quick: Path) -> None:
    cases = play("kill_the_first_ship", quick)["cases"]
    assert {json.dumps(case["after"]) for case in cases} == {"{}", '{"net": [1]}'}
    assert {json.dumps(case["served"]) for case in cases} == {'{"net": [1]}'}


def test_killed_twenty_times_a_reader_never_sees_half_a_version(tmp_path: Path) -> None:
    found = play("kill_at_random", tmp_path)
    assert found["killed"] == 20
    assert found["failures"] == []
    assert found["looks"] >= 20
    assert found["served"] == [found["last"]]


def test_the_reader_of_these_tests_does_see_half_a_version(tmp_path: Path) -> None:
    tool = Tool(tmp_path, tmp_path / "cache")
    make_build(tmp_path / "build", 1)
    tool.succeeds("ship", "build", "models")
    whole = tmp_path / "models" / "net" / "1"
    shutil.copytree(whole, tmp_path / "models" / "net" / "2")
    assert look(tmp_path / "models") == {"net": [1]}
    plan = tmp_path / "models" / "net" / "2" / "model.plan"
    os.truncate(plan, 100)
    with pytest.raises(AssertionError, match="not the one of its manifest"):
        look(tmp_path / "models")
    (tmp_path / "models" / "net" / "2").rename(tmp_path / "models" / "net" / "2.partial")
    with pytest.raises(AssertionError, match="not the one of its manifest"):
        look(tmp_path / "models")


def test_a_full_disk_changes_nothing_that_is_served(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    alone = ["unshare", "--map-root-user", "--mount"]
    script = 'mount -t tmpfs -o size=512k none "$0/disk" && exec "$@"'
    try:
        possible = subprocess.run([*alone, "sh", "-c", script, tmp_path, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        possible = False
    if not possible:
        pytest.skip("no file system can be mounted here: a full disk is not tried")
    found = play("full_disk", tmp_path, *alone, "sh", "-c", script, str(tmp_path))
    assert len(found["refused"]) >= 5, "the version takes several pages"
    for kind, message, hint in found["refused"]:
        assert kind == "OutputError"
        assert "No space left" in message
        assert "free some space" in hint
        assert "what is served did not change" in hint
    assert found["served"] == [found["version"]]


def test_a_file_size_limit_is_told_as_it_is(tmp_path: Path) -> None:
    tool = Tool(tmp_path, tmp_path / "cache")
    make_build(tmp_path / "one", 1)
    make_build(tmp_path / "two", 2, size=200_000)
    tool.succeeds("ship", "one", "models")

    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = tool.run("ship", "two", "models", preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert "cannot write" in done.stderr
    assert plan_of(tmp_path / "models").startswith(b"plan 1")
    tool.succeeds("ship", "two", "models")
    assert plan_of(tmp_path / "models").startswith(b"plan 2")


def test_a_real_build_is_shipped_promoted_and_rolled_back(built: Built, tmp_path: Path) -> None:
    tool = built.copy(tmp_path)
    first = tool.json("ship", "out", "models", "--model", "tiny")
    assert (first["version"], first["served"], first["new"]) == (1, [1], True)
    other = make_build(tool.folder / "other", 2, name="tiny")
    assert tool.json("ship", other / "model_repository" / "tiny", "models")["served"] == [2]
    listed = tool.json("versions", "models", "--check")["models"]
    assert [(m["model"], m["served"]["versions"], [v["number"] for v in m["versions"]]) for m in listed] == [
        ("tiny", [2], [1, 2])
    ]
    assert tool.json("rollback", "models", "tiny")["served"] == [1]
    plans = json.loads((tool.folder / "out" / "manifest.json").read_text())["plans"]
    folder = tool.folder / "models" / "tiny"
    assert {tree(folder)[n] for n in tree(folder) if n.startswith("1/") and n.endswith(".plan")} == set(plans)
    assert tool.json("promote", "models", "tiny", 2)["served"] == [2]
    text = tool.succeeds("versions", "models").stdout
    assert "served before" in text
    said = tool.succeeds("ship", "out", "models", "--stage").stderr
    assert "which was there already; served: 2" in said
    assert "note  built by tensorrt_rtx" in said, "what Triton cannot load as it is, is told"


def test_steps_are_shipped_with_their_plan(tmp_path: Path) -> None:
    tool = Tool(tmp_path, tmp_path / "cache")
    with_steps(tmp_path / "build")
    done = tool.json("ship", "build", "models")["models"]
    assert [d["served"] for d in done] == [[1]] * 4
    assert done[-1]["model"] == "net_ensemble"
    tool.fails(2, "ship", "build", "models", "--server", "http://127.0.0.1:9", says=["one model at a time"])


def test_errors_at_the_command_line(tmp_path: Path) -> None:
    tool = Tool(tmp_path, tmp_path / "cache")
    build = make_build(tmp_path / "build", 1)
    make_build(tmp_path / "failed", 1, passed=False)
    tool.fails(5, "ship", "failed", "models", says=["did not pass"])
    tool.fails(2, "ship", "nowhere", "models", says=["no build here"])
    tool.succeeds("ship", "build", "models")
    (build / "model_repository" / "net" / "1" / "model.plan").write_bytes(b"another")
    tool.fails(7, "ship", "build", "models", says=["model.plan", "changed after it was verified"])
    tool.fails(2, "promote", "models", "net", "9", says=["no version 9"])
    tool.fails(2, "rollback", "models", "net", says=["served before"])
    (tmp_path / "models" / "net" / "1" / "model.plan").write_bytes(b"another")
    tool.fails(7, "versions", "models", "--check", says=["model.plan is not the file that was shipped"])
    assert "nothing is shipped" in tool.succeeds("versions", "elsewhere").stdout


def test_signing_at_the_command_line(tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="signing needs the extra `sign`")
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not there: it makes the keys of this test")
    tool = Tool(tmp_path, tmp_path / "cache")
    make_build(tmp_path / "build", 1)
    for name in ("ours", "theirs"):
        for words in (["genpkey", "-algorithm", "ed25519", "-out", f"{name}.pem"],
                      ["pkey", "-in", f"{name}.pem", "-pubout", "-out", f"{name}.pub.pem"]):  # fmt: skip
            subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)
    tool.fails(7, "ship", "build", "models", "--verify-key", "ours.pub.pem", says=["not signed"])
    tool.succeeds("sign", "build", "--key", "theirs.pem")
    tool.fails(7, "ship", "build", "models", "--verify-key", "ours.pub.pem", says=["has not signed"])
    tool.succeeds("sign", "build", "--key", "ours.pem")
    tool.succeeds("sign", "build", "--verify-key", "ours.pub.pem", "--verify-key", "theirs.pub.pem")
    assert tool.json("ship", "build", "models", "--verify-key", "ours.pub.pem")["served"] == [1]
    tool.fails(2, "sign", "build", says=["--key"])
    tool.fails(2, "sign", "build", "--key", "ours.pub.pem", says=["private key"])
