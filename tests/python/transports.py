"""Each transport of Python's gql: `TOKEN=.. transports.py <url>` fails if one is not understood."""

import asyncio
import os
import sys
import uuid

from gql import Client, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport
from gql.transport.httpx import HTTPXAsyncTransport
from gql.transport.websockets import WebsocketsTransport

URL = sys.argv[1]
WS_URL = URL.replace("http", "ws", 1)
AUTHORIZATION = {"Authorization": f"Bearer {os.environ['TOKEN']}"}

CURSOR = gql("{ streamCursor viewer { email } }")
POSTED = gql("subscription($after: String) { jobPosted(after: $after) { cursor job { title } } }")
POST = gql("mutation($input: PostJobInput!) { postJob(input: $input) { job { id } errors { __typename } } }")


def job(title):
    budget = {"amount": "10.00", "currencyCode": "USD"}
    key = str(uuid.uuid4())
    return {"idempotencyKey": key, "title": title, "description": "All.", "budget": budget, "skills": ["rust"]}


async def main():
    for http in (AIOHTTPTransport, HTTPXAsyncTransport):
        for socket in (WebsocketsTransport, AIOHTTPWebsocketsTransport):
            title = f"{http.__name__} and {socket.__name__}"
            async with Client(transport=http(url=URL, headers=AUTHORIZATION)) as requests:
                answer = await requests.execute(CURSOR)
                assert answer["viewer"]["email"], title
                posted = await requests.execute(POST, variable_values={"input": job(title)})
                assert posted["postJob"]["errors"] == [], title
            async with Client(transport=socket(url=WS_URL, init_payload=AUTHORIZATION)) as live:
                # Queries go over the socket, too, and it is the same viewer.
                assert (await live.execute(CURSOR))["viewer"] == answer["viewer"], title
                async for event in live.subscribe(POSTED, variable_values={"after": answer["streamCursor"]}):
                    assert event["jobPosted"]["job"]["title"] == title
                    break


asyncio.run(asyncio.wait_for(main(), 60))
