"""HTTP/1.1 and graphql-transport-ws over plain sockets of the standard library, from a source address of one's own.

Knows nothing of the marketplace and does nothing for the server's sake: a client library would refuse to send most of
what an attack sends.
"""

import asyncio
import base64
import json
import os
import struct

PATIENCE = 30


class Refused(Exception):
    """The server ended the connection, or did not take it."""


async def connect(server, source):
    try:
        return await asyncio.wait_for(asyncio.open_connection(*server, local_addr=(source, 0), limit=1 << 22), PATIENCE)
    except (OSError, asyncio.TimeoutError) as error:
        raise Refused(str(error)) from error


class Http:
    """One connection that is kept alive, and opened again when the server has closed it."""

    def __init__(self, server, source):
        self.server, self.source, self.streams = server, source, None

    async def request(self, method, path, body=b"", headers=()):
        """The status and the body; `Refused` where there is no answer."""
        fresh = self.streams is None
        if fresh:
            self.streams = await connect(self.server, self.source)
        try:
            return await asyncio.wait_for(self._exchange(method, path, body, headers), PATIENCE)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, ValueError) as error:
            self.close()
            if fresh:
                raise Refused(str(error)) from error
        # It was closed while it was idle.
        return await self.request(method, path, body, headers)

    async def _exchange(self, method, path, body, headers):
        reader, writer = self.streams
        lines = [f"{method} {path} HTTP/1.1", "Host: attack.example", f"Content-Length: {len(body)}", *headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        if "transfer-encoding: chunked" in head:
            content = b""
            while size := int(await reader.readline(), 16):
                content += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        else:
            length = head.partition("content-length:")[2].partition("\r")[0].strip()
            content = await reader.readexactly(int(length or 0))
        if "connection: close" in head:
            self.close()
        return status, content

    async def graphql(self, query, variables=None, token=None, extra=None):
        """The answer as JSON, and its status."""
        headers = ["Content-Type: application/json", "Accept: application/json"]
        if token:
            headers.append(f"Authorization: Bearer {token}")
        body = json.dumps({"query": query, "variables": variables or {}, **(extra or {})}).encode()
        status, content = await self.request("POST", "/graphql", body, headers)
        try:
            return status, json.loads(content or b"{}")
        except ValueError:
            return status, {}

    def close(self):
        if self.streams:
            self.streams[1].close()
        self.streams = None


class Socket:
    """A WebSocket whose frames are masked with zeros."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, server, source, token=None, payload=None):
        reader, writer = await connect(server, source)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET /graphql HTTP/1.1\r\nHost: attack.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n".encode()
        )
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
            writer.close()
            raise Refused(str(error)) from error
        if b" 101 " not in head.split(b"\r\n")[0]:
            writer.close()
            raise Refused(head.decode("latin-1").split("\r\n")[0])
        socket = cls(reader, writer)
        payload = dict(payload or {}, **({"Authorization": f"Bearer {token}"} if token else {}))
        await socket.send({"type": "connection_init", "payload": payload})
        message = await socket.receive()
        if message.get("type") != "connection_ack":
            raise Refused(str(message))
        return socket

    async def send(self, message):
        await self.frame(0x81, message if isinstance(message, bytes) else json.dumps(message).encode())

    async def subscribe(self, number, query, variables=None):
        payload = {"query": query, "variables": variables or {}}
        await self.send({"id": str(number), "type": "subscribe", "payload": payload})

    async def frame(self, first, body=b""):
        await self.raw(frame(first, body))

    async def raw(self, data):
        try:
            self.writer.write(data)
            await asyncio.wait_for(self.writer.drain(), PATIENCE)
        except (OSError, asyncio.TimeoutError) as error:
            raise Refused(str(error)) from error

    async def receive(self):
        """The next message; pings are answered meanwhile. `Refused` at the end of the connection."""
        while True:
            try:
                first, second = await self.reader.readexactly(2)
                length = second & 0x7F
                if length == 126:
                    (length,) = struct.unpack(">H", await self.reader.readexactly(2))
                elif length == 127:
                    (length,) = struct.unpack(">Q", await self.reader.readexactly(8))
                body = await self.reader.readexactly(length)
            except (OSError, asyncio.IncompleteReadError) as error:
                raise Refused(str(error)) from error
            if first & 0x0F == 8:
                raise Refused(f"closed {struct.unpack('>H', body[:2])[0] if len(body) > 1 else ''}")
            if first & 0x0F == 9:
                await self.frame(0x8A, body)
                continue
            message = json.loads(body)
            if message.get("type") == "ping":
                await self.send({"type": "pong"})
                continue
            return message

    def close(self):
        self.writer.close()


def frame(first, body=b""):
    """A frame with this first byte, masked with zeros."""
    if len(body) < 126:
        head = bytes([first, 0x80 | len(body)])
    elif len(body) < 1 << 16:
        head = bytes([first, 0x80 | 126]) + struct.pack(">H", len(body))
    else:
        head = bytes([first, 0x80 | 127]) + struct.pack(">Q", len(body))
    return head + b"\0\0\0\0" + body
