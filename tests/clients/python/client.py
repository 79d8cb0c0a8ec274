"""One python-socketio client, driven from outside: its settings are the argument, as JSON; what it shall emit comes in
by lines, `{"emit": [event, data, ...], "ack": id or null}`; what it hears goes out by lines, `[event, data, ...]`.

JSON is the form on both sides because Python keeps its numbers as they were written. The end of the input disconnects.
"""

import json
import sys
import threading

import socketio


def main():
    settings = json.loads(sys.argv[1])
    namespace = settings["namespace"]
    client = socketio.Client(reconnection_delay=0.1, reconnection_delay_max=0.3, randomization_factor=0.05)
    # The library handles every message on a thread of its own.
    lock = threading.Lock()

    def say(*line):
        with lock:
            print(json.dumps(line), flush=True)

    client.on("connect", lambda: say("connect", client.transport()), namespace=namespace)
    client.on("disconnect", lambda reason: say("disconnect", reason), namespace=namespace)
    client.on("connect_error", lambda error: say("connect_error", text_of(error)), namespace=namespace)
    client.on("*", say, namespace=namespace)
    try:
        client.connect(
            settings["url"],
            auth=settings.get("auth"),
            transports=settings.get("transports"),
            namespaces=[namespace],
            wait_timeout=10,
        )
    except socketio.exceptions.ConnectionError:
        return  # The handler above has told it.
    for line in sys.stdin:
        order = json.loads(line)
        event, *data = order["emit"]
        client.emit(event, tuple(data), namespace=namespace, callback=answer_to(order["ack"], say))
    client.disconnect()


def answer_to(ack, say):
    """What takes the ack of an event, where one is wanted."""
    return None if ack is None else lambda data=None: say("ack", ack, data)


def text_of(error):
    """What a refusal says, which is an object from the server and a text from the library."""
    return error.get("message") if isinstance(error, dict) else str(error)


if __name__ == "__main__":
    main()
