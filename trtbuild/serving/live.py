"""Shipping with a live server: what a repository serves changes only with what the server is seen to answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trtbuild.errors import IntegrityError, UsageError
from trtbuild.golden import INDEX, GoldenRequests, read
from trtbuild.serving.rollout import Naming, Rollout, roll_out
from trtbuild.shipping import KEEP, Change, Policy, Shipment, Storage, activate, prune, read_model, rollback, stage
from trtbuild.shipping.shipment import SHIPPED

_GOLDEN = f"{SHIPPED}/golden"


def ship_live(
    url: str, storage: Storage, shipment: Shipment, *, keep: int = KEEP, keys: Policy | None = None
) -> tuple[Change, Rollout | None]:
    """Stages a build, and rolls it out on the server that reads the repository; then removes the oldest versions.

    Args:
        url: The server, in explicit mode.
        storage: The repository, a folder.
        shipment: What ``read_shipment`` read.
        keep: Versions to keep.
        keys: Signatures to demand.

    Returns:
        What became of the repository, and of the server: None where it serves this very build already.

    Raises:
        UsageError: The repository is no folder, or the build came without golden requests. Nothing has been written.
        AccuracyError: The server answers wrongly with it; the old version serves.
        ServerError: The server does not load it or does not answer; config.pbtxt names the old version.
    """
    _folder(storage)
    if f"{_GOLDEN}/{INDEX}" not in shipment.files:
        raise UsageError(
            "the build has no golden requests: there is nothing to hold the server's answers against",
            place=str(shipment.manifest.path),
            hint="give the spec an accuracy block with data, or ship without --server",
        )
    staged = stage(storage, shipment, keys=keys)
    if not staged.new and staged.served == (staged.version,) and _serves(url, shipment.model, staged.version):
        return staged, None
    done = promote_live(url, storage, shipment.model, staged.version)
    removed = prune(storage, shipment.model, keep=keep)
    now = read_model(storage, shipment.model).served.versions
    return replace(staged, served=now, removed=removed), done


def promote_live(url: str, storage: Storage, model: str, version: int) -> Rollout:
    """Lets a server answer with one version of a repository alone.

    Raises:
        The same as ``ship_live``.
    """
    read_model(storage, model).version(version)  # it is there, and it is one of ours

    def name(_folder: Path, versions: Sequence[int]) -> None:
        activate(storage, model, versions)

    def put_back(_folder: Path, versions: Sequence[int]) -> None:
        if read_model(storage, model).served.versions == (version,):
            rollback(storage, model)  # and so the version that is left is not one to come back to
        activate(storage, model, versions)

    folder = _folder(storage)
    return roll_out(url, folder, model, version, _golden(folder, model, version), naming=Naming(name, put_back))


def rollback_live(url: str, storage: Storage, model: str) -> Rollout:
    """Lets a server answer with the version that the repository served before.

    Raises:
        UsageError: There is none.
    """
    found = read_model(storage, model)
    there = {v.number for v in found.versions}
    before = next((v for v in found.served.before if v in there), None)
    if before is None:
        raise UsageError(
            f"no version of {model} that was served before is here",
            place=storage.place,
            hint="`trtbuild promote` serves the one you name",
        )

    def name(_folder: Path, versions: Sequence[int]) -> None:
        if tuple(versions) == (before,):
            rollback(storage, model)
        else:
            activate(storage, model, versions)

    def put_back(_folder: Path, versions: Sequence[int]) -> None:
        activate(storage, model, versions)

    folder = _folder(storage)
    return roll_out(url, folder, model, before, _golden(folder, model, before), naming=Naming(name, put_back))


def _folder(storage: Storage) -> Path:
    from trtbuild.shipping.folder import FolderStorage

    if not isinstance(storage, FolderStorage):
        raise UsageError(
            "a live server is only told about versions in a folder that this machine and it both see",
            place=storage.place,
            hint="mount the repository, or ship without --server and load the model yourself",
        )
    return storage.root


def _golden(folder: Path, model: str, version: int) -> GoldenRequests:
    place = folder / model / str(version) / _GOLDEN
    try:
        return read(place)
    except IntegrityError as error:
        raise IntegrityError(
            f"version {version} came without golden requests, and what it should answer is not known: {error.message}",
            place=str(place),
            hint="promote or roll back without --server, and load the model yourself",
        ) from error


def _serves(url: str, model: str, version: int) -> bool:
    from trtbuild.serving.client import Client

    with Client(url) as client:
        return client.ready_versions(model) == (version,)
