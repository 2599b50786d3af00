"""One calibration method a file: a module with ``threshold(histogram)``, the largest |x| to keep."""
