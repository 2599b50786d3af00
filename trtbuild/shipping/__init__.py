"""The ship stage: a verified build into a repository that Triton serves, and back again.

``read_shipment`` holds a build against its manifest; ``open_storage`` opens a repository; ``stage`` puts a version
there, ``activate`` and ``deactivate`` say what is served, ``ship``, ``promote`` and ``rollback`` are made of them.
"""

from __future__ import annotations

from trtbuild.shipping.policy import Policy, read_policy
from trtbuild.shipping.rollout import KEEP, Change, activate, deactivate, promote, prune, rollback, ship, stage
from trtbuild.shipping.shipment import Shipment, read_shipment, read_shipments
from trtbuild.shipping.storage import Storage, open_storage
from trtbuild.shipping.versions import ModelVersions, ShippedVersion, check_version, read_model, read_versions

__all__ = [
    "KEEP", "Change", "ModelVersions", "Policy", "Shipment", "ShippedVersion", "Storage", "activate", "check_version",
    "deactivate", "open_storage", "promote", "prune", "read_model", "read_policy", "read_shipment", "read_shipments",
    "read_versions", "rollback", "ship", "stage",
]  # fmt: skip
