"""What happens to a repository in bad moments, played by processes of their own; each prints one JSON object.

``python ship_scenarios.py SCENARIO FOLDER`` imports once and forks, so that a killed ship costs no start of Python.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from shipped_builds import look, make_build

from trtbuild.errors import TrtbuildError
from trtbuild.shipping import open_storage, read_model, read_shipment, rollback, ship

WATCHED = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}
KEEP = 2


def ship_one(repository, build):
    return ship(open_storage(repository), read_shipment(build), keep=KEEP)


def forked(action):
    """Runs an action in a child and returns its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        action()
    except BaseException:  # noqa: BLE001 - the child must not run the parent's code
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def die_at(event, repository):
    """Kills this process with SIGKILL just before its ``event``-th step on a file beside or in the repository."""
    base, left = str(repository.parent), [event]

    def hook(name, arguments):
        reads = name == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if name in WATCHED and not reads and base in str(arguments[0]):
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

    sys.addaudithook(hook)


def kill_at_every_step(folder):
    """For each step of a ship: a repository as before, a ship killed at that step, a look, a second try."""
    start = folder / "start" / "models"
    builds = [make_build(folder / f"b{n}", n, labels=f"labels {n}") for n in range(3)]
    for build in builds[:2]:
        ship_one(start, build)
    seen, event = [], 0
    while True:
        case = folder / "case"
        shutil.copytree(folder / "start", case)
        repository = case / "models"

        def attempt(event=event, repository=repository):
            die_at(event, repository)
            ship_one(repository, builds[2])

        status = forked(attempt)
        assert status in (0, signal.SIGKILL), status
        after = look(repository)["net"]
        done = ship_one(repository, builds[2])
        at_last = look(repository)["net"]
        left = [p.name for p in (case / ".trtbuild/models").rglob("*") if "incoming" in p.parts and p.is_file()]
        kept = [v.number for v in read_model(open_storage(repository), "net").versions]
        seen.append({"after": after, "second": done.version, "served": at_last, "left": left, "kept": kept})
        shutil.rmtree(case)
        if status == 0:
            return {"cases": seen}
        event += 1


def kill_the_first_ship(folder):
    """Likewise for the first version of a model: it is there as a whole or not at all."""
    build, seen, event = make_build(folder / "b", 1), [], 0
    while True:
        repository = folder / "case" / "models"
        repository.mkdir(parents=True)

        def attempt(event=event, repository=repository):
            die_at(event, repository)
            ship_one(repository, build)

        status = forked(attempt)
        after = look(repository)
        ship_one(repository, build)
        seen.append({"after": after, "served": look(repository)})
        shutil.rmtree(folder / "case")
        if status == 0:
            return {"cases": seen}
        event += 1


def poll(repository, stop, out):
    """Looks again and again; a failed look counts where nothing moved while it went on."""
    looks, changes, failures, last = 0, 0, [], None
    while not stop.exists():
        before = state(repository)
        try:
            found = look(repository)
        except (AssertionError, OSError, ValueError) as error:
            if state(repository) == before:
                failures.append(f"{type(error).__name__}: {error}")
            continue
        looks += 1
        changes += found != last
        last = found
    out.write_text(json.dumps({"looks": looks, "changes": changes, "failures": failures[:5]}))


def state(repository):
    """Which config and which version folders there are."""
    config = repository / "net" / "config.pbtxt"
    try:
        return (config.stat().st_ino, sorted((p.name, p.stat().st_ino) for p in config.parent.iterdir()))
    except OSError:
        return None


def kill_at_random(folder, kills=20):
    """Ships killed at random moments, with a reader that polls; each killed one is tried again now and then."""
    repository, chance = folder / "models", random.Random(os.getpid())
    builds = [make_build(folder / f"b{n}", n, size=1_500_000) for n in range(4)]
    ship_one(repository, builds[0])
    started = time.monotonic()
    ship_one(repository, builds[1])
    usual = time.monotonic() - started
    stop, out = folder / "stop", folder / "reader.json"
    reader = os.fork()
    if not reader:
        poll(repository, stop, out)
        os._exit(0)
    killed, number, finished = 0, 2, 0
    while killed < kills:
        child = os.fork()
        if not child:
            ship_one(repository, builds[number % 4])
            os._exit(0)
        time.sleep(chance.uniform(0, 1.5 * usual))  # the reader slows a ship down
        os.kill(child, signal.SIGKILL)
        was_killed = os.waitpid(child, 0)[1] == signal.SIGKILL
        killed += was_killed
        finished += not was_killed
        number += chance.random() < 0.5 or not was_killed
    last = ship_one(repository, builds[number % 4])
    stop.touch()
    os.waitpid(reader, 0)
    served = look(repository)["net"]
    return {
        "killed": killed,
        "finished": finished,
        "last": last.version,
        "served": served,
        **json.loads(out.read_text()),
    }


def kill_beside_a_server(folder, kills=12):
    """Ships of ``b1`` to ``b4`` into ``models``, which a server reads, killed at random moments; the last one is not."""
    repository, chance, killed, finished = folder / "models", random.Random(os.getpid()), 0, 0
    while killed < kills:
        child = os.fork()
        if not child:
            ship_one(repository, folder / f"b{chance.randint(1, 4)}")
            os._exit(0)
        time.sleep(chance.uniform(0, 0.3))
        os.kill(child, signal.SIGKILL)
        was_killed = os.waitpid(child, 0)[1] == signal.SIGKILL
        killed += was_killed
        finished += not was_killed
    return {"killed": killed, "finished": finished, "served": ship_one(repository, folder / "b4").served}


def full_disk(folder):
    """A tmpfs with fewer and fewer pages to spare: every ship that does not fit is refused and changes nothing."""
    repository = folder / "disk" / "models"
    builds = [make_build(folder / f"b{n}", n, size=20_000) for n in range(3)]
    ship_one(repository, builds[0])
    ship_one(repository, builds[1])
    refused, free = [], 0
    while True:
        filler = folder / "disk" / "filler"
        fill(filler, free)
        try:
            done = ship_one(repository, builds[2])
        except TrtbuildError as error:
            refused.append([type(error).__name__, error.message, error.hint])
            assert look(repository) == {"net": [2]}, "the old version serves"
        else:
            filler.unlink()
            return {"refused": refused, "served": look(repository)["net"], "version": done.version}
        if not refused[1:]:
            back = rollback_on_full_disk(repository)
            assert back in ([1], [2]), back
            filler.unlink()
            ship_one(repository, builds[1])
        filler.unlink(missing_ok=True)
        free += 1


def rollback_on_full_disk(repository):
    """A rollback where no page is free is whole or refused."""
    with contextlib.suppress(TrtbuildError):
        rollback(open_storage(repository), "net")
    return look(repository)["net"]


def fill(file, pages):
    """Fills the disk, and frees ``pages`` pages of 4 KiB again."""
    with file.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"\0" * 4096)
        except OSError:
            pass
        stream.truncate(max(stream.tell() - 4096 * pages, 0))


if __name__ == "__main__":
    place = Path(sys.argv[2])
    print(json.dumps(globals()[sys.argv[1]](place)))  # noqa: T201
