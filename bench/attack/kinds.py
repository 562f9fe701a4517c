"""What a stranger does, each kind as one small function.

A kind runs from one address until it is cancelled and counts what it has sent (`attacker.sent()`), so that as many honest
requests can be sent in its place. Being refused is no failure: a refused attacker tries again, as fast as it may.
"""

import asyncio
import itertools
import json

from wire import Http, Refused, Socket, connect, frame


class Attacker:
    """One address, and what was made for it beforehand."""

    def __init__(self, server, source, stage):
        self.server, self.source, self.stage, self.count = server, source, stage, 0

    def sent(self, count=1):
        self.count += count

    async def many(self, width, work):
        """So many at the same time, each again and again."""

        async def again(number):
            while True:
                try:
                    await work(number)
                except (Refused, OSError):
                    self.sent()
                    await asyncio.sleep(0.05)

        await asyncio.gather(*(again(number) for number in range(width)))

    async def queries(self, width, make, token=None):
        """Operations over kept connections."""
        connections = [Http(self.server, self.source) for _ in range(width)]

        async def one(number):
            query, variables, extra = make(number)
            status, _ = await connections[number].graphql(query, variables, token, extra)
            self.sent()
            # A refusal says when to come back; an attacker comes a little earlier.
            await asyncio.sleep(0.05 if status == 429 else 0)

        await self.many(width, one)

    async def subscriptions(self, sockets, each, make, token=None):
        """Sockets with subscriptions that are kept, and sent again when they end."""

        async def one(number):
            socket = await Socket.open(self.server, self.source, token)
            numbers = itertools.count()
            try:
                for _ in range(each):
                    query, variables = make(number, place := next(numbers))
                    await socket.subscribe(place, query, variables)
                    self.sent()
                while True:
                    message = await socket.receive()
                    if message["type"] in ("error", "complete"):
                        await asyncio.sleep(0.05)
                        query, variables = make(number, place := next(numbers))
                        await socket.subscribe(place, query, variables)
                        self.sent()
            finally:
                socket.close()

        await self.many(sockets, one)


async def counts_for_nothing(attacker):
    """Work without points: 29 counts with a search in one operation."""
    fields = " ".join(f'a{n}: jobs(first: 1, query: "work {n}") {{ totalCount }}' for n in range(10))
    await attacker.queries(16, lambda _: (f"{{ {fields} }}", {}, None))


async def nodes_with_many_leaves(attacker):
    """Work without points: `nodes` of 100 ids with all that a job has."""
    ids = (attacker.stage.jobs * 100)[:100]
    leaves = " ".join(f"b{n}: title" for n in range(29))
    selection = f"... on Job {{ id title description status client {{ id displayName }} skills {{ id name }} {leaves} }}"
    query = f"query($ids: [ID!]!) {{ nodes(ids: $ids) {{ {selection} }} }}"
    await attacker.queries(16, lambda _: (query, {"ids": ids}, None))


async def work_that_outlives_its_request(attacker):
    """The dearest search there is, and the connection is cut before the answer."""
    query = '{ jobs(first: 100, query: "work", orderBy: { field: RELEVANCE, direction: DESC }) { nodes { id } totalCount } }'
    body = json.dumps({"query": query}).encode()
    head = f"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"

    async def one(_):
        _, writer = await connect(attacker.server, attacker.source)
        writer.write(head.encode() + body)
        await writer.drain()
        attacker.sent()
        await asyncio.sleep(0.02)
        writer.close()

    await attacker.many(32, one)


async def replays(attacker):
    """Work for ever: subscriptions that begin at the beginning of the log, each of its own kind, again and again."""

    def make(number, place):
        query = f"subscription($after: String) {{ jobUpdated(after: $after) {{ a{number}x{place}: id job {{ title }} }} }}"
        return query, {"after": attacker.stage.beginning}

    await attacker.subscriptions(20, 50, make)


