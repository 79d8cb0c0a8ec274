"""One client of python-socketio 5 or 4, driven from outside: its settings are the argument, as JSON; what it shall emit
comes in by lines, `{"emit": [event, data, ...], "ack": id or null}`; what it hears goes out by lines,
`[event, data, ...]`. Which of the two it is depends on the virtual environment that runs this file.

JSON is the form on both sides because Python keeps its numbers as they were written. The end of the input disconnects.
"""

import json
import sys
import threading
from importlib.metadata import version

import socketio

VERSION = version("python-socketio")
CONNECT_S_MAX = 10


class Ears(socketio.ClientNamespace):
    """Tells whatever comes in a namespace, and knows when the first answer to its connect is there."""

    def __init__(self, namespace, say):
        super().__init__(namespace)
        self.say = say
        self.answered = threading.Event()

    def trigger_event(self, event, *data):
        """What the library calls for every event, its own included."""
        if event == "connect":
            self.say(event, self.client.transport(), VERSION)
        elif event == "connect_error":
            self.say(event, text_of(*data))
        elif not event.startswith("__"):
            self.say(event, *data)
        if event in ("connect", "connect_error"):
            self.answered.set()


class PatientClient(socketio.Client):
    """Release 5, which gives up a connection whose namespace is not answered within a second, also when it comes back
    by itself, and may hang then: too short for a machine on which twenty clients come back at once."""

    def connect(self, *args, wait_timeout=CONNECT_S_MAX, **kwargs):
        super().connect(*args, wait_timeout=wait_timeout, **kwargs)


def main():
    settings = json.loads(sys.argv[1])
    namespace = settings["namespace"]
    # Before Engine.IO 4 a CONNECT carried no auth, and the library did not wait for the answer to it.
    is_4 = VERSION.startswith("4.")
    client_class = socketio.Client if is_4 else PatientClient
    client = client_class(reconnection_delay=0.1, reconnection_delay_max=0.3, randomization_factor=0.05)
    # The library handles every message on a thread of its own.
    lock = threading.Lock()

    def say(*line):
        with lock:
            print(json.dumps(line), flush=True)

    ears = Ears(namespace, say)
    client.register_namespace(ears)
    since_5 = {} if is_4 else {"auth": settings.get("auth")}
    try:
        client.connect(settings["url"], transports=settings.get("transports"), namespaces=[namespace], **since_5)
    except socketio.exceptions.ConnectionError as error:
        if not ears.answered.is_set():
            say("connect_error", str(error))
        return
    ears.answered.wait(CONNECT_S_MAX)
    for line in sys.stdin:
        order = json.loads(line)
        event, *data = order["emit"]
        client.emit(event, tuple(data), namespace=namespace, callback=answer_to(order["ack"], say))
    client.disconnect()


def answer_to(ack, say):
    """What takes the ack of an event, where one is wanted."""
    return None if ack is None else lambda data=None: say("ack", ack, data)


def text_of(error):
    """What a refusal says, which is an object from the server and a text from the library, or from older servers."""
    return error.get("message") if isinstance(error, dict) else str(error)


if __name__ == "__main__":
    main()
