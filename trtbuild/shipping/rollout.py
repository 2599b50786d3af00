"""Putting versions into a repository, and saying which of them are served.

Every function leaves a repository that can be served, wherever it is broken off; a second call goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from trtbuild import __version__
from trtbuild.errors import IntegrityError, OutputError, UsageError
from trtbuild.shipping.policy import Policy, read_policy
from trtbuild.shipping.serving import Served, model_name, serving_config, side_by_side
from trtbuild.shipping.shipment import CONFIG, ENVELOPE, SHARED, SHIPPED, Shipment, check_name
from trtbuild.shipping.storage import Content, Storage
from trtbuild.shipping.versions import RECORD, ModelVersions, ShippedVersion, check_version, read_model

KEEP = 3
"""Versions of a model that are kept, where nothing else is asked for."""


@dataclass(frozen=True)
class Change:
    """What a step did to a model.

    Attributes:
        model: The model.
        version: The version it was about.
        served: What is served now.
        served_before: What was served when it began.
        new: Whether the version was put into the repository by this step.
        removed: Versions that were taken away.
        notes: What a person should know.
    """

    model: str
    version: int
    served: tuple[int, ...]
    served_before: tuple[int, ...]
    new: bool = False
    removed: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def ship(storage: Storage, shipment: Shipment, *, keep: int = KEEP, keys: Policy | None = None) -> Change:
    """Puts a build into a repository as a new version, serves it alone, and removes the oldest.

    Args:
        storage: The repository.
        shipment: What ``read_shipment`` read.
        keep: Versions to keep, this one included. What is served is always kept.
        keys: Signatures to demand beside those of the repository's policy.

    Raises:
        IntegrityError: A signature that is demanded is missing or wrong, or a file is not what was shipped.
        UsageError: The folder holds a model that trtbuild did not ship, or another shipper holds it.
        OutputError: The repository cannot be written. What was served is served.
    """
    policy = _demanded(storage, shipment, keys)
    with storage.locked(shipment.model):
        staged = _stage(storage, shipment, policy)
        found = read_model(storage, shipment.model)
        done = _serve(storage, found, found.served.then([staged.version]), staged.version, "activated")
        removed, left = _prune(storage, shipment.model, keep)
    notes = (*shipment.notes, *staged.notes, *done.notes, *left)
    return replace(done, new=staged.new, removed=removed, served_before=staged.served_before, notes=notes)


def stage(storage: Storage, shipment: Shipment, *, keys: Policy | None = None) -> Change:
    """Puts a build into a repository without serving it; the first version of a model is served, for it has a config.

    A build that is there already is not put there again: its version is returned.

    Raises:
        The same as ``ship``.
    """
    policy = _demanded(storage, shipment, keys)
    with storage.locked(shipment.model):
        done = _stage(storage, shipment, policy)
    return replace(done, notes=(*shipment.notes, *done.notes))


def activate(storage: Storage, model: str, versions: Sequence[int]) -> Change:
    """Serves exactly these versions, once each is found to be what was shipped.

    Raises:
        UsageError: There is no such version, or the versions cannot be served side by side.
        IntegrityError: A version is not what was shipped. What was served is served.
    """
    if not versions:
        raise UsageError("something has to be served", place=model, hint="name at least one version")
    with storage.locked(check_name(model)):
        found = read_model(storage, model)
        return _serve(storage, found, found.served.then(versions), versions[-1], "activated")


def deactivate(storage: Storage, model: str, version: int) -> Change:
    """Serves what is served without one version; the version stays in the repository.

    Raises:
        UsageError: It is the only one that is served.
    """
    with storage.locked(check_name(model)):
        found = read_model(storage, model)
        left = [v for v in found.served.versions if v != version]
        if not left:
            raise UsageError(
                f"version {version} is all that is served of {model}",
                place=storage.place,
                hint="promote another one, or take the model's folder away",
            )
        return _serve(storage, found, found.served.then(left), version, "deactivated")


def promote(storage: Storage, model: str, version: int) -> Change:
    """Serves one version alone."""
    return activate(storage, model, [version])


def rollback(storage: Storage, model: str) -> Change:
    """Serves the version that was served before; called again, the one before that.

    Raises:
        UsageError: Nothing was served before, or it is no longer there.
    """
    with storage.locked(check_name(model)):
        found = read_model(storage, model)
        there = {v.number for v in found.versions}
        before = Served(found.served.versions, tuple(v for v in found.served.before if v in there))
        if not before.before:
            has = ", ".join(str(v.number) for v in found.versions) or "none"
            raise UsageError(
                f"no version of {model} that was served before is here",
                place=storage.place,
                hint=f"it has {has}: `trtbuild promote` serves the one you name",
            )
        return _serve(storage, found, before.back(), before.before[0], "rolled back")


def prune(storage: Storage, model: str, *, keep: int = KEEP) -> tuple[int, ...]:
    """Removes the oldest versions that are not served; what trtbuild did not ship is left alone.

    Args:
        storage: The repository.
        model: The model.
        keep: How many stay, those that are served and the one before included.

    Returns:
        The versions that were removed.
    """
    with storage.locked(check_name(model)):
        return _prune(storage, model, keep)[0]


def _demanded(storage: Storage, shipment: Shipment, keys: Policy | None) -> Policy:
    """The policy in force, which the build fulfils; refused here, nothing has been written."""
    model = check_name(shipment.model)
    if (named := model_name(shipment.config, model)) != model:
        raise UsageError(f"its config names the model {named!r}", place=model, hint="build it again under one name")
    policy = read_policy(storage).and_keys(keys.required_keys if keys else ())
    signed = shipment.files.get(f"{SHIPPED}/{ENVELOPE}")
    manifest = shipment.manifest.path
    policy.hold(manifest.read_bytes(), signed.path.read_bytes() if signed else None, str(manifest.parent))
    return policy


def _stage(storage: Storage, shipment: Shipment, policy: Policy) -> Change:
    model = shipment.model
    found = read_model(storage, model)
    _hold_ours(storage, found)
    same = _same(storage, found, shipment, policy)
    if same is not None:
        return Change(model, same.number, found.served.versions, found.served.versions)
    version = max((*(v.number for v in found.versions), *found.others, *found.broken, 0)) + 1
    _put(storage, shipment, version)
    now = read_model(storage, model).served.versions
    notes = _note(storage, model, "shipped", version, now, shipment.manifest.sha256)
    return Change(model, version, now, found.served.versions, new=True, notes=notes)


def _prune(storage: Storage, model: str, keep: int) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The versions that were removed, and what could not be: that undoes nothing that was done before."""
    found = read_model(storage, model)
    numbers = [v.number for v in found.versions]
    held = set(found.served.versions)
    before = [v for v in found.served.before if v in numbers]  # what a rollback goes to stays before what is newer
    for number in [*before, *reversed(numbers)]:
        held |= {number} if len(held) < keep else set()
    outdated = tuple(n for n in numbers if n not in held) if found.served.versions else ()
    notes: tuple[str, ...] = ()
    for number in outdated:
        try:
            storage.remove_version(model, number)
        except OutputError as error:
            return tuple(n for n in outdated if n < number), (
                *notes,
                f"version {number} could not be removed: {error.message}",
            )
        notes += _note(storage, model, "removed", number, found.served.versions, found.version(number).manifest)
    return outdated, notes


