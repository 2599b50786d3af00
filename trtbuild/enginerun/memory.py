"""Memory of one engine's inputs and outputs: pinned on the host, and on the device. Not run on a GPU by us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Buffer:
    """One tensor's memory on both sides. It grows and never shrinks, so that its address lasts while shapes repeat.

    Args:
        cuda: The module ``pycuda.driver``.
    """

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._device: Any = None
        self._device_bytes = 0
        self._host: Any = None
        self._retired: list[Any] = []
        self.used = 0

    @property
    def address(self) -> int:
        """Where it lies on the device."""
        return int(self._device)

    @property
    def bytes(self) -> NDArray[Any]:
        """The bytes in use, in pinned memory."""
        return self._host[: self.used]  # type: ignore[no-any-return]

    def reserve(self, size: int) -> int:
        """Makes room on the device; returns the address.

        What was there before is kept until ``release_retired``: work that is under way may still use it.
        """
        self.used = size
        if self._device is None or size > self._device_bytes:
            if self._device is not None:
                self._retired.append(self._device)
            self._device_bytes = max(size, 1)  # an empty tensor needs an address, too
            self._device = self._cuda.mem_alloc(self._device_bytes)
        return self.address

    def pin(self) -> None:
        """Makes room for the bytes in use in pinned memory: only from there do copies run beside other work."""
        import numpy as np

        if self._host is None or self._host.size < self.used:
            self._host = self._cuda.pagelocked_empty(max(self.used, 1), np.uint8)

    def stage(self, array: NDArray[Any]) -> None:
        """Puts an array into pinned memory, and makes room for it on the device."""
        import numpy as np

        self.reserve(array.nbytes)
        self.pin()
        self.bytes[:] = array.reshape(-1).view(np.uint8)

    def to_device(self, stream: Any) -> None:
        """Copies the bytes in use to the device, in the stream's order."""
        if self.used:
            self._cuda.memcpy_htod_async(self._device, self.bytes, stream)

    def to_host(self, stream: Any) -> None:
        """Copies the bytes in use from the device, in the stream's order."""
        self.pin()
        if self.used:
            self._cuda.memcpy_dtoh_async(self.bytes, self._device, stream)

    def array(self, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        """A copy of the bytes in use as an array."""
        copied: NDArray[Any] = self.bytes.copy().view(dtype).reshape(shape)
        return copied

    def release_retired(self) -> None:
        """Frees what was outgrown; nothing may be under way."""
        self._retired.clear()

    def free(self) -> None:
        """Frees everything."""
        self.release_retired()
        self._device = self._host = None
        self._device_bytes = 0


def output_allocator(trt: Any, buffer: Buffer) -> Any:
    """A ``trt.IOutputAllocator`` for one output whose size depends on the data.

    TensorRT asks it for memory while it enqueues, and tells it the shape before the enqueue returns: ``shape`` then.
    It may not raise into TensorRT, so ``failure`` holds what went wrong.
    """

    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.shape: tuple[int, ...] | None = None
            self.failure: Exception | None = None

        def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
            del tensor_name, memory
            try:
                address = buffer.reserve(int(size))
                if address % max(int(alignment), 1):  # cuMemAlloc aligns to 256 and more
                    raise MemoryError(f"the address {address} is no multiple of {alignment}")
            except Exception as error:  # noqa: BLE001 - None means failure to TensorRT, and the caller raises it
                self.failure = error
                return 0
            return address

        def reallocate_output_async(self, tensor_name: str, memory: int, size: int, alignment: int, stream: int) -> int:
            del stream
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            del tensor_name
            self.shape = tuple(int(d) for d in shape)

    return Allocator()
