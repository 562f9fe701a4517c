"""The honest users of a run, and what they felt: queries, one subscription, readiness, and the server's memory."""

import asyncio
import time

from wire import Http, Refused, Socket

# What pages ask for, at a rate that the budget of a user allows.
QUERIES = [
    "{ viewer { id } }",
    "{ jobs(first: 5) { nodes { id title status } } }",
    "query($id: ID!) { job(id: $id) { id title description client { displayName } } }",
]
FEED = "subscription { jobUpdated { cursor job { id title version } } }"


class Felt:
    """What was felt in one run. Times are seconds, memory is in MiB."""

    def __init__(self):
        self.times, self.failed, self.not_ready, self.memory = [], 0, 0, 0
        self.published, self.delivered, self.over = [], set(), False

    def percentile(self, share):
        times = sorted(self.times)
        return times[min(len(times) - 1, int(len(times) * share))] if times else float("inf")

    @property
    def lost(self):
        return len(set(self.published) - self.delivered)


class Honest:
    """Ten users at addresses of their own, a client who changes a job now and then, and two who watch."""

    USERS, PERIOD = 10, 0.2

    def __init__(self, server, stage, process):
        self.server, self.stage, self.process = server, stage, process

    async def feel(self, seconds, felt):
        """Goes on for so long, and then until everything that was published has come, or for ten seconds more."""
        subscribed = asyncio.Event()
        tasks = [asyncio.create_task(self._listen(felt, subscribed))]
        try:
            await asyncio.wait_for(subscribed.wait(), 30)
            work = [self._ask(number, felt) for number in range(self.USERS)]
            work += [self._publish(felt), self._look(felt), self._weigh(felt)]
            tasks += [asyncio.create_task(one) for one in work]
            await asyncio.sleep(seconds)
            for task in tasks[1:]:
                task.cancel()
            for _ in range(100):
                if not felt.lost:
                    break
                await asyncio.sleep(0.1)
        finally:
            # `wait_for` may swallow a cancellation, so each loop looks at this, too.
            felt.over = True
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=40)

    async def _ask(self, number, felt):
        http = Http(self.server, f"127.0.1.{10 + number}")
        token, job = self.stage.users[number], self.stage.jobs[number]
        begin = time.monotonic() + self.PERIOD * number / self.USERS
        turn = -1
        while not felt.over:
            turn += 1
            # At fixed moments, so that an answer that is late does not make the next question late.
            due = begin + turn * self.PERIOD
            await asyncio.sleep(max(0, due - time.monotonic()))
            query = QUERIES[turn % len(QUERIES)]
            sent = time.monotonic()
            try:
                status, answer = await http.graphql(query, {"id": job} if "$id" in query else {}, token)
                if status != 200 or "errors" in answer:
                    felt.failed += 1
            except Refused:
                felt.failed += 1
            finally:
                # One that is not answered at the end has taken until then.
                felt.times.append(time.monotonic() - min(sent, due))

    async def _publish(self, felt):
        http = Http(self.server, "127.0.1.30")
        update = (
            "mutation($input: UpdateJobInput!) { updateJob(input: $input) { job { version } errors { __typename } } }"
        )
        while not felt.over:
            title = f"Changed {len(felt.published)} {time.monotonic()}"
            change = {"id": self.stage.changing, "patch": {"title": title}}
            try:
                status, answer = await http.graphql(update, {"input": change}, self.stage.client)
                if status == 200 and ((answer.get("data") or {}).get("updateJob") or {}).get("job"):
                    felt.published.append(title)
                else:
                    felt.failed += 1
            except Refused:
                felt.failed += 1
            await asyncio.sleep(0.5)

    async def _listen(self, felt, subscribed):
        cursor = None
        while not felt.over:
            try:
                payload = {"after": cursor} if cursor else {}
                socket = await Socket.open(self.server, "127.0.1.31", self.stage.users[0], payload)
                await socket.subscribe(1, FEED)
                # Answered after the subscription was read.
                await socket.subscribe(2, "{ viewer { id } }")
                while not felt.over:
                    message = await socket.receive()
                    if message.get("id") == "2":
                        subscribed.set()
                        continue
                    event = message["payload"]["data"]["jobUpdated"]
                    cursor = event["cursor"]
                    felt.delivered.add(event["job"]["title"])
            except (Refused, KeyError, TypeError):
                await asyncio.sleep(0.2)

    async def _look(self, felt):
        http = Http(self.server, "127.0.1.32")
        while not felt.over:
            try:
                status, _ = await asyncio.wait_for(http.request("GET", "/health/ready"), 2)
            except (Refused, asyncio.TimeoutError):
                http.close()
                status = 0
            felt.not_ready += status != 200
            await asyncio.sleep(0.2)

    async def _weigh(self, felt):
        while not felt.over:
            felt.memory = max(felt.memory, self.process.memory())
            await asyncio.sleep(0.1)


async def as_many_honest(server, source, stage, rate):
    """What an address does that sends as many requests, at most 200 a second, and none that a page would not send."""
    connections = [Http(server, source) for _ in range(8)]
    period = 8 / max(1, min(rate, 200))

    async def one(number):
        begin = time.monotonic() + period * number / 8
        for turn in range(1 << 30):
            await asyncio.sleep(max(0, begin + turn * period - time.monotonic()))
            try:
                query = QUERIES[1 + turn % 2]
                given = {"id": stage.jobs[number]} if "$id" in query else {}
                await connections[number].graphql(query, given, stage.strangers[number % 2])
            except Refused:
                pass

    await asyncio.gather(*(one(number) for number in range(8)))
