"""Who gets the alarms in these tests: a mail server and an HTTP server, on loopback, that can be told to misbehave."""

import email
import email.policy
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller

PATIENCE = 90.0  # seconds


def await_that(condition, what):
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.05)
    return found


class Hooks:
    """`status` is what it answers, `hang` makes it answer nothing; `got` is all that came, `taken` what it said 2xx to."""

    def __init__(self, port=0, tls=None):
        self.status = 200
        self.hang = threading.Event()
        self.got = []
        self.taken = []
        self.headers = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.headers.append(dict(self.headers))
                outer.got.append(body)
                if outer.hang.is_set():
                    outer.released.wait(PATIENCE)
                    return
                status = outer.status
                if 200 <= status < 300:
                    outer.taken.append(body)
                answer = b"understood" if status == 200 else b"not now: " + str(self.headers["Authorization"]).encode()
                self.send_response(status)
                if status in {301, 302, 307}:
                    self.send_header("Location", f"http://127.0.0.1:{outer.port}/elsewhere")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_arguments):
                pass

        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/alarms"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_raised):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def alarms(self, **wanted):
        """The alarms that it took, with these values."""
        return [
            alarm
            for body in self.taken
            for alarm in body["alarms"]
            if all(alarm[key] == value for key, value in wanted.items())
        ]

    def await_alarms(self, count=1, **wanted):
        return await_that(
            lambda: (found := self.alarms(**wanted)) and len(found) >= count and found,
            lambda: f"no {wanted}: {self.got}",
        )


class MailServer:
    """`refused`: addresses that it does not take; `down`: it takes nothing for now."""

    def __init__(self):
        self.refused = {}
        self.down = False
        self.got = []
        outer = self

        class Handler:
            async def handle_RCPT(self, server, session, envelope, address, options):
                if outer.down:
                    return "451 try again later"
                if address in outer.refused:
                    return outer.refused[address]
                envelope.rcpt_tos.append(address)
                return "250 OK"

            async def handle_DATA(self, server, session, envelope):
                message = email.message_from_bytes(envelope.content, policy=email.policy.default)
                outer.got.append((tuple(envelope.rcpt_tos), message))
                return "250 taken"

        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._controller = Controller(Handler(), hostname="127.0.0.1", port=self.port)

    def __enter__(self):
        self._controller.start()
        return self

    def __exit__(self, *_raised):
        self._controller.stop()

    def await_mails(self, count):
        return await_that(lambda: len(self.got) >= count and self.got, lambda: f"{len(self.got)} of {count} mails")
