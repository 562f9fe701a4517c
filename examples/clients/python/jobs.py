# python/jobs.py: prints the open jobs, then every change of a job, for ever. Nothing is missed, and nothing older is
# taken for news, whatever happens to the connection.
import asyncio
import os
import random

from gql import Client, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportError, TransportQueryError
from gql.transport.websockets import WebsocketsTransport

URL = os.environ.get("URL", "http://127.0.0.1:4000/graphql")
SESSION = "session { accessToken refreshToken } errors { ... on UserError { message } }"
SIGN_IN = gql("mutation($input: SignInInput!) { answer: signIn(input: $input) { %s } }" % SESSION)
REFRESH = gql("mutation($input: RefreshSessionInput!) { answer: refreshSession(input: $input) { %s } }" % SESSION)
JOBS = gql("query { streamCursor jobs(first: 50) { nodes { id version title status } } }")
CHANGES = gql("subscription($after: String) { jobUpdated(after: $after) { cursor job { id version title status } } }")

session = None
jobs = {}  # by id, each in the newest version that was seen


async def ask(query, variables=None, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with Client(transport=AIOHTTPTransport(url=URL, headers=headers)) as http:
        return await http.execute(query, variable_values=variables)


async def new_token():
    """A token for the next connection. Without EMAIL nobody is signed in, and one sees what is public."""
    global session
    if "EMAIL" not in os.environ:
        return None
    if session:
        answer = await ask(REFRESH, {"input": {"refreshToken": session["refreshToken"]}})
    else:
        answer = await ask(SIGN_IN, {"input": {"email": os.environ["EMAIL"], "password": os.environ["PASSWORD"]}})
    if answer["answer"]["errors"]:
        raise SystemExit(answer["answer"]["errors"][0]["message"])
    session = answer["answer"]["session"]
    return session["accessToken"]


def keep(job):
    known = jobs.get(job["id"])
    if known is None or known["version"] < job["version"]:
        jobs[job["id"]] = job
        print(job["version"], job["status"], job["title"], flush=True)


async def main():
    after, tries = None, 0
    while True:
        try:
            token = await new_token()
            if after is None:
                answer = await ask(JOBS, token=token)
                for job in answer["jobs"]["nodes"]:
                    keep(job)
                after = answer["streamCursor"]
            transport = WebsocketsTransport(
                url=URL.replace("http", "ws", 1),
                init_payload={"Authorization": f"Bearer {token}"} if token else {},
                ping_interval=10,  # finds a connection that is dead and does not say so
            )
            async with Client(transport=transport) as live:
                async for event in live.subscribe(CHANGES, variable_values={"after": after}):
                    keep(event["jobUpdated"]["job"])
                    after, tries = event["jobUpdated"]["cursor"], 0
        except TransportQueryError as error:
            codes = [problem.get("extensions", {}).get("code") for problem in error.errors or []]
            if "CURSOR_EXPIRED" in codes:
                after = None  # no longer kept: the list is read anew
            elif "UNAVAILABLE" not in codes:  # not now
                raise
        except (TransportError, OSError, asyncio.TimeoutError) as error:
            print("away:", error, flush=True)
        await asyncio.sleep(min(30, 2**tries) * random.uniform(0.5, 1))
        tries += 1


asyncio.run(main())
