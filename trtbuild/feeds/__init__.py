"""Samples from the user's readers: reading them, holding them against the model's inputs, making random ones.

A reader is a callable that yields feeds, or an object that holds them: dicts from input name to an array with its batch
axis, or pairs of a feed and labels (one a row). Arrays may be anything NumPy reads, torch tensors included.
"""

from trtbuild.feeds.checks import batch_axis, check_feed, check_within_profiles
from trtbuild.feeds.parts import checked, parts
from trtbuild.feeds.readers import RANDOM, hold_reader
from trtbuild.feeds.samples import JUDGE_EVERY, Sample, Samples, row_digests
from trtbuild.feeds.synthetic import random_feed, random_feeds

__all__ = [
    "JUDGE_EVERY",
    "RANDOM",
    "Sample",
    "Samples",
    "batch_axis",
    "check_feed",
    "check_within_profiles",
    "checked",
    "hold_reader",
    "parts",
    "random_feed",
    "random_feeds",
    "row_digests",
]
