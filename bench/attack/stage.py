"""A production build with a database of its own, and the people who use it. Only processes started here are ended."""

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path

from wire import Http, Refused

ADMIN = ("admin@example.com", "correct horse battery staple")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Postgres:
    """A PostgreSQL of the run's own; it refuses to run as root."""

    def __init__(self, home):
        folders = [Path(folder) for folder in os.environ.get("PATH", "").split(":")]
        folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        self.binaries = next((folder for folder in folders if (folder / "initdb").exists()), None)
        if self.binaries is None:
            raise SystemExit("attack: no PostgreSQL (initdb): scripts/prepare-tests installs it")
        self.home, self.port, self.user = home / "postgres", free_port(), {}
        self.home.mkdir()
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            self.user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
            os.chown(self.home, owner.pw_uid, owner.pw_gid)
            home.chmod(0o755)
        self._run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale")
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        self._run("pg_ctl", f"--log={self.home}/log", f"--options={options}", "--wait", "start")

    def _run(self, program, *arguments):
        command = [self.binaries / program, f"--pgdata={self.home}/data", *arguments]
        subprocess.run(command, check=True, cwd=self.home, stdout=subprocess.DEVNULL, **self.user)

    def url(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def stop(self):
        self._run("pg_ctl", "--mode=fast", "stop")


class Process:
    """The server."""

    def __init__(self, binary, home, database, settings):
        keys = home / "keys"
        keys.mkdir()
        make = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(keys / "one.pem")]
        subprocess.run(make, check=True, stderr=subprocess.DEVNULL)
        self.address = ("127.0.0.1", free_port())
        self.environment = {
            "PATH": os.environ["PATH"],
            "LANCEWIRE_ENVIRONMENT": "production",
            "LANCEWIRE_DATABASE__URL": database,
            "LANCEWIRE_HTTP__LISTEN": f"127.0.0.1:{self.address[1]}",
            "LANCEWIRE_HTTP__ALLOWED_ORIGINS": "https://app.example.com",
            "LANCEWIRE_HTTP__DRAIN_DELAY_MS": "0",
            "LANCEWIRE_AUTH__KEYS_DIR": str(keys),
            "LANCEWIRE_TELEMETRY__FILTER": "error",
            **settings,
        }
        self.command = [str(Path(binary).resolve())]
        admin = {**self.environment, "LANCEWIRE_ADMIN_PASSWORD": ADMIN[1]}
        self._once("migrate", env=admin)
        self._once("admin", "create", "--email", ADMIN[0], env=admin)
        self.log = open(home / "log", "wb")
        self.child = subprocess.Popen(
            [*self.command, "serve"], env=self.environment, cwd=home, stdout=self.log, stderr=self.log
        )

    def _once(self, *arguments, env):
        done = subprocess.run([*self.command, *arguments], env=env, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"attack: lancewire {' '.join(arguments)}: {done.stderr or done.stdout}")

    def memory(self):
        """What it holds in MiB; 0 once it has ended."""
        try:
            status = Path(f"/proc/{self.child.pid}/status").read_text()
        except OSError:
            return 0
        lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        return int(lines.get("VmRSS", "0").split()[0]) // 1024

    def runs(self):
        return self.child.poll() is None

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.log.close()


class Stage:
    """People and jobs, made over the API as everybody makes them."""

    JOBS = 150

    def __init__(self):
        self.users, self.strangers, self.jobs = [], [], []
        self.client = self.changing = self.beginning = None

    async def set(self, server):
        _, answer = await Http(server, "127.0.1.1").graphql("{ streamCursor }")
        self.beginning = answer["data"]["streamCursor"]
        admin = await self._sign_in(server, "127.0.1.1", *ADMIN)
        self.client, _ = await self._sign_up(server, "127.0.1.2", "client", "CLIENT")
        for number in range(10):
            token, _ = await self._sign_up(server, f"127.0.1.{10 + number}", f"user{number}", "FREELANCER")
            self.users.append(token)
        for number in range(2):
            token, _ = await self._sign_up(server, "127.0.0.2", f"stranger{number}", "FREELANCER")
            self.strangers.append(token)
        http = Http(server, "127.0.1.2")
        money = lambda amount: {"amount": amount, "currencyCode": "USD"}
        deposit = await self._done(http, "deposit", {"amount": money("100000.00")}, "transaction { id }", self.client)
        settle = {"transactionId": deposit["transaction"]["id"], "outcome": "POST"}
        await self._done(Http(server, "127.0.1.1"), "confirmTransaction", settle, "transaction { id }", admin)
        for number in range(self.JOBS):
            words = f"Work {number} for somebody who knows how such work is done. " * 20
            job = {"title": f"Work number {number}", "description": words, "budget": money("10.00"), "skills": []}
            job = (await self._done(http, "postJob", job, "job { id }", self.client))["job"]
            self.jobs.append(job["id"])
        self.changing = self.jobs[-1]

    async def _sign_up(self, server, source, name, role):
        account = {"email": f"{name}@example.com", "password": "a long enough secret", "displayName": name, "roles": [role]}
        done = await self._done(Http(server, source), "signUp", account, "session { accessToken } user { id }", None, False)
        return done["session"]["accessToken"], done["user"]["id"]

    async def _sign_in(self, server, source, email, password):
        account = {"email": email, "password": password}
        done = await self._done(Http(server, source), "signIn", account, "session { accessToken }", None, False)
        return done["session"]["accessToken"]

    async def _done(self, http, field, given, fields, token, keyed=True):
        """The payload of a mutation that went well; waits where it is told to."""
        if keyed:
            given = {"idempotencyKey": str(uuid.uuid4()), **given}
        query = (
            f"mutation($input: {field[0].upper()}{field[1:]}Input!) {{ {field}(input: $input) "
            f"{{ {fields} errors {{ __typename ... on UserError {{ message }} }} }} }}"
        )
        for _ in range(100):
            status, answer = await http.graphql(query, {"input": given}, token)
            payload = (answer.get("data") or {}).get(field)
            if payload and not payload["errors"]:
                return payload
            if status != 429:
                raise SystemExit(f"attack: {field}: {answer}")
            wait = answer["errors"][0].get("extensions", {}).get("retryAfterMs", 1_000)
            await asyncio.sleep(wait / 1_000)
        raise SystemExit(f"attack: {field} is refused for ever: {answer}")


async def until_ready(process):
    http = Http(process.address, "127.0.1.1")
    for _ in range(300):
        if not process.runs():
            break
        try:
            if (await http.request("GET", "/health/ready"))[0] == 200:
                return
        except (Refused, OSError):
            http.close()
        await asyncio.sleep(0.1)
    raise SystemExit("attack: the server does not start; its log is above" if process.runs() else "attack: the server ended")


class Home:
    """A folder that is gone afterwards."""

    def __enter__(self):
        self.path = Path(tempfile.mkdtemp(prefix="lancewire-attack-"))
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)
