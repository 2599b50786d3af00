"""Classes and enums that have the names a release lists and no others, and remember which were taken."""


class Value:
    """One value of an enum; like pybind11's, it is no int but has one."""

    def __init__(self, enum, name, number):
        self.enum, self.name, self.value = enum, name, number

    def __int__(self):
        return self.value

    def __eq__(self, other):
        return isinstance(other, Value) and (self.enum, self.value) == (other.enum, other.value)

    def __hash__(self):
        return hash((self.enum, self.value))

    def __str__(self):
        return f"{self.enum}.{self.name}"


class Enum:
    def __init__(self, module, name, values):
        self._module, self._name = module, name
        self._values = {k: Value(name, k, v) for k, v in values.items() if f"{name}.{k}" not in module._without}

    @property
    def __members__(self):
        return self._values

    def __getattr__(self, name):
        if name.startswith("_") or name not in self._values:
            raise AttributeError(f"type object {self._name!r} has no attribute {name!r}")
        self._module._touched.add(f"{self._name}.{name}")
        return self._values[name]


def _guarded(cls, name):
    """The class made from facts that answers for a public name; None where a subclass of it does."""
    for base in type.__getattribute__(cls, "__mro__"):
        names = type.__getattribute__(base, "__dict__")
        if "_members" in names:
            return base
        if name in names:
            return None
    return None


class Facts(type):
    """Lets through what the facts list, and remembers it."""

    def __getattribute__(cls, name):
        guard = None if name.startswith("_") else _guarded(cls, name)
        if guard is None:
            return type.__getattribute__(cls, name)
        guard._take(name)
        return type.__getattribute__(cls, name) if name in dir(cls) else object()


class Fake(metaclass=Facts):
    _module = None

    @classmethod
    def _take(cls, name):
        if name not in cls._members:
            raise AttributeError(f"{cls._name!r} object has no attribute {name!r}")
        cls._module._touched.add(f"{cls._name}.{name}")

    def __getattribute__(self, name):
        if name.startswith("_"):
            return object.__getattribute__(self, name)
        guard = None if name in self.__dict__ else _guarded(type(self), name)
        if guard is not None:
            guard._take(name)
            values = self.__dict__.get("_values", {})
            if name in values:
                return values[name]
        return object.__getattribute__(self, name)

    def __setattr__(self, name, value):
        guard = None if name.startswith("_") else _guarded(type(self), name)
        if guard is None or type(self) is not guard:  # a subclass of the test's subject holds what it likes
            object.__setattr__(self, name, value)
        else:
            guard._take(name)
            if name not in self._values:
                raise NotImplementedError(f"the fake keeps no {guard._name}.{name}")
            self._keep(name, value)

    def _say(self, severity, text):
        """What TensorRT logs goes to the overridden ``log``, under the name that this release calls."""
        if self._logger is not None:
            type(self)._module._touched.add("ILogger.log")
            self._logger.log(Value("Severity", severity, 0), text)
