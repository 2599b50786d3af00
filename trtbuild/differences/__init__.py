"""What changed between two plans or two ONNX files, in words.

``graphs.py`` compares ONNX files, with the nodes that ``matching.py`` pairs and the values that ``constants.py``
reads; ``words.py`` says what was found.
"""

from __future__ import annotations

from pathlib import Path

from trtbuild.artifacts import Difference
from trtbuild.differences.graphs import diff_onnx
from trtbuild.differences.words import headline, in_words


def diff(before: Path | str, after: Path | str) -> Difference:
    """Compares two ONNX files, or two plans, by what their names end in.

    Args:
        before: The first file.
        after: The second file.

    Returns:
        What changed, the most important first; ``in_words`` tells it.

    Raises:
        InvalidOnnxError: One of them is not a sound ONNX file.
        IntegrityError: One of them is not a plan, or not the one that its description names.
        UsageError: One is ONNX and the other is not.
    """
    one, other = Path(before), Path(after)
    return diff_onnx(one, other)


__all__ = ["diff", "headline", "in_words"]
