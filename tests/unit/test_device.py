"""Reading nvidia-smi. A script stands in for it: what is tested is how its words are read, not what a GPU would say."""

import pytest

from trtbuild import device

ROW = "00000000:3B:00.0, Test GPU, 1410, 877, 1530, 249.50, 250.00, 71, 1024"


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Puts a nvidia-smi on the path that prints these lines, and knows these fields of clocks only."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def install(*lines, knows="clocks_event_reasons.active"):
        answer = "\n".join(f"echo '{line}'" for line in lines)
        script = (
            f'#!/bin/sh\ncase "$1" in\n*reasons*) case "$1" in *{knows}*) ;; *) exit 2 ;; esac ;;\nesac\n{answer}\n'
        )
        path = tmp_path / "nvidia-smi"
        path.write_text(script)
        path.chmod(0o755)

    return install


def test_without_nvidia_smi_there_is_no_state(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert device.states("before") == ()


def test_a_state_is_read(smi):
    smi(f"{ROW}, 0x0000000000000000")
    (state,) = device.states("warm")
    assert (state.moment, state.name, state.bus) == ("warm", "Test GPU", "00000000:3B:00.0")
    assert (state.sm_mhz, state.memory_mhz, state.sm_max_mhz) == (1410, 877, 1530)
    assert (state.power_w, state.power_limit_w, state.celsius, state.memory_used_mib) == (249.5, 250.0, 71, 1024)
    assert state.slowed_by == ()


@pytest.mark.parametrize(
    ("bits", "words"),
    [("0x0000000000000001", ()), ("0x0000000000000002", ()), ("0x0000000000000004", ("power cap",)),
     ("0x0000000000000048", ("hardware slowdown", "heat (hardware)")), ("[N/A]", ())],
)  # fmt: skip
def test_reasons_for_slow_clocks_are_words(smi, bits, words):
    smi(f"{ROW}, {bits}")
    assert device.states("after")[0].slowed_by == words


def test_an_old_driver_calls_the_reasons_otherwise(smi):
    smi(f"{ROW}, 0x0000000000000004", knows="clocks_throttle_reasons.active")
    assert device.states("after")[0].slowed_by == ("power cap",)


def test_what_a_gpu_does_not_say_is_none(smi):
    smi("00000000:3B:00.0, Test GPU, [N/A], [Not Supported], 1530, [N/A], 250.00, 71, 1024, 0x0")
    (state,) = device.states("before")
    assert (state.sm_mhz, state.memory_mhz, state.power_w, state.sm_max_mhz) == (None, None, None, 1530)


def test_one_gpu_of_several_is_found_by_its_bus_however_the_domain_is_written(smi):
    smi(f"{ROW}, 0x0", ROW.replace("3B", "AF").replace("Test", "Other") + ", 0x0")
    assert [s.name for s in device.states("before", ("0000:af:00.0",))] == ["Other GPU"]
    assert len(device.states("before")) == 2
