#!/usr/bin/env python3
"""Times searches of a running server: search.py BASE [ROUNDS=50] [CALLERS=50] [PID].

For each kind of search it prints p50 and worst in milliseconds of ROUNDS searches one after another, and then how many a second
one caller and CALLERS callers at once get answered. Fill the database first, and let the server build its index
(lancewire_search_ready is 1). With search.enabled = false the same asks the database, the way of before. With the server's PID
it also prints the CPU that 10,000 searches of all kinds in turn take.
"""
import json
import os
import statistics
import sys
import threading
import time
import urllib.parse
from http.client import HTTPConnection

BASE = urllib.parse.urlsplit(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 50
CALLERS = int(sys.argv[3]) if len(sys.argv) > 3 else 50
PID = int(sys.argv[4]) if len(sys.argv) > 4 else None
SECONDS = 5
ROW = "edges { cursor node { id title budget { amount } skills { slug } client { displayName } } } pageInfo { endCursor }"
BEST = "orderBy: { field: RELEVANCE, direction: DESC }"


def jobs(arguments, selection=ROW):
    return f"{{ jobs({arguments}) {{ {selection} }} }}"


SEARCHES = {
    "common word, best": jobs(f'query: "rust ", first: 20, {BEST}'),
    "common word, newest": jobs('query: "rust ", first: 20'),
    "common word, oldest": jobs('query: "rust ", last: 20'),
    "two common words, best": jobs(f'query: "rust payment ", first: 20, {BEST}'),
    "rare word, best": jobs(f'query: "zx0042 ", first: 20, {BEST}'),
    "rare word and skill": jobs('query: "zx0042 ", first: 20, filter: { anySkill: ["rust"] }'),
    "phrase": jobs(r'query: "\"rust payment\"", first: 20'),
    "beginning": jobs('query: "pay", first: 20'),
    "common word by budget": jobs('query: "rust ", first: 20, orderBy: { field: BUDGET, direction: ASC }'),
    "no such word": jobs('query: "qqqqqq ", first: 20'),
    "typing error": jobs('query: "paymnet ", first: 20'),
    "total": jobs('query: "rust ", first: 20', "totalCount " + ROW),
    "facets": jobs('query: "rust ", first: 1', "facets { skills { skill { slug } count } budgets { count } }"),
    "suggestions": '{ searchSuggestions(prefix: "pay") { text } }',
    "no words": jobs("first: 20"),
    "no words, one skill": jobs('first: 20, filter: { anySkill: ["rust"] }'),
}


class Caller:
    """One connection, kept open."""

    def __init__(self):
        self.connection = HTTPConnection(BASE.hostname, BASE.port, timeout=30)

    def ask(self, query):
        started = time.perf_counter()
        body = json.dumps({"query": query})
        self.connection.request("POST", "/graphql", body, {"content-type": "application/json"})
        answer = json.load(self.connection.getresponse())
        if answer.get("errors"):
            sys.exit(f"{query}\n{answer}")
        return (time.perf_counter() - started) * 1000


def throughput(callers, query):
    """Answers a second."""
    end, counts = time.perf_counter() + SECONDS, [0] * callers

    def run(number):
        caller = Caller()
        while time.perf_counter() < end:
            caller.ask(query)
            counts[number] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


def cpu():
    """Seconds of the server's CPU so far."""
    with open(f"/proc/{PID}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    caller = Caller()
    print(f"{'search':26} {'p50 ms':>8} {'worst ms':>9}")
    for name, query in SEARCHES.items():
        caller.ask(query)
        took = [caller.ask(query) for _ in range(ROUNDS)]
        print(f"{name:26} {statistics.median(took):8.1f} {max(took):9.1f}", flush=True)
    for name in ["common word, best", "rare word, best"]:
        one, many = throughput(1, SEARCHES[name]), throughput(CALLERS, SEARCHES[name])
        print(f"{name}: {one:.0f} a second by one caller, {many:.0f} by {CALLERS} at once")
    if PID:
        began, kinds = cpu(), list(SEARCHES.values())
        for number in range(10_000):
            caller.ask(kinds[number % len(kinds)])
        print(f"10,000 searches: {cpu() - began:.1f} s of CPU")


main()
