"""An engine that runs nowhere, behind the names of a release: shows that running touches no other name.

It stands on ``fake_names``, as the builder's fakes do. Device memory is host memory here, so that addresses are real: an
engine of ``y = 2 x`` and ``found = the x above k`` reads and writes them. It says nothing of what a GPU does.
"""

import ctypes

import numpy as np
from fake_names import Value
from fake_tensorrt import FakeTensorRT

PORTS = {"x": "FLOAT", "k": "INT64", "y": "FLOAT", "found": "FLOAT"}
PROFILES = (
    {"x": ((1, 4), (2, 4), (8, 4)), "k": ((0,), (0,), (9,))},
    {"x": ((4, 4), (64, 4), (99, 4)), "k": ((0,), (0,), (9,))},
)


def at(address, count, dtype=np.float32):
    """The memory at an address, as an array."""
    size = max(count * np.dtype(dtype).itemsize, 1)
    return np.frombuffer((ctypes.c_char * size).from_address(address), np.uint8)[
        : count * np.dtype(dtype).itemsize
    ].view(dtype)


class Settable:
    def _keep(self, name, value):
        self._values[name] = value


class Runtime(Settable):
    def __init__(self, _logger):
        self._values = {"engine_host_code_allowed": False}

    def get_plugin_registry(self):
        return self._module._make("IPluginRegistry", None)

    def deserialize_cuda_engine(self, plan):
        return self._module._make("ICudaEngine") if plan == b"engine" else None


class ICudaEngine(Settable):
    def __init__(self):
        self._values = {"num_io_tensors": len(PORTS), "num_optimization_profiles": len(PROFILES)}

    def _enum(self, kind, name):
        return Value(kind, name, self._module._facts[kind]["enum"][name])

    def get_tensor_name(self, index):
        return list(PORTS)[index]

    def get_tensor_format(self, _name):
        return self._enum("TensorFormat", "LINEAR")

    def get_tensor_dtype(self, name):
        return self._enum("DataType", PORTS[name])

    def get_tensor_mode(self, name):
        return self._enum("TensorIOMode", "INPUT" if name in ("x", "k") else "OUTPUT")

    def get_tensor_location(self, name):
        return self._enum("TensorLocation", "HOST" if name == "k" else "DEVICE")

    def get_tensor_profile_shape(self, name, index):
        return [list(dims) for dims in PROFILES[index][name]]

    def get_tensor_profile_values(self, index, name):
        return [list(values) for values in PROFILES[index][name]]

    def create_runtime_config(self):
        return self._module._make("IRuntimeConfig")

    def create_execution_context(self, config=None):
        self._module.config = config
        return self._module._make("IExecutionContext")


class IRuntimeConfig(Settable):
    def __init__(self):
        self._values = {"cuda_graph_strategy": None, "dynamic_shapes_kernel_specialization_strategy": None}


class IOutputAllocator:
    pass


class IExecutionContext(Settable):
    def __init__(self):
        self._values = {}
        self._profile, self._shapes, self._addresses, self._allocator = None, {}, {}, None
        self._module.did = self._did = []

    def set_optimization_profile_async(self, index, _stream):
        self._profile, self._shapes = index, {}
        self._did.append(("profile", index))
        return True

    def set_input_shape(self, name, shape):
        self._shapes[name] = shape
        return name == "k" or PROFILES[self._profile][name][0] <= tuple(shape) <= PROFILES[self._profile][name][2]

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return address > 0

    def set_output_allocator(self, name, allocator):
        self._allocator = allocator
        return name == "found"

    def infer_shapes(self):
        return [
            name for name in ("x", "k") if name not in self._shapes or (name == "k" and name not in self._addresses)
        ]

    def get_tensor_shape(self, name):
        return [-1] if name == "found" else list(self._shapes["x"])

    def execute_async_v3(self, stream):
        if stream in self._module.capturing:
            self._module.capturing[stream] = (dict(self._shapes), dict(self._addresses))
        else:
            self._did.append(("run", self._shapes["x"]))
            self._compute(self._shapes, self._addresses)
        return True

    def _compute(self, shapes, addresses):
        count = int(np.prod(shapes["x"]))
        x = at(addresses["x"], count)
        if not np.isfinite(x).all():
            raise RuntimeError("it ran on memory that nobody wrote")
        at(addresses["y"], count)[:] = 2 * x
        if self._allocator is not None:
            found = x[x > at(addresses["k"], 1, np.int64)[0]]
            where = self._allocator.reallocate_output_async("found", 0, found.nbytes, 256, 0)
            at(where, found.size)[:] = found
            self._allocator.notify_shape("found", [found.size])


class RunningTensorRT(FakeTensorRT):
    """A release whose engines run, on the host.

    Attributes:
        did: What the last context was told, in order.
        config: What it was made with.
        capturing: Handle of a stream that is captured, and what was put into it.
    """

    def __init__(self, release, **options):
        super().__init__(release, **options)
        own = (Runtime, ICudaEngine, IRuntimeConfig, IOutputAllocator, IExecutionContext, Logger)
        self._kinds |= {part.__name__: self._kind(part) for part in own if part.__name__ in self._facts}
        self.__dict__.update(did=[], config=None, capturing={})


class Logger:
    def __init__(self, _severity):
        pass


class Cuda:
    """``pycuda.driver`` over host memory."""

    def mem_alloc(self, size):
        raw = ctypes.create_string_buffer(b"\xff" * (size + 256))  # as floats: NaN, which nobody may compute with
        return Allocation(raw)

    def pagelocked_empty(self, size, dtype):
        return np.zeros(size, dtype)

    def memcpy_htod_async(self, device, host, _stream):
        at(int(device), host.size, np.uint8)[:] = host

    def memcpy_dtoh_async(self, host, device, _stream):
        host[:] = at(int(device), host.size, np.uint8)

    class Stream:
        handle = 7

        def synchronize(self):
            pass

    class Event:
        def record(self, _stream):
            pass

        def synchronize(self):
            pass

        def time_till(self, _other):
            return 0.0


class Allocation:
    def __init__(self, raw):
        self._raw = raw

    def __int__(self):
        return (ctypes.addressof(self._raw) + 255) // 256 * 256


class Driver:
    """``cuda.bindings.driver``: captures what a fake context is told, and does it again at a launch."""

    class CUresult:
        CUDA_SUCCESS = Value("CUresult", "CUDA_SUCCESS", 0)

    class CUstreamCaptureMode:
        CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1

    def __init__(self, trt, context_of):
        self._trt, self._context_of, self.launches = trt, context_of, 0

    def CUstream(self, handle):
        return handle

    def cuStreamBeginCapture(self, stream, _mode):
        self._trt.capturing[stream] = None
        return (self.CUresult.CUDA_SUCCESS,)

    def cuStreamEndCapture(self, stream):
        return self.CUresult.CUDA_SUCCESS, self._trt.capturing.pop(stream)

    def cuGraphInstantiate(self, graph, _flags):
        return self.CUresult.CUDA_SUCCESS, graph

    def cuGraphDestroy(self, _graph):
        return (self.CUresult.CUDA_SUCCESS,)

    def cuGraphExecDestroy(self, _graph):
        return (self.CUresult.CUDA_SUCCESS,)

    def cuGraphLaunch(self, graph, _stream):
        self.launches += 1
        self._context_of()._compute(*graph)
        return (self.CUresult.CUDA_SUCCESS,)