async def replays_by_users(attacker):
    """The same with free accounts, over server-sent events, too."""

    def make(number, place):
        query = f"subscription($after: String) {{ jobPosted(after: $after) {{ a{number}x{place}: id job {{ title }} }} }}"
        return query, {"after": attacker.stage.beginning}

    async def stream(number):
        query, variables = make("s", number)
        http = Http(attacker.server, attacker.source)
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = ["Content-Type: application/json", "Accept: text/event-stream"]
        attacker.sent()
        try:
            # Read to its end: it has no length.
            http.streams = await connect(attacker.server, attacker.source)
            reader, writer = http.streams
            lines = ["POST /graphql HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            while await reader.read(1 << 16):
                pass
        finally:
            http.close()

    await asyncio.gather(
        attacker.subscriptions(10, 50, make, attacker.stage.strangers[0]), attacker.many(20, stream)
    )


async def groups(attacker):
    """Work for ever: as many different selections as there may be, each executed for each event."""

    def make(number, place):
        return f"subscription {{ jobUpdated {{ a{number}x{place}: id job {{ id title description client {{ id }} }} }} }}", {}

    await attacker.subscriptions(30, 100, make)


async def memory_that_was_not_sent(attacker):
    """Variables that no operation declares, extensions, and names of operations as long as they may be."""
    values = [[0] * 100 for _ in range(100)]
    large = {f"v{number}": values for number in range(3)}
    message = json.dumps(
        {"id": "#", "type": "subscribe", "payload": {"query": "subscription { jobPosted { @: id } }", "variables": large}},
        separators=(",", ":"),
    )

    async def one(number):
        socket = await Socket.open(attacker.server, attacker.source)
        try:
            for place in itertools.count():
                await socket.send(message.replace("#", str(place)).replace("@", f"a{number % 7}").encode())
                attacker.sent()
                await asyncio.sleep(0.02)
        finally:
            socket.close()

    extra = {"extensions": {f"v{number}": values for number in range(10)}}
    operation = ("{ skills { id } }", {f"v{number}": values for number in range(2)}, extra)
    await asyncio.gather(attacker.many(30, one), attacker.queries(30, lambda _: operation))


async def frames(attacker):
    """A thread that never yields: pings, pongs, empty fragments and empty messages, as fast as the server takes them."""
    floods = [
        frame(0x89) * 10_000,
        frame(0x8A, b"x" * 100) * 1_000,
        frame(0x01) + frame(0x00) * 10_000,
        frame(0x81) * 10_000,
    ]

    async def one(number):
        socket = await Socket.open(attacker.server, attacker.source)
        try:
            while True:
                await socket.raw(floods[number % len(floods)])
                attacker.sent()
        finally:
            socket.close()

    await attacker.many(40, one)


async def pipelines(attacker):
    """A thread that never yields: HTTP requests one after the other in one write, on the cheapest paths there are."""
    cheap = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" * 500

    async def one(_):
        reader, writer = await connect(attacker.server, attacker.source)
        try:
            while True:
                writer.write(cheap)
                attacker.sent(1_000)
                await writer.drain()
                if not await reader.read(1 << 20):
                    raise Refused("closed")
        finally:
            writer.close()

    await attacker.many(16, one)


async def free_accounts(attacker):
    """Sign-ups as fast as they go; each new account spends a budget of its own."""
    sign_up = "mutation($input: SignUpInput!) { signUp(input: $input) { session { accessToken } errors { __typename } } }"
    numbers = itertools.count()
    tokens = []

    async def opens(number):
        http = Http(attacker.server, attacker.source)
        while True:
            email = f"stranger-{attacker.source}-{next(numbers)}@example.com"
            account = {"email": email, "password": "a long enough secret", "displayName": "Stranger", "roles": ["CLIENT"]}
            status, answer = await http.graphql(sign_up, {"input": account})
            attacker.sent()
            session = ((answer.get("data") or {}).get("signUp") or {}).get("session")
            if session:
                tokens.append(session["accessToken"])
            await asyncio.sleep(0.05 if status == 429 else 0)

    async def spends(number):
        http = Http(attacker.server, attacker.source)
        while True:
            token = tokens[-1 - number % len(tokens)] if tokens else None
            await http.graphql("{ jobs(first: 50) { nodes { id title client { id displayName } } } }", {}, token)
            attacker.sent()

    await asyncio.gather(attacker.many(8, opens), attacker.many(8, spends))


async def hash_queue(attacker):
    """Sign-ins with wrong passwords: each is a hash, and nobody else is to wait for it."""
    sign_in = "mutation($input: SignInInput!) { signIn(input: $input) { errors { __typename } } }"
    numbers = itertools.count()

    def make(_):
        email = f"nobody-{next(numbers)}@example.com"
        return sign_in, {"input": {"email": email, "password": "not the right password"}}, None

    await attacker.queries(32, make)


async def slow_heads(attacker):
    """Heads and bodies that come a byte a second, on as many connections as there may be."""

    async def one(number):
        _, writer = await connect(attacker.server, attacker.source)
        attacker.sent()
        try:
            body = "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 200000\r\n\r\n"
            writer.write((body if number % 2 else "GET / HTTP/1.1\r\nHost: x\r\n").encode())
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(1)
        finally:
            writer.close()

    await attacker.many(1_000, one)


async def connections(attacker):
    """Connections that say nothing, as many as the server takes."""

    async def one(_):
        reader, writer = await connect(attacker.server, attacker.source)
        attacker.sent()
        try:
            await reader.read(1)
        finally:
            writer.close()

    await attacker.many(3_000, one)


async def big_heads(attacker):
    """Heads of hundreds of KiB, and of a hundred headers."""
    long = "GET /graphql?query=%7Bskills%7Bid%7D%7D HTTP/1.1\r\nHost: x\r\nX-Long: " + "x" * 390_000

    async def one(number):
        reader, writer = await connect(attacker.server, attacker.source)
        attacker.sent()
        try:
            writer.write(long.encode())
            # Without its end it stays in the server's memory.
            await asyncio.wait_for(reader.read(1 << 16), 5)
        except asyncio.TimeoutError:
            pass
        finally:
            writer.close()

    await attacker.many(200, one)


async def sockets_that_come_and_go(attacker):
    """Upgrades one after the other, each with a few subscriptions, cut without a word."""

    async def one(number):
        socket = await Socket.open(attacker.server, attacker.source)
        await socket.subscribe(1, "subscription { jobPosted { id job { title } } }")
        await socket.subscribe(2, f"subscription {{ jobUpdated {{ a{number}: id }} }}")
        attacker.sent(3)
        socket.close()

    await attacker.many(20, one)


KINDS = [
    counts_for_nothing,
    nodes_with_many_leaves,
    work_that_outlives_its_request,
    replays,
    replays_by_users,
    groups,
    memory_that_was_not_sent,
    frames,
    pipelines,
    free_accounts,
    hash_queue,
    slow_heads,
    connections,
    big_heads,
    sockets_that_come_and_go,
]
