"""A worker process that answers again and again: what has been loaded once is asked many times.

``worker.call`` takes one request and gives one answer. Here its function stays, listens on a local socket of its own
and answers JSON with JSON until its parent hangs up. Errors, signals and time-outs are ``worker.call``'s own.
"""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Client, Connection, Listener
from typing import TYPE_CHECKING, Any

from trtbuild import worker
from trtbuild.errors import WorkerCrashedError

if TYPE_CHECKING:
    from trtbuild.worker import Emit

_PATIENCE_S = 10  # for a worker to end after an error of ours; it ends with this process at the latest

Ask = Callable[[Mapping[str, Any]], Any]
"""Takes a message, returns the worker's answer to it."""


@contextlib.contextmanager
def conversation(function: str, request: Mapping[str, Any], **options: Any) -> Iterator[Ask]:
    """Starts a worker function that ends in ``answer``; the context hangs up and waits for it.

    Args:
        function: ``package.module:function``.
        request: Its request; ``key`` is added.
        options: For ``worker.call``; ``timeout_s`` is for the whole conversation.

    Yields:
        What asks the worker something. It raises what the function raised, or WorkerCrashedError.
    """
    key = secrets.token_hex(16)
    told: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            worker.call(function, {**request, "key": key}, on_event=lambda e: told.put(e["address"]), **options)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asks
            failed.append(error)
        told.put(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    address = told.get()
    if address is None:
        thread.join()
        raise failed[0] if failed else _silent()
    line = Client(address, authkey=key.encode())

    def ask(message: Mapping[str, Any]) -> Any:
        try:
            line.send_bytes(json.dumps(message).encode())
            return json.loads(line.recv_bytes())
        except (EOFError, OSError):
            thread.join()
            raise (failed.pop() if failed else _silent()) from None  # once: who asked has it

    try:
        yield ask
    except BaseException:
        line.close()  # the worker's function sees that and returns
        thread.join(_PATIENCE_S)
        raise
    line.close()
    thread.join()
    if failed:
        raise failed[0]


def answer(request: Mapping[str, Any], emit: Emit, reply: Callable[[dict[str, Any]], Any]) -> None:
    """The worker's side: answers every message with ``reply(message)`` until the parent hangs up.

    What ``reply`` raises ends the conversation, and the parent's ``ask`` raises it.
    """
    with Listener(authkey=str(request["key"]).encode()) as listener:
        emit({"address": listener.address})
        with listener.accept() as line:
            while (message := _heard(line)) is not None:
                line.send_bytes(json.dumps(reply(message)).encode())


def _heard(line: Connection) -> dict[str, Any] | None:
    try:
        message: dict[str, Any] = json.loads(line.recv_bytes())
    except (EOFError, OSError):
        return None
    return message


def _silent() -> WorkerCrashedError:
    return WorkerCrashedError("the worker ended the conversation", place="worker", hint="-vv shows more")
