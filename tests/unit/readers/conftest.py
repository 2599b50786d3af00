"""Readers that ship, read as a spec reads them: through ``Samples``."""

import pytest

from trtbuild.feeds import Samples


@pytest.fixture
def read(tmp_path):
    """Samples of a shipped reader for a model's inputs, with ``tmp_path`` as the spec's folder."""

    def samples(reader, inputs, limit=100, **args):
        return list(Samples(f"calibration/{reader}.py:batches", tuple(inputs), tmp_path, limit, args))

    return samples
