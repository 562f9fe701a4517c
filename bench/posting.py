#!/usr/bin/env python3
"""Measures what a `postJob` costs a running development server: posting.py BASE PID [COUNT=1000].

Prints the server's CPU in microseconds a job, all threads, the commits of its search index among them, and p50 and p99 of the
answers in milliseconds. Run it against a server with `search.enabled = true` and one with `false`, in turns: the difference is
what indexing costs. PID is the server's, on this machine.
"""
import json
import os
import statistics
import sys
import time
import urllib.parse
from http.client import HTTPConnection

BASE = urllib.parse.urlsplit(sys.argv[1])
PID = int(sys.argv[2])
COUNT = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
SIGN_IN = "mutation($input: SignInInput!) { signIn(input: $input) { session { accessToken } } }"
POST = "mutation($input: PostJobInput!) { postJob(input: $input) { job { id } errors { __typename } } }"
WORDS = "rust payment ledger mobile design logo website api graphql translation copywriting video editing audio".split()

connection = HTTPConnection(BASE.hostname, BASE.port, timeout=30)


def run(query, variables, token=None):
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    connection.request("POST", "/graphql", json.dumps({"query": query, "variables": variables}), headers)
    answer = json.load(connection.getresponse())
    if answer.get("errors"):
        sys.exit(str(answer))
    return answer["data"]


def cpu():
    """Seconds of the server's CPU so far."""
    with open(f"/proc/{PID}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    person = {"email": "ada@example.com", "password": "correct-horse-battery"}
    token = run(SIGN_IN, {"input": person})["signIn"]["session"]["accessToken"]
    took, began = [], cpu()
    for number in range(COUNT):
        words = [WORDS[(number * 7 + place * 3) % len(WORDS)] for place in range(45)]
        job = {
            "idempotencyKey": f"posting-{PID}-{time.time_ns()}",
            "title": " ".join(words[:5]),
            "description": " ".join(words[5:]),
            "skills": ["rust"],
            "budget": {"amount": "1.00", "currencyCode": "USD"},
        }
        started = time.perf_counter()
        posted = run(POST, {"input": job}, token)["postJob"]
        took.append((time.perf_counter() - started) * 1000)
        if posted["errors"]:
            sys.exit(str(posted))
    # The last commit of the index.
    time.sleep(0.3)
    each = (cpu() - began) / COUNT * 1e6
    print(f"CPU {each:.0f} us a job, p50 {statistics.median(took):.2f} ms, p99 {statistics.quantiles(took, n=100)[98]:.2f} ms")


main()
