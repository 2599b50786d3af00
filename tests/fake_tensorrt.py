"""TensorRT modules made from the API facts of a release, so that the whole compile path runs against each.

``tests/trt_api/*.json`` lists every class, member and enum value of a release's Python bindings. A module made from it
raises AttributeError on any other name, and remembers which names were taken. Setters behave as the real ones do: they
log an error or a warning and keep the old value. A fake's plan is a header and, as JSON, how its builder was
configured. Which names there are is in ``fake_names``, what they do in ``fake_parts`` and ``fake_network``.
"""

import json
import struct
from functools import cache
from pathlib import Path
from types import ModuleType

from fake_names import Enum, Facts, Fake, Value
from fake_network import MAGIC
from fake_parts import PARTS

RELEASES = {path.stem: path for path in sorted((Path(__file__).parent / "trt_api").glob("*.json"))}


@cache
def _facts(release):
    return json.loads(RELEASES[release].read_text())


class FakeTensorRT(ModuleType):
    """A module with the names of one release and no others.

    Args:
        release: A key of ``RELEASES``.
        without: Names that this one shall not have, such as ``IBuilderConfig.set_flag``.
        dla_cores: Accelerators of the device.
        device: What timing caches are made for.
    """

    def __init__(self, release, *, without=(), dla_cores=0, device="GPU 0"):
        facts = _facts(release)
        super().__init__(facts["package"])
        self._facts, self._touched, self._without = facts["classes"], set(), set(without)
        self._dla_cores, self._device = dla_cores, device
        self._version = facts["version"]
        self._kinds = {b.__name__: self._kind(b) for b in PARTS if b.__name__ in self._facts}
        self._functions = set(facts["functions"])

    def _kind(self, behaviour):
        name = behaviour.__name__
        members = {m for m in self._facts[name]["members"] if f"{name}.{m}" not in self._without}
        body = {"_members": members, "_name": name, "_module": self}
        return Facts(name, (behaviour, Fake), body)

    def _make(self, name, *words):
        return type.__call__(self._kinds[name], *words)

    def _value(self, enum, name):
        return Value(enum, name, self._facts[enum]["enum"][name])

    def _plan(self, state):
        version = bytes(min(int(part), 255) for part in [*self._version.split("."), 0][:4])
        body = json.dumps(state).encode()
        return MAGIC[self.__name__] + struct.pack("<12xQ4sI", len(body), version, 0).ljust(60, b"\0") + body

    def __getattr__(self, name):
        if name.startswith("_") and name != "__version__":
            raise AttributeError(name)
        known = name in self._facts or name in self._functions or name == "__version__"
        if not known or name in self._without:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self._touched.add(name)
        if name == "__version__":
            return self._version
        if name in self._functions:
            return lambda *_words: True
        if "enum" in self._facts[name]:
            return Enum(self, name, self._facts[name]["enum"])
        if name not in self._kinds:
            raise NotImplementedError(f"the fake has no {name}")
        return self._kinds[name]
