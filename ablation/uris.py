"""Addresses without their secrets, for every text that a user, a file or a log gets to see."""

import re
from collections.abc import Iterator

HIDDEN = "***"

_RUN = re.compile(r"\S+")
_AUTHORITY = re.compile(r"://(?!/)")  # three slashes: a path follows, as in sqlite:///runs/x.db
# A user name and then what can't be a port: a password in which white space may stand.
_OPEN_PASSWORD = re.compile(r"://[^\s:/@\[]*:(?!\d+(?:[/?#.,;:)'\"]|$))")
_SECRET_NAME = "password|passwd|passphrase|pwd|token|secret|credential|signature|api_?key"
_PARAMETER = re.compile(
    # The look-behind lets a name be tried at its start only: linear time on hostile text.
    rf"(?<![\w.-])(?=[\w.-]*?(?:{_SECRET_NAME}|access_?key|odbc_connect))"
    r"[\w.-]++=((?:'[^'\n]*')?[^&\s]*)",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """The text with the secrets of all addresses in it replaced by `***`.

    Replaced are what stands before the `@` of `scheme://user:password@host` or `scheme://token@host`
    (mistyped schemes too), and the values of parameters whose name tells of a secret, such as
    `password=` and `access_token=`. In doubt, too much is replaced: what follows the last `@` of a
    word is the host. Takes time in proportion to the text.
    """
    parts: list[str] = []
    reached = 0
    parameters = (match.span(1) for match in _PARAMETER.finditer(text))
    for start, end in sorted([*_users(text), *parameters]):
        if start > reached or not parts:
            parts += [text[reached:start], HIDDEN]
        reached = max(reached, end)
    return "".join([*parts, text[reached:]])


def _users(text: str) -> Iterator[tuple[int, int]]:
    """Where user names and passwords stand, from the first character to the `@`."""
    offset = 0
    for line in text.splitlines(keepends=True):
        position, last = 0, line.rfind("@")
        while position <= last and (run := _RUN.search(line, position)):
            position = run.end()
            at = line.rfind("@", run.start(), position)
            start = _user_start(line[run.start() : at]) if at >= 0 else None
            if start is not None:
                yield offset + run.start() + start, offset + at
            opened = _OPEN_PASSWORD.search(line, max(at, run.start()), position)
            if opened and position <= last:
                end = _RUN.match(line, line.index("@", position))
                assert end is not None
                position = end.end()
                yield offset + opened.start() + 3, offset + line.rindex("@", 0, position)
        offset += len(line)


def _user_start(before: str) -> int | None:
    """Where in a word up to its last `@` a user begins; None where it is no address."""
    if authority := _AUTHORITY.search(before):
        return authority.end()
    mistyped = "://" not in before and (":" in before or "//" in before)
    return 0 if mistyped else None
