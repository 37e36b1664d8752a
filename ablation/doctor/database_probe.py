"""Run as a program: read a database's address, try to connect, print what happened as JSON.

A process of its own, since a driver may hang; the address comes by stdin, where no list of
processes shows its password.
"""

import json
import sys

from sqlalchemy import create_engine, text


def fault_of(address: str) -> dict[str, str]:
    """Why the database can't be used, and the driver that is missing; both "" where neither is."""
    try:
        with create_engine(address).connect() as connection:
            connection.execute(text("select 1"))
    except ModuleNotFoundError as error:
        return {"fault": str(error), "missing": error.name or "its driver"}
    except Exception as error:  # whatever SQLAlchemy or the driver raises
        told = str(error).partition("(Background on this error")[0]  # a link, of no use here
        return {"fault": f"{type(error).__name__}: {told}", "missing": ""}
    return {"fault": "", "missing": ""}


if __name__ == "__main__":
    sys.stdout.write(f"\n{json.dumps(fault_of(sys.stdin.read()))}\n")
