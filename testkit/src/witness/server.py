"""Answers 200 to every request whose body it has read whole, and writes each down as a line of JSON."""

import http.server
import json
import sys
import threading

LOCK = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            whole = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                piece = self.rfile.read(size)
                if len(piece) < size:
                    raise EOFError
                whole += piece
                if self.rfile.readline() not in (b"\r\n", b"\n"):
                    raise ValueError
                if size == 0:
                    return whole
        length = int(self.headers.get("Content-Length", "0"))
        whole = self.rfile.read(length)
        if len(whole) < length:
            raise EOFError
        return whole

    def answer(self):
        try:
            body = self.body()
        except (EOFError, ValueError, OSError):
            self.close_connection = True
            return
        seen = {"line": f"{self.command} {self.path}", "body": body.decode("latin-1"), "status": "200"}
        with LOCK, open(sys.argv[2], "a", encoding="utf-8") as log:
            log.write(json.dumps(seen) + "\n")
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"ok")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