def _put(storage: Storage, shipment: Shipment, version: int) -> None:
    listed = {name: f.sha256 for name, f in shipment.files.items()}
    record = ShippedVersion(version, _now(), shipment.manifest.sha256, shipment.payload, listed)
    files: dict[str, Content] = {**shipment.files, RECORD: record.document()}
    config = serving_config(shipment.config, Served((version,)), shipment.model, _labels_inside(version, listed))
    storage.add_version(shipment.model, version, files, {CONFIG: config})


def _serve(storage: Storage, found: ModelVersions, chosen: Served, about: int, event: str) -> Change:
    """Replaces the config; every version that it names is held against its record first."""
    model, policy = found.model, read_policy(storage)
    shipped = [found.version(number) for number in chosen.versions]
    for version in shipped:
        check_version(storage, model, version, policy)
    configs = [storage.read(f"{model}/{v.number}/{SHIPPED}/{CONFIG}") or b"" for v in shipped]
    for other, version in zip(configs[:-1], shipped, strict=False):
        if not side_by_side(other, configs[-1], model):
            raise UsageError(
                f"versions {version.number} and {shipped[-1].number} differ in their config: one config serves both",
                place=f"{storage.place}/{model}",
                hint="serve one of them alone: `trtbuild promote`",
            )
    inside = _labels_inside(shipped[-1].number, shipped[-1].files)
    config = serving_config(configs[-1], chosen, f"{storage.place}/{model}", inside)
    notes: tuple[str, ...] = ()
    if storage.read(f"{model}/{CONFIG}") != config:
        storage.replace(f"{model}/{CONFIG}", config)
        manifest = next((v.manifest for v in found.versions if v.number == about), "")
        notes = _note(storage, model, event, about, chosen.versions, manifest)
    return Change(model, about, chosen.versions, found.served.versions, notes=notes)


def _labels_inside(version: int, files: Mapping[str, str]) -> dict[str, str]:
    """Label file to its path inside the version that it belongs to: so it changes with the config, and not before."""
    prefix = f"{SHIPPED}/{SHARED}/"
    return {name.removeprefix(prefix): f"{version}/{name}" for name in files if name.startswith(prefix)}


def _same(storage: Storage, found: ModelVersions, shipment: Shipment, policy: Policy) -> ShippedVersion | None:
    """A sound version of this very build, such as one that a killed ship put there."""
    for version in reversed(found.versions):
        if version.payload == shipment.payload:
            try:
                check_version(storage, found.model, version, policy)
            except IntegrityError:
                continue  # it was changed since, or not signed then: a new version takes its place
            return version
    return None


def _hold_ours(storage: Storage, found: ModelVersions) -> None:
    config = storage.read(f"{found.model}/{CONFIG}")
    ours = found.versions or found.broken
    if not ours and (config is not None or found.others):
        raise UsageError(
            f"{found.model} is there already, and trtbuild did not ship it",
            place=storage.place,
            hint="move it away, or ship under another name: its config would be replaced",
        )


def _note(
    storage: Storage, model: str, event: str, version: int, served: Sequence[int], manifest: str
) -> tuple[str, ...]:
    """A line of the journal: what happened when, by which manifest. Nothing is decided by it.

    It has happened: that it cannot be written down is told, and is no error.
    """
    now = _now()
    line = {
        "at": now,
        "event": event,
        "version": version,
        "served": list(served),
        "manifest": manifest,
        "by": __version__,
    }
    name = f"{now.replace(':', '')}-{event.replace(' ', '-')}-{version}.json"
    try:
        storage.note(model, name, (json.dumps(line) + "\n").encode())
    except OutputError as error:
        return (f"it is done, and the journal could not be written: {error.message}",)
    return ()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")
