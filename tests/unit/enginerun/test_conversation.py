import os
import signal

import pytest

from trtbuild.enginerun.conversation import conversation
from trtbuild.errors import BuildError, TrtbuildError, WorkerCrashedError

CHILD = """
import os
from trtbuild.enginerun.conversation import answer
from trtbuild.errors import BuildError

def count(request, emit):
    told = [request["start"]]
    def reply(message):
        if "refuse" in message:
            raise BuildError("no", place="engine", hint="try")
        if "die" in message:
            os.kill(os.getpid(), message["die"])
        told[0] += message["add"]
        return {"pid": os.getpid(), "sum": told[0]}
    answer(request, emit, reply)
    open(request["left"], "w").close()

def refuse_at_once(request, emit):
    raise BuildError("nothing to load")

def leave_at_once(request, emit):
    return None
"""


@pytest.fixture(autouse=True)
def child(tmp_path, monkeypatch):
    (tmp_path / "talking_child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
def request_(tmp_path):
    return {"start": 5, "left": str(tmp_path / "left")}


def test_one_process_answers_every_message_in_order_and_leaves_when_it_is_hung_up_on(request_, tmp_path):
    with conversation("talking_child:count", request_) as ask:
        answers = [ask({"add": n}) for n in (1, 2, 3)]
    assert [a["sum"] for a in answers] == [6, 8, 11]
    assert len({a["pid"] for a in answers} - {os.getpid()}) == 1
    assert (tmp_path / "left").exists()


def test_two_workers_take_turns(request_):
    with (
        conversation("talking_child:count", request_) as first,
        conversation("talking_child:count", request_) as second,
    ):
        got = [ask({"add": 1})["sum"] for _ in range(2) for ask in (first, second)]
    assert got == [6, 6, 7, 7]


def test_what_an_answer_raises_is_raised_where_it_was_asked(request_):
    with conversation("talking_child:count", request_) as ask:
        ask({"add": 1})
        with pytest.raises(BuildError) as caught:
            ask({"refuse": True})
    assert (caught.value.message, caught.value.place, caught.value.hint) == ("no", "engine", "try")


def test_death_in_the_middle_is_named(request_):
    with pytest.raises(WorkerCrashedError, match="SIGKILL"), conversation("talking_child:count", request_) as ask:
        ask({"die": int(signal.SIGKILL)})


def test_an_error_before_the_first_word_is_raised():
    with pytest.raises(BuildError, match="nothing to load"), conversation("talking_child:refuse_at_once", {}):
        pass


def test_a_worker_that_says_nothing_is_an_error():
    with pytest.raises(TrtbuildError, match="ended the conversation"), conversation("talking_child:leave_at_once", {}):
        pass


def test_an_error_of_the_parent_passes_through(request_, tmp_path):
    def stumble():
        with conversation("talking_child:count", request_) as ask:
            ask({"add": 1})
            raise KeyError("mine")

    with pytest.raises(KeyError):
        stumble()
    assert (tmp_path / "left").exists()
