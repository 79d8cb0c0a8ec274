"""A back end with python-socketio's manager for Redis, which only writes: `announce.py URL`. What it shall emit comes
in by lines, `{"event", "data", "room", "skip"}`, and each line is answered by one, when Redis has the message.
"""

import json
import sys

import socketio


def main():
    manager = socketio.RedisManager(sys.argv[1], write_only=True)
    for line in sys.stdin:
        order = json.loads(line)
        manager.emit(order["event"], order["data"], namespace="/max", room=order["room"], skip_sid=order.get("skip"))
        print("emitted", flush=True)


if __name__ == "__main__":
    main()
