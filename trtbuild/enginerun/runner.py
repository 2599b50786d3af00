"""Runs one engine: shapes and profile, memory, streams, CUDA graphs, times. Not run on a GPU by us.

::

with primary_context("8.9") as device:
    runner = EngineRunner.load(device, request)
    runner.prepare({"x": array})
    times = runner.call()
    outputs = runner.outputs()
    runner.close()
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trtbuild.enginerun.arrays import as_type
from trtbuild.enginerun.graphs import CapturedGraph
from trtbuild.enginerun.interface import Interface, Port, asked_shapes, read_interface
from trtbuild.enginerun.loading import LoadedEngine, create_context, deserialize, load_tensorrt, plugin_files, read_plan
from trtbuild.enginerun.memory import Buffer, output_allocator
from trtbuild.enginerun.profiles import choose_profile
from trtbuild.errors import BuildError, FeedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trtbuild.enginerun.sharing import SharedDevice


class EngineRunner:
    """An engine with its context, its stream and its memory.

    Attributes:
        interface: What it reads and writes.
        profile: The optimisation profile in use; None before ``prepare``.
        graph: How calls are launched: ``no``, ``captured``, ``built in`` (TensorRT-RTX captures by itself), or why not.
    """

    def __init__(
        self, device: SharedDevice, trt: Any, loaded: LoadedEngine, place: str, *, cuda_graphs: bool = False
    ) -> None:
        self._cuda, self._place = device.cuda, place
        self._loaded: LoadedEngine | None = loaded
        engine = loaded.engine
        self._context, built_in = create_context(trt, engine, cuda_graphs=cuda_graphs)
        self.interface: Interface = read_interface(trt, engine)
        self.profile: int | None = None
        self._captures = cuda_graphs and not built_in
        self.graph = "built in" if built_in else "no"
        self._captured: CapturedGraph | None = None
        self._captured_for: object = None
        self._stream = self._cuda.Stream()
        self._events = [self._cuda.Event() for _ in range(4)]
        self._buffers = {p.name: Buffer(self._cuda) for p in self.interface.ports if not p.on_host}
        self._allocators = {p.name: output_allocator(trt, self._buffers[p.name])
                            for p in self.interface.outputs if not p.on_host}  # fmt: skip
        self._on_host: dict[str, NDArray[Any]] = {}
        self._shapes: dict[str, tuple[int, ...] | None] = {}

    @classmethod
    def load(cls, device: SharedDevice, request: Mapping[str, Any]) -> EngineRunner:
        """From a request with ``backend``, ``plan``, ``sha256`` and, if wanted, ``cuda_graphs``; checks the digest."""
        plan = read_plan(request)
        trt = load_tensorrt(request["backend"])
        loaded = deserialize(trt, plan, request["plan"], plugin_files(request))
        return cls(device, trt, loaded, request["plan"], cuda_graphs=bool(request.get("cuda_graphs")))

    def prepare(self, feed: Mapping[str, NDArray[Any]], profile: int | None = None) -> None:
        """Sets the shapes, puts the inputs into pinned memory and gives every tensor its address.

        Args:
            feed: Input name to array, in the CPU's memory.
            profile: The optimisation profile to take; the nearest that takes the shapes when left out.

        Raises:
            FeedError: An input is missing or of another kind, or no profile takes the shapes.
            BuildError: TensorRT refuses what was set.
        """
        missing = [port.name for port in self.interface.inputs if port.name not in feed]
        if missing:
            raise FeedError(f"the feed has no {', '.join(missing)}", place=self._place, hint="feed every input")
        arrays = {p.name: as_type(feed[p.name], p.dtype, p.name) for p in self.interface.inputs}
        shapes = asked_shapes(self.interface, arrays)
        profiles = self.interface.profiles
        if profile is not None:
            choose_profile(profiles[profile : profile + 1], shapes, f"{self._place}, profile {profile}")
            self._take_profile(profile)
        elif profiles:
            self._take_profile(choose_profile(profiles, shapes, self._place))
        for port in self.interface.inputs:
            self._set_input(port, arrays[port.name])
        unknown = self._context.infer_shapes()
        if unknown:
            raise BuildError(f"TensorRT does not know the shapes of {', '.join(unknown)}", place=self._place)
        for port in self.interface.outputs:
            self._set_output(port)
        if self._captures:
            self._capture(arrays)

    def call(self) -> dict[str, float]:
        """Copies the inputs, computes, copies the outputs, and waits.

        Returns:
            Milliseconds: ``total`` by the CPU's clock; ``host_to_device``, ``compute`` and ``device_to_host`` between
            CUDA events; ``enqueue``, the CPU's time to submit the work.
        """
        started = time.perf_counter()
        sent, ready, computed, returned = self._events
        sent.record(self._stream)
        self._send()
        ready.record(self._stream)
        before = time.perf_counter()
        self._launch()
        enqueued = time.perf_counter()
        computed.record(self._stream)
        for port in self.interface.outputs:
            if not port.on_host:
                self._fetch(port)
        returned.record(self._stream)
        returned.synchronize()
        ended = time.perf_counter()
        for buffer in self._buffers.values():
            buffer.release_retired()
        return {
            "total": (ended - started) * 1e3,
            "host_to_device": float(sent.time_till(ready)),
            "compute": float(ready.time_till(computed)),
            "device_to_host": float(computed.time_till(returned)),
            "enqueue": (enqueued - before) * 1e3,
        }

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Copies of the outputs of the last call."""
        return {
            port.name: self._on_host[port.name].copy()
            if port.on_host
            else self._buffers[port.name].array(port.dtype, self._shape_of(port))
            for port in self.interface.outputs
        }

    def close(self) -> None:
        """Gives everything back while the CUDA context is still current."""
        self._stream.synchronize()
        self._drop_graph()
        self._context = self._loaded = None
        for buffer in self._buffers.values():
            buffer.free()
        self._events, self._stream = [], None

    # ------------------------------------------------------------------------------------------------------ setting up

    def _take_profile(self, number: int) -> None:
        if number == self.profile:
            return
        if not self._context.set_optimization_profile_async(number, self._stream.handle):
            raise BuildError(f"TensorRT does not take optimisation profile {number}", place=self._place)
        self._stream.synchronize()  # the switch may copy in its stream
        self.profile = number

    def _set_input(self, port: Port, array: NDArray[Any]) -> None:
        if not self._context.set_input_shape(port.name, tuple(array.shape)):
            raise BuildError(f"TensorRT does not take shape {array.shape} for {port.name}", place=self._place)
        if port.on_host:
            self._room_on_host(port, array.shape)[...] = array  # kept: TensorRT reads it at every enqueue
            address = self._on_host[port.name].ctypes.data
        else:
            self._buffers[port.name].stage(array)
            address = self._buffers[port.name].address
        self._set_address(port, address)

    def _set_output(self, port: Port) -> None:
        shape = tuple(int(d) for d in self._context.get_tensor_shape(port.name))
        depends = any(d < 0 for d in shape)
        self._shapes[port.name] = None if depends else shape
        if port.on_host:
            if depends:
                raise BuildError(f"the size of the shape tensor {port.name} depends on data", place=self._place)
            self._set_address(port, self._room_on_host(port, shape).ctypes.data)
        elif depends:
            if not self._context.set_output_allocator(port.name, self._allocators[port.name]):
                raise BuildError(f"TensorRT takes no output allocator for {port.name}", place=self._place)
        else:
            buffer = self._buffers[port.name]
            self._set_address(port, buffer.reserve(math.prod(shape) * port.dtype.itemsize))
            buffer.pin()

    def _room_on_host(self, port: Port, shape: tuple[int, ...]) -> NDArray[Any]:
        """A shape tensor's memory; the same as before where the shape is, so that a captured graph lasts."""
        import numpy as np

        held = self._on_host.get(port.name)
        if held is None or held.shape != shape:
            held = self._on_host[port.name] = np.zeros(shape, port.dtype)
        return held

    def _set_address(self, port: Port, address: int) -> None:
        if not self._context.set_tensor_address(port.name, int(address)):
            raise BuildError(f"TensorRT does not take an address for {port.name}", place=self._place)

    # ------------------------------------------------------------------------------------------------------- launching

    def _send(self) -> None:
        for port in self.interface.inputs:
            if not port.on_host:
                self._buffers[port.name].to_device(self._stream)

    def _enqueue(self) -> bool:
        return bool(self._context.execute_async_v3(self._stream.handle))

    def _launch(self) -> None:
        done = self._captured.launch() if self._captured is not None else self._enqueue()
        failure = next((a.failure for a in self._allocators.values() if a.failure is not None), None)
        if not done or failure is not None:
            raise BuildError(
                f"TensorRT did not run the engine{f': {failure}' if failure else ''}",
                place=self._place,
                hint="its log has the reason; often memory",
            )

    def _fetch(self, port: Port) -> None:
        """Copies one output; one whose size depends on data has its size now, for the enqueue has returned."""
        buffer = self._buffers[port.name]
        buffer.used = math.prod(self._shape_of(port)) * port.dtype.itemsize
        buffer.to_host(self._stream)

    def _shape_of(self, port: Port) -> tuple[int, ...]:
        shape = self._shapes[port.name]
        if shape is None:
            shape = self._allocators[port.name].shape
        if shape is None:
            raise BuildError(f"TensorRT did not say the shape of {port.name}", place=self._place)
        return shape

    def _capture(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Captures the enqueue anew when anything that a graph holds has changed; says why where it cannot."""
        holds = self._held_by_a_graph(arrays)
        if holds == self._captured_for:
            return
        self._drop_graph()
        self._captured_for = holds
        if any(shape is None for shape in self._shapes.values()):
            self.graph = "no: an output's size depends on data"
            return
        self._send()  # never run on what happens to lie there: an index out of range can break the context
        self._launch()  # TensorRT sets itself up for new shapes in the first enqueue, which is no work for a graph
        self._stream.synchronize()
        try:
            self._captured = CapturedGraph(self._stream.handle, self._enqueue)
            self.graph = "captured"
        except BuildError as error:
            self.graph = f"no: {error.message}"

    def _held_by_a_graph(self, arrays: Mapping[str, NDArray[Any]]) -> object:
        """Profile, shapes, addresses, and values of shape tensors."""
        fixed = [p.name for p in self.interface.ports if not p.on_host and self._shapes.get(p.name, ()) is not None]
        return (
            self.profile,
            tuple((name, array.shape) for name, array in arrays.items()),
            tuple(self._buffers[name].address for name in fixed),
            tuple(arrays[p.name].tobytes() for p in self.interface.inputs if p.on_host),
            tuple(array.ctypes.data for array in self._on_host.values()),
        )

    def _drop_graph(self) -> None:
        if self._captured is not None:
            self._captured.free()
        self._captured = self._captured_for = None
