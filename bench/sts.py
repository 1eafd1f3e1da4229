"""A stand-in for AWS STS: it gives whoever asks a session of an hour."""

import contextlib
import itertools
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 18078
NUMBERS = itertools.count()
REPLY = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleResult><Credentials><AccessKeyId>ASIABENCH{number:011}</AccessKeyId>
<SecretAccessKey>wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY</SecretAccessKey>
<SessionToken>{token}</SessionToken><Expiration>{expiration}</Expiration></Credentials>
</AssumeRoleResult><ResponseMetadata><RequestId>bench-{number}</RequestId></ResponseMetadata>
</AssumeRoleResponse>"""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        expiration = datetime.now(UTC) + timedelta(hours=1)
        number = next(NUMBERS)
        # As long as AWS's tokens are.
        body = REPLY.format(number=number, token=f"{number:0>400}",
                            expiration=expiration.strftime("%Y-%m-%dT%H:%M:%SZ")).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def running(_core=None):
    """Runs it in a thread of this process, which has the callers' core."""
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
