"""Lock-step: every subject runs in every round, so that a machine that drifts favours none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

Call = Mapping[str, float]
Turn = Callable[[int], Sequence[Call]]
"""Runs so many calls; returns the milliseconds of each, in ``total`` and by phase."""


def orders(subjects: int) -> Iterator[list[int]]:
    """Endless orders of a round.

    Each pair of rounds goes there and back, so that over the pair every subject runs at the same mean position, and a
    steady drift cancels; from pair to pair the first one moves on, so that no subject always follows the same one.
    """
    pair = 0
    while True:
        forward = [(pair + n) % subjects for n in range(subjects)]
        yield forward
        yield forward[::-1]
        pair += 1


def take_turns(
    turns: Sequence[Turn], *, warm_up: int, runs: int, turn: int, on_round: Callable[[int], None] = lambda _runs: None
) -> list[list[Call]]:
    """Measures subjects in rounds.

    Args:
        turns: One a subject.
        warm_up: Calls of each subject before the first round; they are not counted.
        runs: Calls of each subject that are.
        turn: Calls a subject has in a round. One more goes before them and is not counted: it finds the caches and the
            threads of the subject before it.
        on_round: Told how many calls of each subject have been counted.

    Returns:
        The counted calls of each subject.
    """
    for take in turns:
        take(warm_up) if warm_up else None
    counted: list[list[Call]] = [[] for _ in turns]
    done = 0
    for order in orders(len(turns)):
        calls = min(turn, runs - done)
        if calls <= 0:
            break
        for index in order:
            counted[index] += list(turns[index](1 + calls))[1:]
        done += calls
        on_round(done)
    return counted
