from trtbuild.artifacts import Target
from trtbuild.recipes.engines import _folder_names, _toolchain_of


def test_a_triton_folder_has_a_name_of_its_own_for_each_tensorrt():
    rtx, ten, eleven, other = (
        ("tensorrt_rtx", "1.7.1.116"), ("tensorrt", "10.16.0.72"), ("tensorrt", "11.4.0.1"), ("tensorrt", "10.0.1.6"),
    )  # fmt: skip
    assert _folder_names("net", [rtx]) == {rtx: "net"}
    assert _folder_names("net", [rtx, ten]) == {rtx: "net_tensorrt_rtx", ten: "net_tensorrt"}
    assert _folder_names("net", [ten, eleven]) == {ten: "net_tensorrt10", eleven: "net_tensorrt11"}
    assert _folder_names("net", [ten, other]) == {ten: "net_tensorrt10.16.0.72", other: "net_tensorrt10.0.1.6"}


def test_the_versions_of_the_interpreter_that_builds_are_in_the_key(tmp_path):
    """A script stands for two interpreters, whose TensorRT no machine of ours has."""
    found = []
    for version in ("10.16.0.72", "11.4.0.1"):
        python = tmp_path / version
        python.write_text(
            "#!/bin/sh\n"
            f'echo \'{{"version": [3, 12], "distributions": {{"tensorrt": "{version}"}}, '
            f'"packages": {{"tensorrt": "{version}"}}}}\'\n'
        )
        python.chmod(0o755)
        found.append(_toolchain_of(Target("h100", "tensorrt", "9.0", python=str(python))))
    assert [f["tensorrt"] for f in found] == ["10.16.0.72", "11.4.0.1"]
    assert found[0]["interpreter"] == "3.12"
    here = _toolchain_of(Target("h100", "tensorrt", "9.0"))
    assert "interpreter" not in here
    assert here["tensorrt"] not in ("10.16.0.72", "11.4.0.1")
