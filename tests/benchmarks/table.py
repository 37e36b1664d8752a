"""All paired benchmarks, one markdown table.

python tests/benchmarks/table.py            # about half an hour on two idle cores
python tests/benchmarks/table.py supcon mixup
"""

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.paired import HEADER

NAMES = ("supcon", "mixup", "encoder", "store", "startup", "trials", "trainings", "demo")


def main() -> None:
    """Print each line as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="which; all by default")
    print(HEADER, flush=True)
    for name in parser.parse_args().names or NAMES:
        for line in importlib.import_module(f"tests.benchmarks.bench_{name}").lines():
            print(line, flush=True)


if __name__ == "__main__":
    main()
