"""What to write into the spec, in its own words, for what a spec can mend."""

from __future__ import annotations

from collections.abc import Sequence

from trtbuild.artifacts import Suspect, WrongEdit


def advice(
    suspects: Sequence[Suspect], output_db: float | None, cosine: float, edits: Sequence[WrongEdit] = ()
) -> tuple[str, ...]:
    """One line a suspect, with what it brings measured; none for one that brings nothing.

    Args:
        suspects: Worst first.
        output_db: SQNR of the worst output now, dB; None where it has NaN or Inf.
        cosine: Smallest mean cosine of an output now.
        edits: Rewrite edits that make the outputs differ; their rules come first.
    """
    said = [
        f"rewrite: {{skip: [{rule}]}}  # {', '.join(each.edit.node for each in edits if each.edit.rule == rule)}"
        for rule in dict.fromkeys(each.edit.rule for each in edits)
    ]
    scales = [s for s in suspects if s.cause == "bad scale" and _helps(s, output_db)]
    if scales:
        where = ", ".join(s.node for s in scales)
        first = _brings(scales[0], output_db, cosine)
        said.append(f"calibration: {{method: mse}}  # bad scales at {where}; the first alone: {first} at most")
    for suspect in suspects:
        brings = _brings(suspect, output_db, cosine)
        if suspect.cause == "overflow":
            said.append(f'precision_overrides: {{"{suspect.node}": fp32}}  # {brings}')
        elif suspect.cause in ("bad weight", "other weight", "swapped inputs"):
            return (*said, f"mend the model: {suspect.node}: {suspect.explanation}  # {brings}")
        elif suspect.cause == "other operators":
            if edits:
                return tuple(said)
            which = f"`trtbuild debug` of the reference alone names the rule that made {suspect.node}"
            return (*said, f"rewrite: {{skip: [...]}}: {which}  # {brings}")
        elif _helps(suspect, output_db):
            exact = f"{brings} if that were exact{_cost(suspect)}"
            said.append(f'precision_overrides: {{"{suspect.node}": fp16}}  # {exact}')
    return tuple(said)


def _helps(suspect: Suspect, output_db: float | None) -> bool:
    return output_db is not None and suspect.healed_db is not None and suspect.healed_db > output_db + 0.1


def _brings(suspect: Suspect, output_db: float | None, cosine: float) -> str:
    """The outputs now, and without the error that the suspect adds."""
    if output_db is None or suspect.healed_db is None:
        return f"cosine {cosine:.4f} -> {suspect.healed_cosine:.4f}"
    better = f"SQNR {output_db:.1f} -> {suspect.healed_db:.1f} dB"
    return f"cosine {cosine:.4f} -> {suspect.healed_cosine:.4f}, {better}"


def _cost(suspect: Suspect) -> str:
    share = suspect.estimated_time_share
    return "" if share is None else f", estimated {100 * (share - 1):+.1f} % time"
