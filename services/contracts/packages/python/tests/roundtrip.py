"""Reads every message below the folder that is given, and writes it again: nothing may be different."""

import json
import sys
from pathlib import Path

from todo_contracts import CLASSES, Envelope


def main() -> int:
    failed = 0
    files = sorted(Path(sys.argv[1]).glob("*/*.json"))
    for file in files:
        wire = json.loads(file.read_text(encoding="utf-8"))
        envelope = Envelope.from_dict(wire)
        envelope.data = CLASSES[envelope.type].from_dict(envelope.data).to_dict()
        if envelope.to_dict() != wire:
            failed = 1
            print(f"{file}: read as something else: {envelope.to_dict()}", file=sys.stderr)
    # What is wrong must not pass as right.
    try:
        CLASSES["todo.task.completed.v1"].from_dict({"task_id": 7})
    except AssertionError:
        pass
    else:
        raise SystemExit("a number passes as an id")
    print(f"{len(files)} messages")
    return failed


if __name__ == "__main__":
    sys.exit(main())
