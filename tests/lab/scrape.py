"""The page of metrics, as a reader gets it."""

import socket

import lab


def page(address, fields="", target="/metrics", method="GET"):
    """What the station answers: status, header and body."""
    with lab.inside("st-station"):
        connection = socket.create_connection(address, timeout=20)
    with connection:
        connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), head, body


def samples(text):
    """By series."""
    rows = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {series: float(value) for series, _, value in rows}
