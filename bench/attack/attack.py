"""Plays each kind of attack from one address against a production build, and says what honest users felt meanwhile.

For each kind twice: while the attacker attacks, and while the same address sends as many honest requests in its place. A
kind fails where the p99 of the others' queries is more than three times that of the second, where the server was not
ready once, where an event was lost or a query failed, or where the server took more memory than it may. Exits 1 if a
kind fails. README.md beside this says more.
"""

import argparse
import asyncio
import multiprocessing
import os
import sys
import time

from honest import Felt, Honest, as_many_honest
from kinds import KINDS, Attacker
from stage import Home, Postgres, Process, Stage, until_ready

ATTACKER = "127.0.0.2"
# What is more than so many times slower is felt; below this nobody feels anything, and it is the machine's own noise.
RATIO, NOISE = 3, 0.01


def attack(kind, server, stage, count, rate):
    """The attacker's own process: what it costs to send must not be taken for what the server takes."""
    os.nice(5)

    async def play():
        attacker = Attacker(server, ATTACKER, stage)

        async def tell():
            while True:
                count.value = attacker.count
                await asyncio.sleep(0.1)

        work = as_many_honest(server, ATTACKER, stage, rate) if rate is not None else kind(attacker)
        await asyncio.gather(tell(), work)

    try:
        asyncio.run(play())
    except KeyboardInterrupt:
        pass


async def felt_during(kind, process, stage, seconds, rate):
    """What was felt, and how many requests the attacker sent a second."""
    felt, count = Felt(), multiprocessing.Value("Q", 0)
    attacker = multiprocessing.Process(target=attack, args=(kind, process.address, stage, count, rate), daemon=True)
    attacker.start()
    began = time.monotonic()
    try:
        await Honest(process.address, stage, process).feel(seconds, felt)
    finally:
        attacker.terminate()
        attacker.join()
    return felt, count.value / (time.monotonic() - began)


def milliseconds(felt):
    return f"{felt.percentile(0.5) * 1000:.1f} | {felt.percentile(0.99) * 1000:.1f}"


def judge(felt, honest, limit, runs):
    """What is wrong, in words."""
    ratio = felt.percentile(0.99) / max(honest.percentile(0.99), NOISE)
    wrong = []
    if ratio > RATIO:
        wrong.append("slow")
    if felt.not_ready:
        wrong.append(f"not ready {felt.not_ready} times")
    if felt.memory > limit:
        wrong.append("memory")
    if felt.lost or not felt.published:
        wrong.append("events lost" if felt.published else "nothing published")
    if felt.failed:
        wrong.append(f"{felt.failed} requests failed")
    if not runs:
        wrong.append("the server ended")
    return ratio, wrong


async def play(options, home):
    database = f"sqlite:{home}/attack.db"
    postgres = Postgres(home) if options.database == "postgres" else None
    process = Process(options.binary, home, postgres.url() if postgres else database, {})
    try:
        await until_ready(process)
        stage = Stage()
        await stage.set(process.address)
        print(f"\n{options.database}, {options.seconds} s a run, {len(stage.jobs)} jobs, memory limit {options.memory} MiB\n")
        print("| kind | sent/s | p50 ms | p99 ms | honest p50 | honest p99 | ratio | not ready | MiB | lost | failed | |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
        failed = False
        for kind in options.kinds:
            felt, rate = await felt_during(kind, process, stage, options.seconds, None)
            # What the address owes is paid, and what it held is let go, before it is taken for an honest one.
            await asyncio.sleep(options.pause)
            honest, _ = await felt_during(kind, process, stage, options.seconds, rate)
            await asyncio.sleep(options.pause)
            ratio, wrong = judge(felt, honest, options.memory, process.runs())
            failed |= bool(wrong)
            columns = [kind.__name__, f"{rate:.0f}", milliseconds(felt), milliseconds(honest), f"{ratio:.1f}"]
            columns += [felt.not_ready, felt.memory, f"{felt.lost} of {len(felt.published)}", felt.failed, ", ".join(wrong) or "good"]
            print("| " + " | ".join(str(column) for column in columns) + " |", flush=True)
            if not process.runs():
                break
        return failed
    finally:
        process.stop()
        if options.log:
            sys.stderr.write((home / "log").read_text(errors="replace"))
        if postgres:
            postgres.stop()


def main():
    names = {kind.__name__: kind for kind in KINDS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser.add_argument("--binary", default=os.path.join(root, "target/release/lancewire"), help="what to attack")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--seconds", type=float, default=10, help="how long each kind is played (10)")
    parser.add_argument("--pause", type=float, default=2, help="seconds between two runs (2)")
    parser.add_argument("--memory", type=int, default=1024, help="MiB that the server may take (1024)")
    parser.add_argument("--only", help="kinds, with commas; --list names them")
    parser.add_argument("--list", action="store_true", help="say which kinds there are")
    parser.add_argument("--log", action="store_true", help="print what the server has logged")
    options = parser.parse_args()
    if options.list:
        for name, kind in names.items():
            print(f"{name}: {kind.__doc__.splitlines()[0]}")
        return 0
    try:
        options.kinds = [names[name] for name in options.only.split(",")] if options.only else KINDS
    except KeyError as unknown:
        parser.error(f"there is no kind {unknown}; --list names them")
    with Home() as home:
        return int(asyncio.run(play(options, home)))


if __name__ == "__main__":
    sys.exit(main())
