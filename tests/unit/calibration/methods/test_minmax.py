import numpy as np

from trtbuild.calibration.histogram import StreamingHistogram
from trtbuild.calibration.methods.minmax import threshold


def test_keeps_the_largest():
    histogram = StreamingHistogram()
    histogram.add(np.array([0.5, -7.25, 3], np.float32))
    assert threshold(histogram.result()) == 7.25
