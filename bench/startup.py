"""How long `trtbuild --help` takes beside a bare `import click`, in one run; printed as Markdown."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 15
SUBJECTS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import click'": [sys.executable, "-c", "import click"],
    "trtbuild --help": [sys.executable, "-m", "trtbuild", "--help"],
    "trtbuild rules": [sys.executable, "-m", "trtbuild", "rules"],
}


def main() -> None:
    """Takes turns and prints the table."""
    taken: dict[str, list[float]] = {name: [] for name in SUBJECTS}
    for _ in range(ROUNDS):
        for name, words in SUBJECTS.items():
            started = time.perf_counter()
            subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
            taken[name].append(time.perf_counter() - started)
    base = statistics.median(taken["python -c 'import click'"])
    print(f"# Start-up, median of {ROUNDS} rounds in turn\n\n| command | ms | times import click |\n|---|---|---|")
    for name, times in taken.items():
        print(f"| `{name}` | {statistics.median(times) * 1e3:.0f} | {statistics.median(times) / base:.2f} |")


if __name__ == "__main__":
    main()
