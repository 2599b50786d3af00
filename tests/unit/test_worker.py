import os
import signal
import subprocess
import sys
import time

import pytest

from trtbuild import worker
from trtbuild.errors import (
    BuildCancelledError,
    BuildError,
    BuildTimeoutError,
    MemoryLimitError,
    OutputError,
    TrtbuildError,
    WorkerCrashedError,
)

CHILD = """
import os, sys, time
from trtbuild.errors import BuildError

def echo(request, emit):
    print("noise on standard output")
    for number in range(request["events"]):
        emit({"number": number})
    return {"got": request}

def refuse(request, emit):
    raise BuildError("no", place="TensorRT", hint="try")

def fail(request, emit):
    return 1 / 0

def die(request, emit):
    sys.stderr.write("last words\\n")
    sys.stderr.flush()
    os.kill(os.getpid(), request["signal"])

def leave(request, emit):
    os._exit(3)

def hang(request, emit):
    emit({"pid": os.getpid()})
    time.sleep(600)

def full(request, emit):
    raise OSError(28, "No space left on device", "model.plan")

def not_json(request, emit):
    return object()

def hoard(request, emit):
    emit({"pid": os.getpid(), "phase": "hoarding"})
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1 << 20)))
        time.sleep(0.005)

def borrow(request, emit):
    import mmap
    with open(request["file"], "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        read = sum(mapped[i] for i in range(0, len(mapped), 4096))
        time.sleep(request["seconds"])
    return read

def steps(request, emit):
    # as a builder with a progress monitor: it looks up between two steps
    from pathlib import Path
    from trtbuild.errors import BuildCancelledError
    while emit({"pid": os.getpid()}):
        time.sleep(0.02)
    Path(request["mark"]).write_text("ended by itself")
    raise BuildCancelledError("told to end")

def variable(request, emit):
    return os.environ.get("TRTBUILD_TEST_VARIABLE")
"""


@pytest.fixture(autouse=True)
def child(tmp_path, monkeypatch):
    (tmp_path / "worker_child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))


def call(name, request=None, **options):
    return worker.call(f"worker_child:{name}", request or {}, **options)


def test_events_come_in_order_and_the_result_at_the_end():
    events = []
    assert call("echo", {"events": 3}, on_event=events.append) == {"got": {"events": 3}}
    assert [e["number"] for e in events] == [0, 1, 2]


def test_our_errors_keep_their_type_place_and_hint():
    with pytest.raises(BuildError) as caught:
        call("refuse")
    assert (caught.value.message, caught.value.place, caught.value.hint) == ("no", "TensorRT", "try")


@pytest.mark.parametrize(("name", "word"), [("fail", "ZeroDivisionError"), ("not_json", "TypeError")])
def test_other_exceptions_carry_the_childs_traceback(name, word):
    with pytest.raises(TrtbuildError, match=word) as caught:
        call(name)
    assert caught.value.exit_code == 1
    assert "Traceback" in caught.value.child_traceback


def test_a_full_disk_in_the_child_is_an_output_error():
    with pytest.raises(OutputError, match="disk is full"):
        call("full")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_death_by_a_signal_is_named_with_the_last_words(number):
    with pytest.raises(WorkerCrashedError, match=number.name) as caught:
        call("die", {"signal": int(number)})
    assert "last words" in caught.value.message
    assert caught.value.exit_code == 4


def test_an_exit_without_an_answer_is_a_crash():
    with pytest.raises(WorkerCrashedError, match="status 3"):
        call("leave")


def test_a_hanging_child_is_killed_at_its_limit():
    pids = []
    with pytest.raises(BuildTimeoutError, match=r"stopped after 1\.5 s") as caught:
        call("hang", on_event=lambda e: pids.append(e["pid"]), timeout_s=1.5)
    assert "timeout_s" in caught.value.hint
    assert_gone(pids[0])


def test_an_exception_in_the_parent_kills_the_child():
    pids = []

    def interrupt(event):
        pids.append(event["pid"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call("hang", on_event=interrupt)
    assert_gone(pids[0])


def test_a_child_that_looks_up_ends_by_itself_when_the_parent_is_interrupted(tmp_path):
    pids = []

    def interrupt(event):
        pids.append(event["pid"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call("steps", {"mark": str(tmp_path / "mark")}, on_event=interrupt)
    assert (tmp_path / "mark").read_text() == "ended by itself"
    assert_gone(pids[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_child_that_someone_tells_to_end_does_and_the_error_is_no_crash(tmp_path, number):
    told = []

    def tell(event):
        if not told:
            os.kill(event["pid"], number)
        told.append(event)

    with pytest.raises(BuildCancelledError, match="told to end") as caught:
        call("steps", {"mark": str(tmp_path / "mark")}, on_event=tell)
    assert caught.value.exit_code == 130
    assert (tmp_path / "mark").exists()


def test_a_child_that_does_not_look_up_is_ended_all_the_same():
    with pytest.raises(BuildCancelledError, match="was told to end"):
        call("hang", on_event=lambda e: os.kill(e["pid"], signal.SIGTERM))


def test_a_child_that_takes_too_much_memory_is_stopped_and_says_how_much_and_where():
    pids = []
    with pytest.raises(
        MemoryLimitError, match=r"held \d+ MiB of memory, the limit is 60, in the phase 'hoard"
    ) as caught:
        call("hoard", on_event=lambda e: pids.append(e["pid"]), memory_limit_mib=60, timeout_s=120)
    assert "build.memory_limit_mib" in caught.value.hint
    assert_gone(pids[0])


def test_mapped_files_are_not_held_against_the_memory_limit(tmp_path):
    (tmp_path / "weights").write_bytes(b"\1" * (100 << 20))
    request = {"file": str(tmp_path / "weights"), "seconds": 0.3}
    assert call("borrow", request, memory_limit_mib=60) == 100 << 8


def test_the_child_ends_when_its_parent_is_killed(tmp_path):
    call = "worker.call('worker_child:hang', {}, on_event=lambda e: print(e['pid'], flush=True))"
    script = f"from trtbuild import worker\n{call}"
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert_gone(pid)


def test_variables_are_set_in_the_child_only():
    assert call("variable", environment={"TRTBUILD_TEST_VARIABLE": "1"}) == "1"
    assert "TRTBUILD_TEST_VARIABLE" not in os.environ


def assert_gone(pid):
    for _ in range(200):
        try:
            os.kill(pid, 0)
            with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return
        except (ProcessLookupError, FileNotFoundError):
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} still lives")
