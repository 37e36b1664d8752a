"""Errors as people see them: one red line on stderr, and where --verbose asks for it, whence."""

import sys
import traceback

_SHOWN = {"tracebacks": False}


def show_tracebacks(shown: bool) -> None:
    """From here on, `complain` also says where in the code an error came from, or does not."""
    _SHOWN["tracebacks"] = shown


def complain(text: str) -> None:
    """Print an error; called while one is handled, its traceback can follow."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, stderr=True)
    console.print(Text(text, style="red"), soft_wrap=not console.is_terminal)
    if _SHOWN["tracebacks"] and sys.exc_info()[0] is not None:
        traceback.print_exc()
