"""The run path, end to end, touches only names that each release has. Fakes stand for all of them: nothing here is
about a GPU, and what is asserted besides is our own order of doing things."""

import numpy as np
import pytest
from fake_runtime import Cuda, Driver, RunningTensorRT
from fake_tensorrt import RELEASES

from trtbuild.content import file_digest
from trtbuild.enginerun import graphs
from trtbuild.enginerun.loading import deserialize, plugin_files
from trtbuild.enginerun.runner import EngineRunner
from trtbuild.enginerun.sharing import SharedDevice
from trtbuild.errors import BuildError, FeedError, IntegrityError


def feed(rows, k=0, seed=0):
    x = np.random.default_rng(seed).uniform(-9, 9, (rows, 4)).astype(np.float32)
    return {"x": x, "k": np.array([k])}


def runner_of(trt, **options):
    return EngineRunner(SharedDevice(Cuda(), "none", "0", "8.9"), trt, deserialize(trt, b"engine", "p"), "p", **options)


def holds(runner, fed):
    got = runner.outputs()
    np.testing.assert_array_equal(got["y"], 2 * fed["x"])
    np.testing.assert_array_equal(got["found"], fed["x"][fed["x"] > fed["k"][0]])


@pytest.fixture(params=sorted(RELEASES))
def trt(request):
    return RunningTensorRT(request.param)


def test_shapes_profiles_and_outputs_of_unknown_size(trt):
    runner = runner_of(trt)
    for number, (rows, k) in enumerate([(2, 0), (8, 3), (64, 0), (1, 9), (99, 2), (2, 0)]):
        fed = feed(rows, k, number)
        runner.prepare(fed)
        times = runner.call()
        assert set(times) == {"total", "host_to_device", "compute", "device_to_host", "enqueue"}
        holds(runner, fed)
    assert [what for what in trt.did if what[0] == "profile"] == [("profile", p) for p in (0, 1, 0, 1, 0)]
    runner.close()
    assert {"IExecutionContext.execute_async_v3", "ICudaEngine.get_tensor_profile_values"} <= trt._touched


def test_an_output_of_unknown_size_is_no_work_for_a_graph(trt, monkeypatch):
    monkeypatch.setattr(graphs, "_import_driver", lambda: pytest.fail("it was captured"))
    runner = runner_of(trt, cuda_graphs=True)
    fed = feed(3)
    runner.prepare(fed)
    runner.call()
    holds(runner, fed)
    rtx = hasattr(trt, "CudaGraphStrategy")
    assert runner.graph == ("built in" if rtx else "no: an output's size depends on data")
    assert (trt.config is not None) is rtx


@pytest.mark.parametrize(
    "gone", ["IExecutionContext.infer_shapes", "IExecutionContext.set_output_allocator", "Runtime"]
)
def test_a_name_that_a_release_loses_breaks_it_loudly(gone):
    trt = RunningTensorRT(min(RELEASES), without=[gone])

    def run():
        runner = runner_of(trt)
        runner.prepare(feed(2))

    with pytest.raises(AttributeError, match=gone.rpartition(".")[2]):
        run()


@pytest.fixture
def fixed(monkeypatch):
    """An engine without the output of unknown size, and the driver its graphs go to."""
    import fake_runtime

    monkeypatch.setattr(fake_runtime, "PORTS", {n: t for n, t in fake_runtime.PORTS.items() if n != "found"})
    trt = RunningTensorRT("tensorrt-11.4.0.106")
    runner = runner_of(trt, cuda_graphs=True)
    driver = Driver(trt, lambda: runner._context)
    monkeypatch.setattr(graphs, "_import_driver", lambda: driver)
    return trt, runner, driver


def test_a_graph_is_captured_after_one_plain_run_and_anew_when_what_it_holds_changes(fixed):
    trt, runner, driver = fixed
    runs = []
    for rows, k, seed in [(2, 0, 0), (2, 0, 1), (8, 0, 2), (8, 1, 3), (2, 1, 4), (64, 1, 5), (8, 1, 6)]:
        fed = feed(rows, k, seed)
        runner.prepare(fed)
        for _ in range(2):
            runner.call()
        np.testing.assert_array_equal(runner.outputs()["y"], 2 * fed["x"])
        assert runner.graph == "captured"
        runs.append(len([did for did in trt.did if did[0] == "run"]))
    # new shapes, and another value of a shape tensor, bring one plain run and a capture; new data brings neither
    assert runs == [1, 1, 2, 3, 4, 5, 6]
    assert driver.launches == 14
    runner.close()


def test_a_capture_that_fails_leaves_the_engine_running_and_says_why(fixed):
    _trt, runner, driver = fixed
    driver.cuStreamEndCapture = lambda stream: (_trt.capturing.pop(stream), (driver_status(), None))[1]
    fed = feed(2)
    runner.prepare(fed)
    runner.call()
    assert runner.graph == "no: the CUDA driver says CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
    np.testing.assert_array_equal(runner.outputs()["y"], 2 * fed["x"])


def driver_status():
    from fake_names import Value

    return Value("CUresult", "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", 900)


def test_wrong_feeds_are_errors_before_anything_runs(fixed):
    trt, runner, _driver = fixed
    with pytest.raises(FeedError, match="the feed has no k"):
        runner.prepare({"x": feed(2)["x"]})
    with pytest.raises(FeedError, match="profile 1"):
        runner.prepare(feed(100))
    with pytest.raises(FeedError, match="k is 10"):
        runner.prepare(feed(2, k=10))
    with pytest.raises(FeedError):
        runner.prepare(feed(2), profile=1)
    assert trt.did == []


def test_a_plan_that_does_not_load_is_an_integrity_error():
    trt = RunningTensorRT(min(RELEASES))
    with pytest.raises(IntegrityError, match="cannot load the plan"):
        deserialize(trt, b"another", "p")


def test_plug_ins_are_loaded_before_the_plan(tmp_path):
    files = [tmp_path / "good.so", tmp_path / "bad.so"]
    files[0].write_bytes(b"\x7fELF")
    files[1].write_bytes(b"not a library")
    trt = RunningTensorRT(min(RELEASES))
    assert deserialize(trt, b"engine", "p", [str(files[0])]).engine is not None
    assert {"init_libnvinfer_plugins", "IPluginRegistry.load_library"} <= trt._touched
    with pytest.raises(IntegrityError, match=r"bad\.so.*cannot load this plug-in"):
        deserialize(trt, b"engine", "p", [str(file) for file in files])


def test_a_plug_in_that_was_changed_is_not_loaded(tmp_path):
    library = tmp_path / "ours.so"
    library.write_bytes(b"one")
    request = {"plugins": [[str(library), file_digest(library)]]}
    assert plugin_files(request) == [str(library)]
    library.write_bytes(b"two")
    with pytest.raises(IntegrityError, match="the plug-in is not the one its manifest names"):
        plugin_files(request)


def test_an_enqueue_that_fails_is_an_error(trt, monkeypatch):
    runner = runner_of(trt)
    runner.prepare(feed(2))
    monkeypatch.setattr(type(runner._context), "execute_async_v3", lambda self, stream: False)
    with pytest.raises(BuildError, match="did not run the engine"):
        runner.call()
