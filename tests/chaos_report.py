"""Kill a small study hundreds of times and report what came of it.

    python tests/chaos_report.py --kills 200 --seed 1 --out report.md

Trials, drivers, nodes and everything at once, at random moments. The exit status is 0 where the
study ended with the figures of an undisturbed run, no fold lost and none doubled, and else 1.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.chaos import SHARES, Chaos, Kill, described, planned  # noqa: E402
from tests.damage import Damage, damage  # noqa: E402
from tests.small_study import FOLDS, Study, run_undisturbed  # noqa: E402

EPOCHS_PER_KILL = 10  # O: of all folds together, so that the study does not end before the kills


def report(chaos: Chaos, harm: Damage, expected: int) -> str:
    """The whole story as markdown."""
    needed = FOLDS * chaos.study.epochs
    figures = "no" if any(text.startswith("figure") for text in harm.other) else "yes"
    lines = [
        f"# A study under {len(chaos.kills)} kills",
        "",
        f"{FOLDS} folds of {chaos.study.epochs} epochs on synthetic speech, seed {chaos.seed}.",
        "",
        "| | |",
        "|---|---:|",
        f"| kills | {len(chaos.kills)} of {expected} |",
        f"| starts of the driver | {chaos.starts} |",
        f"| ends by itself with an error | {len(chaos.own_ends)} |",
        f"| epochs trained to their end | {chaos.epochs} of {needed} needed |",
        f"| of these more than once | {chaos.epochs / needed - 1:.1%} |",
        f"| wall time, undisturbed | {chaos.pace.wall_s:.0f} s |",
        f"| wall time, killed | {chaos.wall_s:.0f} s |",
        f"| folds lost | {len(harm.lost)} |",
        f"| folds or values doubled | {len(harm.doubled)} |",
        f"| every figure of results.json as undisturbed | {figures} |",
        f"| other faults | {len(harm.other) + len(chaos.faults)} |",
        "",
        *kinds_table(chaos.kills),
    ]
    faults = [*chaos.faults, *chaos.own_ends, *harm.lost, *harm.doubled, *harm.other]
    if faults:
        lines += ["", "## Faults", "", *(f"- {' '.join(fault.split())}" for fault in faults)]
    lines += ["", "## Every kill", "", "```text"]
    lines += [
        f"{number:4} {kill.at_s:8.1f} s  {described(kill)}"
        for number, kill in enumerate(chaos.kills, start=1)
    ]
    return "\n".join([*lines, "```", ""])


def kinds_table(kills: list[Kill]) -> list[str]:
    """How often each kind, how the driver ended, and how long that took."""
    lines = [
        "| killed | times | the driver's exit status | until it ended, at most |",
        "|---|---:|---|---:|",
    ]
    for kind in ("trial", *SHARES):
        some = [kill for kill in kills if kill.kind == kind]
        statuses = Counter(kill.status for kill in some if kill.status is not None)
        told = ", ".join(f"{status} ({times})" for status, times in sorted(statuses.items()))
        longest = f"{max(kill.took_s for kill in some):.1f} s" if statuses else ""
        lines.append(f"| {kind} | {len(some)} | {told} | {longest} |")
    return lines


def main() -> int:
    """Kill, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--kinds", nargs="+", choices=("trial", *SHARES), help="exactly these")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="of each fold; by default enough for the kills")
    parser.add_argument("--out", type=Path, required=True, help="where the report goes")
    parser.add_argument("--folder", type=Path, help="keep the runs here")
    options = parser.parse_args()
    kinds = options.kinds or planned(options.kills, options.seed)
    epochs = options.epochs or max(20, EPOCHS_PER_KILL * len(kinds) // FOLDS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        undisturbed, study = Study(folder / "undisturbed", epochs), Study(folder / "killed", epochs)
        pace = run_undisturbed(undisturbed)
        print(f"undisturbed: {pace}", flush=True)
        chaos = Chaos(study, pace, options.seed, tell=lambda line: print(line, flush=True))
        chaos.run(kinds)
        harm = damage(study, undisturbed)
    options.out.write_text(report(chaos, harm, len(kinds)), encoding="utf-8")
    print(f"written: {options.out}")
    return 1 if harm or chaos.faults else 0


if __name__ == "__main__":
    sys.exit(main())
