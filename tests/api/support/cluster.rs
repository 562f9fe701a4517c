//! Two nodes on one PostgreSQL and one Redis, behind a balancer: the pieces of `make cluster`, on ports of their own.

use std::net::{Ipv4Addr, SocketAddr};

use tempfile::TempDir;
use url::Url;

use super::{
    balancer::Balancer,
    binary::{Home, Port, Server},
    proxy::Proxy,
    redis::Redis,
};

/// Two nodes. Gone with this value.
pub struct Cluster {
    pub nodes: [Node; 2],
    pub balancer: Balancer,
    pub redis: Redis,
    _keys: TempDir,
}

/// One of them, at an address that stays while servers come and go.
pub struct Node {
    pub home: Home,
    pub addr: SocketAddr,
    /// Its own wire to PostgreSQL.
    pub database: Proxy,
    /// Its own wire to Redis.
    pub redis: Proxy,
    server: Option<Server>,
    _port: Port,
}

impl Cluster {
    /// Two nodes on a database, each in a home that `dress` has added to.
    pub async fn start(database: &str, dress: impl Fn(Home) -> Home) -> Self {
        let (redis, keys) = (Redis::start().await, tempfile::tempdir().expect("a temporary directory"));
        let dress = |home: Home| dress(home.with("LANCEWIRE_AUTH__KEYS_DIR", keys.path().display().to_string()));
        // One after the other: the first one seeds the empty database.
        let first = Node::start(database, &redis, &dress).await;
        let second = Node::start(database, &redis, &dress).await;
        let balancer = Balancer::before([first.addr, second.addr]).await;
        Self { nodes: [first, second], balancer, redis, _keys: keys }
    }

    /// The servers, for a story that ends them before the rest of the cluster.
    pub fn take_servers(&mut self) -> Vec<Server> {
        self.nodes.iter_mut().filter_map(|node| node.server.take()).collect()
    }
}

impl Node {
    async fn start(database: &str, redis: &Redis, dress: impl Fn(Home) -> Home) -> Self {
        let port = Port::reserve();
        let mut url: Url = database.parse().expect("a URL");
        let server = url.socket_addrs(|| Some(5432)).expect("an address")[0];
        let (database, redis) = (Proxy::to(server, None), Proxy::to(redis.addr(), None));
        url.set_ip_host(Ipv4Addr::LOCALHOST.into()).expect("it has a host");
        url.set_port(Some(database.addr.port())).expect("it has a port");
        let home = Home::new()
            .with("LANCEWIRE_HTTP__LISTEN", port.addr.to_string())
            .with("LANCEWIRE_DATABASE__URL", url)
            .with("LANCEWIRE_BUS__REDIS_URL", format!("redis://{}/", redis.addr));
        let mut node = Self { addr: port.addr, home: dress(home), database, redis, server: None, _port: port };
        node.serve().await;
        node
    }

    /// Starts the server and waits until it serves.
    pub async fn serve(&mut self) {
        self.server = Some(self.home.serve().await);
    }

    /// Sends a signal, such as `STOP`.
    pub async fn signal(&self, name: &str) {
        self.server.as_ref().expect("it runs").signal(name).await;
    }

    /// Ends it at once; whether it ended by itself is not asked.
    pub async fn kill(&mut self) {
        let server = self.server.take().expect("it runs");
        server.signal("KILL").await;
        assert!(!server.ended().await.success());
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(&mut self) {
        let server = self.server.take().expect("it runs");
        server.signal("TERM").await;
        assert_eq!(server.ended().await.code(), Some(0), "a node ends cleanly");
    }
}
