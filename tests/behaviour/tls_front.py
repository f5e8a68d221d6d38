#!/usr/bin/env python3
"""Runs a command with a server's https front at hand.

    tls_front.py NAME FOLDER HOST:PORT COMMAND…

The front's certificate is for NAME and lies in FOLDER; what comes in goes to HOST:PORT unencrypted. In COMMAND, {url} is
the front's address at localhost, {ca} the certificate that vouches for it and {other} one that does not.
"""

import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path


def certificate(folder, file, name):
    key, made = folder / f"{file}.key", folder / f"{file}.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", made],
                   check=True, capture_output=True)
    return made, key


def pump(source, sink):
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        sink.close()


def serve(listener, context, backend):
    while True:
        plain, _ = listener.accept()
        try:
            front = context.wrap_socket(plain, server_side=True)
        except (ssl.SSLError, OSError):  # the other side does not trust it
            plain.close()
            continue
        back = socket.create_connection(backend)
        for ends in ((front, back), (back, front)):
            threading.Thread(target=pump, args=ends, daemon=True).start()


def main():
    name, folder, backend, *command = sys.argv[1:]
    host, port = backend.rsplit(":", 1)
    made, key = certificate(Path(folder), "front", name)
    other, _ = certificate(Path(folder), "other", name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener, context, (host, int(port))), daemon=True).start()
    words = {"url": f"https://localhost:{listener.getsockname()[1]}/v1", "ca": made, "other": other}
    return subprocess.run([word.format(**words) for word in command]).returncode


if __name__ == "__main__":
    sys.exit(main())
